"""Medical volumes: NRRD (pynrrd) and NIfTI (nibabel), the extra `volumes`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.pixels import damaged
from samadapt.data.stacks.source import StackFacts, missing_package, numbered
from samadapt.data.stacks.voxels import VoxelSize, micrometres
from samadapt.errors import ImageError

_MM = 1000.0


class VolumeSlices:
    """Slices along the last axis of a volume, as stored: rows are y, columns x."""

    def __init__(self, path: Path, at: Mapping[str, int]) -> None:
        is_nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
        self._array, affine, voxel = (_nrrd if is_nrrd else _nifti)(path)
        shape = self._array.shape
        if len(shape) == 2:
            shape = (*shape, 1)
        if len(shape) not in (3, 4) or 0 in shape:
            raise ImageError(f"{path} has the shape {shape}: give a volume of 3 or 4 axes")
        self._time = at.get("t", 0)
        if len(shape) == 4 and not 0 <= self._time < shape[3]:
            raise ImageError(f"{path} has {shape[3]} time points, no {self._time}")
        self._path, self._dimensions = path, len(self._array.shape)
        self.facts = StackFacts(numbered(shape[2]), (shape[1], shape[0]), "z", voxel, affine=affine)

    def read(self, index: int) -> NDArray[Any]:
        """Values of a slice (H, W)."""
        place = ((), (index,), (index, self._time))[self._dimensions - 2]
        try:
            values = np.asarray(self._array[(slice(None), slice(None), *place)]).T
        except Exception as error:  # the readers raise what the broken bytes provoke
            raise damaged(f"{self._path}, slice {index}", error) from None
        return np.ascontiguousarray(values)

    def close(self) -> None:
        """Nothing is open."""


def _nifti(path: Path) -> tuple[Any, NDArray[np.float64], VoxelSize]:
    try:
        import nibabel
    except ImportError:
        raise missing_package(str(path), "a NIfTI volume", "nibabel", "volumes") from None
    try:
        image: Any = nibabel.load(path)
        header = image.header
        unit = header.get_xyzt_units()[0]
        zooms = [micrometres(z, "mm" if unit == "unknown" else unit) for z in header.get_zooms()]
        affine = np.asarray(image.affine, np.float64)
    except Exception as error:  # as above
        raise damaged(str(path), error) from None
    x, y, z = [*zooms[:3], None, None, None][:3]
    return image.dataobj, affine, VoxelSize(z, y, x)


def _nrrd(path: Path) -> tuple[Any, NDArray[np.float64] | None, VoxelSize]:
    try:
        import nrrd
    except ImportError:
        raise missing_package(str(path), "an NRRD volume", "pynrrd", "volumes") from None
    try:
        values, header = nrrd.read(str(path))
    except Exception as error:  # as above
        raise damaged(str(path), error) from None
    directions = header.get("space directions")
    units = header.get("space units") or header.get("units") or []
    unit = str(units[0]).strip('"') if len(units) else "mm"
    affine = None
    if directions is not None and np.shape(directions) == (3, 3):
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(directions, np.float64).T
        affine[:3, 3] = header.get("space origin", np.zeros(3))
        lengths = np.linalg.norm(np.asarray(directions, np.float64), axis=1)
    else:
        lengths = np.asarray(header.get("spacings", []), np.float64)
    x, y, z = [*(micrometres(v, unit) for v in lengths[:3]), None, None, None][:3]
    return values, affine, VoxelSize(z, y, x)
