"""Multi-page TIFF, OME and ImageJ stacks, with tifffile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.import_issues import ImportIssues, LeftOut
from samadapt.data.pixels import damaged
from samadapt.data.stacks.axes import chosen_axis, chosen_channels, places
from samadapt.data.stacks.source import Axis, StackFacts
from samadapt.data.stacks.tiff_voxels import tiff_voxels
from samadapt.data.tiff import ends_early, seen_channels, tifffile_messages
from samadapt.errors import ImageError

_WHITE_IS_ZERO, _PALETTE = 0, 3


class TiffSlices:
    """Planes of a TIFF along one axis, read one by one."""

    def __init__(
        self,
        path: Path,
        axis: Axis | None,
        at: Mapping[str, int],
        channels: Sequence[int] | None,
    ) -> None:
        from tifffile import TiffFile

        self._path, self._findings = path, ImportIssues()
        self._file: Any = None
        try:
            with tifffile_messages() as said:
                self._file = TiffFile(path)
                pages, series = list(self._file.pages), list(self._file.series)
            if not pages:
                raise ValueError("no page in it")
        except Exception as error:  # tifffile raises whatever the broken bytes provoke
            if self._file is not None:
                self._file.close()
            raise damaged(str(path), error) from None
        if ends_early(said):
            self._findings.remark(
                str(path), "the file ends early (truncated): only its first slices can be read"
            )
        try:
            with tifffile_messages():
                self._understand(pages, series, axis, at, channels)
        except BaseException:
            self._file.close()
            raise

    def read(self, index: int) -> NDArray[Any]:
        """Values of a slice as seen."""
        try:
            with tifffile_messages():
                planes = [self._plane(number) for number in self._planes[index]]
        except ImageError:
            raise
        except Exception as error:  # as above
            if "imagecodecs" in str(error):
                raise ImageError(
                    f"{self._path} has a compression that needs another package: run 'pip install "
                    "imagecodecs', or save it without compression"
                ) from None
            raise damaged(f"{self._path}, slice {index}", error) from None
        if len(planes) == 1:
            return planes[0]
        planes += [np.zeros_like(planes[0])] * (3 - len(planes))
        return np.stack(planes, axis=-1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # -- private --------------------------------------------------------------------------

    def _understand(
        self,
        pages: Sequence[Any],
        series: Sequence[Any],
        axis: Axis | None,
        at: Mapping[str, int],
        channels: Sequence[int] | None,
    ) -> None:
        described = self._file.is_ome or self._file.is_imagej or len(series) == 1
        if described:
            self._described(series[0], axis, at, channels)
        else:
            self._plain(pages, axis or "z")

    def _described(
        self, series: Any, axis: Axis | None, at: Mapping[str, int], channels: Sequence[int] | None
    ) -> None:
        """A file whose series says what its planes are."""
        key = series.keyframe
        self._key, self._pages = key, list(series.pages)
        leading = len(series.shape) - len(key.shape)
        axes, shape = series.axes[:leading].lower(), series.shape[:leading]
        along = chosen_axis(str(self._path), axes, shape, axis)
        fixed = places(str(self._path), axes, shape, along, at, self._findings)
        shown = chosen_channels(str(self._path), axes, shape, channels)
        strides = [math.prod(shape[k + 1 :]) for k in range(leading)]
        count = 1 if along is None else shape[along]
        start = sum(fixed[k] * strides[k] for k in range(leading))
        c = axes.find("c")
        self._planes = [
            [
                start
                + (0 if along is None else index * strides[along])
                + (0 if c < 0 else channel * strides[c])
                for channel in shown
            ]
            for index in range(count)
        ]
        self._first_value = series.dataoffset
        self._check_declared(count)
        letter = "z" if along is None else axes[along]
        self._finish(count, "t" if letter == "t" else "z", len(shown) > 1)

    def _check_declared(self, count: int) -> None:
        declared = int((self._file.imagej_metadata or {}).get("images", 0))
        if declared > count and len(self._planes) == 1:
            self._findings.remark(
                str(self._path),
                f"truncated: its header tells of {declared} slices, {count} is there",
            )

    def _plain(self, pages: Sequence[Any], axis: Axis) -> None:
        """A file of pages that nothing describes: those like most of them are the stack."""
        kinds = [(page.shape, page.dtype) for page in pages]
        usual = Counter(kinds).most_common(1)[0][0]
        self._key = next(p for p, kind in zip(pages, kinds, strict=True) if kind == usual)
        self._pages, self._first_value = list(pages), None
        self._planes = [[index] for index in range(len(pages))]
        bad = {}
        for index, (shape, dtype) in enumerate(kinds):
            if (shape, dtype) != usual:
                bad[index] = self._bad(
                    index,
                    f"{_shape_text(shape)} of {dtype}, most others {_shape_text(usual[0])} of "
                    f"{usual[1]}: save all slices alike",
                )
        self._finish(len(pages), axis, False, bad)

    def _finish(
        self, count: int, axis: Axis, channelwise: bool, bad: dict[int, LeftOut] | None = None
    ) -> None:
        bad = bad or {}
        length = self._file.filehandle.size
        for index, numbers in enumerate(self._planes):
            if index not in bad and any(self._is_cut_off(n, length) for n in numbers):
                bad[index] = self._bad(
                    index, "cut off or missing: the file is truncated, or not all of a set is here"
                )
        names = tuple(f"slice {index}" for index in range(count))
        shape = self._key.shape
        size = (shape[1], shape[2]) if self._key.axes == "SYX" else (shape[0], shape[1])
        self.facts = StackFacts(
            names,
            (int(size[0]), int(size[1])),
            axis,
            tiff_voxels(self._file),
            self._findings.left_out,
            bad,
            channelwise,
        )

    def _bad(self, index: int, why: str) -> LeftOut:
        return LeftOut(f"{self._path}, slice {index}", why, 0)

    def _is_cut_off(self, number: int, length: int) -> bool:
        page = self._page(number)
        if page is None:
            offset = self._offset(number)
            return offset is None or offset + self._key.nbytes > length
        if page.parent is not self._file:
            return False
        ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False))
        return max(ends, default=0) > length

    def _page(self, number: int) -> Any:
        return self._pages[number] if number < len(self._pages) else None

    def _offset(self, number: int) -> int | None:
        """Where the plane lies in a file that keeps all of them in one piece, without pages."""
        if self._first_value is None:
            return None
        return int(self._first_value) + number * int(self._key.nbytes)

    def _plane(self, number: int) -> NDArray[Any]:
        page, key = self._page(number), self._key
        if page is not None:
            values = page.asarray()
        else:
            offset = self._offset(number)
            if offset is None:
                raise ImageError(f"{self._path}: plane {number} is missing in the file or its set")
            kind = np.dtype(f"{self._file.byteorder}{key.dtype.char}")
            flat = np.memmap(self._path, kind, "r", offset, (math.prod(key.shape),))
            values = np.array(flat).reshape(key.shape).astype(key.dtype)
        return self._seen(values)

    def _seen(self, values: NDArray[Any]) -> NDArray[Any]:
        key = self._key
        if key.axes == "SYX":
            values = np.moveaxis(values, 0, -1)
        photometric = int(key.photometric)
        if photometric == _PALETTE and key.colormap is not None and values.dtype.kind == "u":
            return np.ascontiguousarray((key.colormap >> 8).astype(np.uint8).T[values])
        if photometric == _WHITE_IS_ZERO and values.dtype.kind in "ui":
            values = np.iinfo(values.dtype).max - values
        if values.ndim == 3:
            values = seen_channels(values, photometric, [int(k) for k in key.extrasamples] == [2])
        return values


def _shape_text(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]} pixels" if len(shape) == 2 else f"shape {tuple(shape)}"
