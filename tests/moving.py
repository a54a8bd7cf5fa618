"""A stack of few small slices: a red disc that moves, as a multi-page TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

SIZE = (48, 72)
RADIUS = 9


def disc_at(index: int) -> NDArray[np.bool_]:
    """Where the disc is in a slice, (H, W) bool."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray((rows - 24) ** 2 + (columns - 20 - 3 * index) ** 2 < RADIUS**2)


def moving_disc(count: int = 6, without: tuple[int, ...] = ()) -> NDArray[np.uint8]:
    """Slices (count, H, W, 3); the disc is missing in some."""
    noise = np.random.default_rng(0).integers(0, 12, (count, *SIZE, 1)).astype(np.uint8)
    slices = np.full((count, *SIZE, 3), 100, np.uint8) + noise
    for index in range(count):
        if index not in without:
            slices[index, disc_at(index)] = (220, 40, 40)
    return slices


def save_stack(path: Path, slices: NDArray[np.uint8], voxel: float | None = None) -> None:
    """Write slices as a TIFF with one page each; with a voxel height (in µm) as OME-TIFF."""
    if voxel is None:
        with tifffile.TiffWriter(path) as writer:
            for one in slices:
                writer.write(one, photometric="rgb", contiguous=False, metadata=None)
        return
    metadata = {
        "axes": "ZYXS",
        "PhysicalSizeZ": voxel,
        "PhysicalSizeZUnit": "µm",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(path, slices, ome=True, photometric="rgb", metadata=metadata)
