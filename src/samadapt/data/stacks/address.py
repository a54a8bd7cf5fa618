"""Addresses of slices: `volume.tif#z=12` is read as an image wherever images are read.

A slice of a volume, a multi-page TIFF or a video is `FILE#z=INDEX` or `FILE#t=INDEX`, counted from
0. A file that is one frame of its folder is `FILE#frame`: it is shown with the contrast of all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from samadapt.data.stacks.source import Axis

_ADDRESS = re.compile(r"(.+?)#(?:([zt])=(\d{1,9})|frame)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SliceAddress:
    """A slice of a stack.

    Attributes:
        file: the file that holds it.
        axis: which axis of the file the index is on; None for a frame.
        index: from 0; None for a frame, which has its file's place in the folder.
    """

    file: Path
    axis: Axis | None = None
    index: int | None = None

    @property
    def stack(self) -> Path:
        """What `Stack.open` takes: the file, or the folder of frames."""
        return self.file.parent if self.index is None else self.file


def slice_address(path: Path) -> SliceAddress | None:
    """Return the slice that a path names; None where it names a file, as those come first."""
    found = _ADDRESS.fullmatch(path.name)
    if found is None or path.exists():
        return None
    file, axis, index = found.groups()
    if index is None:
        return SliceAddress(path.with_name(file))
    return SliceAddress(path.with_name(file), "z" if axis == "z" else "t", int(index))


def slice_name(file: str, axis: Axis, index: int) -> str:
    """Return the name of a slice, from that of its file."""
    return f"{file}#{axis}={index}"


def frame_path(file: Path) -> Path:
    """Return the address of a file as one frame of its folder."""
    return file.with_name(f"{file.name}#frame")


def file_of(path: Path) -> Path:
    """Return the file that a path or the address of a slice is read from."""
    address = slice_address(path)
    return path if address is None else address.file


def split_name(name: str) -> tuple[str, int | None]:
    """Return the name of the file that a name of a slice begins with, and the slice's index."""
    found = _ADDRESS.fullmatch(name)
    if found is None or found[3] is None:
        return name, None
    return found[1], int(found[3])
