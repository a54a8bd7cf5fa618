"""`SliceSource`: the interface of slice readers; each file format has a module beside this one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from samadapt.data.import_issues import LeftOut
from samadapt.data.stacks.voxels import VoxelSize
from samadapt.errors import ImageError

Axis = Literal["z", "t"]


@dataclass(frozen=True, slots=True)
class StackFacts:
    """The header of a stack, known before any slice is read.

    Attributes:
        names: of the slices, in order; file names where each slice is a file.
        size: (height, width) of a slice.
        axis: "z" for a volume, "t" for frames.
        voxel: distances.
        remarks: about the file as a whole.
        bad: slices that cannot be used, with the reason.
        channelwise: whether each channel gets its own contrast, as for dyes.
        affine: 4 x 4, from voxel (x, y, z) to the scanner's millimetres; None if unknown.
        are_files: whether each slice is a separate image file.
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    axis: Axis = "z"
    voxel: VoxelSize = field(default_factory=VoxelSize)
    remarks: tuple[LeftOut, ...] = ()
    bad: dict[int, LeftOut] = field(default_factory=dict)
    channelwise: bool = False
    affine: NDArray[np.float64] | None = None
    are_files: bool = False


class SliceSource(Protocol):
    """Reads the slices of one stack, one at a time."""

    facts: StackFacts

    def read(self, index: int) -> NDArray[Any]:
        """Values of a slice as seen: (H, W), (H, W, 3) or (H, W, 4).

        Raises:
            ImageError: it cannot be read.
        """

    def close(self) -> None:
        """Close open files."""


@dataclass(slots=True)
class ArraySlices:
    """Slices of an array (N, H, W) or (N, H, W, channels), which may be one that reads lazily."""

    array: Any
    facts: StackFacts

    def read(self, index: int) -> NDArray[Any]:
        """Values of a slice."""
        return np.asarray(self.array[index])

    def close(self) -> None:
        """Nothing is open."""


def numbered(count: int) -> tuple[str, ...]:
    """Names for slices that have none."""
    return tuple(f"slice {index}" for index in range(count))


def missing_package(name: str, what: str, package: str, extra: str) -> ImageError:
    """The error for a file whose reader is not installed."""
    return ImageError(
        f"{name} is {what}, which needs another package: run 'pip install samadapt[{extra}]' (or "
        f"'pip install {package}')"
    )
