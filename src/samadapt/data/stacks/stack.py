"""`Stack`: many slices as one item, read one at a time and displayed with one contrast."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from samadapt.data.import_issues import LeftOut
from samadapt.data.pixels import Limits, check_size, contrast_limits, to_rgb
from samadapt.data.stacks.source import ArraySlices, Axis, SliceSource, StackFacts, numbered
from samadapt.data.stacks.voxels import VoxelSize
from samadapt.errors import ImageError

_LOOKED_AT = 12
"""Number of slices from which the contrast is computed."""
_SAMPLES = 1 << 18
"""Values of each of them."""


class Stack:
    """A volume, time series, folder of frames or video as one item.

    Slices are counted from 0 and read on demand; memory holds one at a time. More than 8 bits are
    stretched between the same two values in every slice, the 0.1th and the 99.9th percentile over
    slices along the stack, so that all slices have the same contrast. A slice that is missing,
    damaged or unlike the others keeps its position: reading it raises a one-line error, and all
    the others can be used.
    """

    def __init__(self, source: SliceSource, name: str) -> None:
        self._source, self.name = source, name
        self._facts = source.facts
        self._lock = threading.Lock()
        self._limits: tuple[Limits, ...] | None = None
        self._kind: tuple[str, int] | None = None
        if not self._facts.names:
            raise ImageError(f"{name} has no slices: give a file or folder with at least one")
        check_size(self.size, name)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        axis: Axis | None = None,
        at: Mapping[str, int] | None = None,
        channels: Sequence[int] | None = None,
    ) -> Self:
        """Open a stack; only its headers are read.

        Args:
            path: a multi-page TIFF, an OME or ImageJ stack, a folder of numbered frames, a video
                (needs the extra `video`), an OME-zarr, NRRD or NIfTI file (the extra `volumes`).
            axis: "z" or "t", where a file has both; z is taken where there are several slices.
            at: places on the other axes, such as {"t": 3}; 0 where not given.
            channels: up to three that are shown as red, green and blue; the first three where not
                given.

        Raises:
            ImageError: missing, damaged, no stack, no such axis, or a reader that is not installed.
        """
        from samadapt.data.stacks.opening import open_source

        return cls(open_source(Path(path), axis, dict(at or {}), channels), str(path))

    @classmethod
    def from_array(
        cls,
        array: NDArray[Any],
        *,
        axis: Axis = "z",
        voxel: VoxelSize | None = None,
        name: str = "the array",
    ) -> Self:
        """A stack of an array (N, H, W), (N, H, W, 3) or (N, H, W, 4).

        Raises:
            ImageError: another shape, or no pixels.
        """
        if array.ndim not in (3, 4) or array.size == 0:
            raise ImageError(f"{name} has shape {array.shape}: give (N, H, W) or (N, H, W, 3)")
        size = int(array.shape[1]), int(array.shape[2])
        facts = StackFacts(numbered(len(array)), size, axis, voxel or VoxelSize())
        return cls(ArraySlices(array, facts), name)

    def __len__(self) -> int:
        return len(self._facts.names)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """A slice as displayed, (H, W, 3) uint8; all slices have the same contrast.

        Raises:
            IndexError: no such slice.
            ImageError: it is missing, damaged, or unlike the others.
        """
        values = self.values(index)
        name = self.slice_name(self._place(index))
        deep = values.dtype not in (np.uint8, np.bool_)
        return to_rgb(values, name, self._contrast() if deep else ())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a slice."""
        return self._facts.size

    @property
    def axis(self) -> Axis:
        """Either "z" for a volume, "t" for frames."""
        return self._facts.axis

    @property
    def voxel(self) -> VoxelSize:
        """Distances between slices, rows and columns."""
        return self._facts.voxel

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """4 x 4, from voxel (x, y, z) to the scanner's millimetres, where the file has it."""
        return self._facts.affine

    @property
    def findings(self) -> tuple[LeftOut, ...]:
        """Problems found in the headers, one line each; `check` reads every slice."""
        bad = self._facts.bad
        return (*self._facts.remarks, *(bad[index] for index in sorted(bad)))

    @property
    def usable(self) -> tuple[int, ...]:
        """Slices without problems in the headers."""
        return tuple(i for i in range(len(self)) if i not in self._facts.bad)

    @property
    def problems(self) -> dict[int, str]:
        """What the headers tell is wrong with slices, by index."""
        return {index: str(why) for index, why in self._facts.bad.items()}

    @property
    def remarks(self) -> tuple[LeftOut, ...]:
        """What the headers tell about the stack as a whole."""
        return self._facts.remarks

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slices: of their files, where each is a file."""
        return self._facts.names

    def find(self, name: str) -> int | None:
        """The index of the slice of a name."""
        return self._facts.names.index(name) if name in self._facts.names else None

    def file_name(self, index: int) -> str:
        """A name for the picture of a slice: that of its file, or one made from the stack's."""
        if self._facts.are_files:
            return self._facts.names[index]
        digits = max(4, len(str(len(self) - 1)))
        stem = Path(self.name).name.split(".")[0] or "stack"
        return f"{stem}_{index:0{digits}d}.png"

    def slice_name(self, index: int) -> str:
        """The name of a slice in messages."""
        return f"{self.name}, {self._facts.names[index]}"

    def values(self, index: int) -> NDArray[Any]:
        """The numbers of a slice as stored: (H, W), (H, W, 3) or (H, W, 4).

        Raises:
            IndexError, ImageError: as indexing.
        """
        values = self._read(self._place(index))
        kind = (values.dtype.kind, values.dtype.itemsize)
        if self._kind is None:
            self._kind = self._usual_kind(kind)
        if kind != self._kind:
            raise self._unlike(index, kind)
        return values

    def check(self) -> tuple[LeftOut, ...]:
        """Read every slice; returns its problems, one line each."""
        found = list(self.findings)
        for index in self.usable:
            try:
                self.values(index)
            except ImageError as error:
                found.append(LeftOut(self._facts.names[index], str(error), 0))
        return tuple(found)

    def close(self) -> None:
        """Close the files; slices cannot be read after that."""
        self._source.close()

    # -- private --------------------------------------------------------------------------

    def _place(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"{self.name} has {len(self)} slices, no slice {index}")
        return place

    def _read(self, index: int) -> NDArray[Any]:
        if index in self._facts.bad:
            raise ImageError(str(self._facts.bad[index]))
        with self._lock:
            values = self._source.read(index)
        if values.shape[:2] != self.size:
            height, width = values.shape[:2]
            raise ImageError(
                f"{self.slice_name(index)} is {width} x {height} pixels, the stack {self.size[1]} "
                f"x {self.size[0]}: save all slices in one size"
            )
        return values

    def _usual_kind(self, own: tuple[str, int]) -> tuple[str, int]:
        kinds = Counter((v.dtype.kind, v.dtype.itemsize) for v in self._samples())
        return kinds.most_common(1)[0][0] if kinds else own

    def _unlike(self, index: int, kind: tuple[str, int]) -> ImageError:
        return ImageError(
            f"{self.slice_name(index)} holds {_kind_name(kind)}, the stack "
            f"{_kind_name(self._kind or kind)}: save all slices in one depth"
        )

    def _samples(self) -> Iterator[NDArray[Any]]:
        usable = self.usable
        chosen = np.linspace(0, len(usable) - 1, min(_LOOKED_AT, len(usable))).round().astype(int)
        for place in chosen.tolist():
            try:
                values = self._read(usable[place])
            except ImageError:
                continue
            step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / _SAMPLES))))
            yield values[::step, ::step]

    def _contrast(self) -> tuple[Limits, ...]:
        """The values that are shown as black and white in all slices."""
        if self._limits is None:
            found = [v for v in self._samples() if (v.dtype.kind, v.dtype.itemsize) == self._kind]
            if self._facts.channelwise:
                channels = [[v[..., c].ravel() for v in found] for c in range(found[0].shape[2])]
            else:
                channels = [[v[..., :3].ravel() if v.ndim == 3 else v.ravel() for v in found]]
            self._limits = tuple(
                contrast_limits(np.concatenate(one), self.name) for one in channels
            )
        return self._limits


def _kind_name(kind: tuple[str, int]) -> str:
    names = {"u": "unsigned", "i": "signed", "f": "float", "b": "black and white"}
    return f"{8 * kind[1]}-bit {names.get(kind[0], kind[0])} values"
