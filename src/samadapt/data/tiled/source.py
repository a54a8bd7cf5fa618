"""`LevelSource`: the interface of readers of image levels."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from samadapt.data.import_issues import LeftOut
from samadapt.data.stacks.voxels import VoxelSize


class LevelSource(Protocol):
    """Reads windows of the levels of one image; level 0 is the finest.

    Attributes:
        sizes: (height, width) of each level.
        voxel: distances on the finest level.
        findings: problems of single levels.
    """

    sizes: list[tuple[int, int]]
    voxel: VoxelSize
    findings: tuple[LeftOut, ...]

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        """A window (y1 - y0, x1 - x0) or with channels, in pixels of the level, inside it.

        Raises:
            ImageError: damaged.
        """

    def close(self) -> None:
        """Close open files."""
