"""A folder of frames, one image file each, in the order of their numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from samadapt.data.images import image_size, read_seen
from samadapt.data.import_issues import ImportIssues, LeftOut
from samadapt.data.stacks.source import Axis, StackFacts
from samadapt.errors import ImageError

_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_MOST_GAPS = 0.5
"""Largest share of missing numbers that are taken as lost frames."""


class FrameFiles:
    """Frames in a folder. A number that is missing keeps its place, so that time stays even."""

    def __init__(self, folder: Path, files: Sequence[Path], axis: Axis) -> None:
        self._findings = ImportIssues()
        self._files: list[Path] = []
        self._bad: dict[int, LeftOut] = {}
        self._place(folder, list(files))
        sizes = self._sizes()
        if not sizes:
            raise ImageError(f"no frame in {folder} can be read: {next(iter(self._bad.values()))}")
        usual = Counter(sizes.values()).most_common(1)[0][0]
        for index, (height, width) in sizes.items():
            if (height, width) != usual:
                self._leave_out(
                    index,
                    f"{width} x {height} pixels, the other frames {usual[1]} x {usual[0]}: save "
                    "all frames in one size",
                )
        self.facts = StackFacts(
            tuple(file.name for file in self._files),
            usual,
            axis,
            remarks=self._findings.left_out,
            bad=self._bad,
            are_files=True,
        )

    def read(self, index: int) -> NDArray[Any]:
        """Values of a frame."""
        return read_seen(self._files[index])

    def close(self) -> None:
        """Nothing is open."""

    def _place(self, folder: Path, files: list[Path]) -> None:
        """Put the files in order, with names for the frames that are missing between them."""
        found = [_NUMBER.search(file.stem) for file in files]
        numbers = [int(match[1]) for match in found if match]
        stems = {_NUMBER.sub("", file.stem) for file in files}
        if len(numbers) != len(files) or len(set(numbers)) != len(numbers) or len(stems) > 1:
            if len(files) > 1:
                self._findings.remark(
                    str(folder), "frames are not numbered in one series: ordered by name"
                )
            self._files = files
            return
        ordered = sorted(zip(numbers, files, strict=True))
        step = gcd(*(after[0] - before[0] for before, after in pairwise(ordered)))
        gaps = {after: first for first, after in _gaps([n for n, _ in ordered], step)}
        missing = sum(after - first for after, first in gaps.items()) // max(step, 1)
        keep = missing <= _MOST_GAPS * (len(files) + missing)
        for number, file in ordered:
            first = gaps.get(number, number)
            for lost in range(first, number, step) if keep else ():
                self._files.append(_renumbered(file, lost))
                self._leave_out(
                    len(self._files) - 1,
                    f"missing, there is no frame {lost}: add the file, or go on without it",
                )
            if first < number and not keep:
                self._findings.remark(
                    str(folder), f"frames {first} to {number - step} are missing: closed up"
                )
            self._files.append(file)

    def _sizes(self) -> dict[int, tuple[int, int]]:
        sizes = {}
        for index, file in enumerate(self._files):
            if index in self._bad:
                continue
            try:
                sizes[index] = image_size(file)
            except ImageError as error:
                self._leave_out(index, str(error).removeprefix(f"{file} "))
        return sizes

    def _leave_out(self, index: int, why: str) -> None:
        self._bad[index] = LeftOut(str(self._files[index]), why, 0)


def _gaps(numbers: Sequence[int], step: int) -> Iterator[tuple[int, int]]:
    """First missing number, and the number after the gap."""
    for before, after in pairwise(numbers):
        if step and after - before > step:
            yield before + step, after


def _renumbered(file: Path, number: int) -> Path:
    match = _NUMBER.search(file.stem)
    digits = len(match[1]) if match else 1
    stem = _NUMBER.sub(f"{number:0{digits}d}", file.stem)
    return file.with_name(stem + file.suffix)
