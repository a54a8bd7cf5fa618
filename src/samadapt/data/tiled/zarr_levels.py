"""Levels of an OME-zarr image (the extra `volumes`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.pixels import damaged
from samadapt.data.zarr_files import open_zarr

_SHOWN = 3


class ZarrLevels:
    """The first plane of a zarr image, at each of its levels."""

    def __init__(self, path: Path) -> None:
        image = open_zarr(path)
        self._path, self._axes, self._levels = path, image.axes, image.levels
        self.sizes = [(int(a.shape[-2]), int(a.shape[-1])) for a in image.levels]
        self.voxel, self.findings = image.voxel, image.left_out

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        """A window of a level."""
        array = self._levels[level]
        place = [0 if letter != "c" else slice(0, _SHOWN) for letter in self._axes[:-2]]
        try:
            values = np.asarray(array[(*place, slice(y0, y1), slice(x0, x1))])
        except Exception as error:  # the codecs raise what the broken bytes provoke
            raise damaged(f"{self._path}, level {level}", error) from None
        if values.ndim == 2:
            return values
        if len(values) == 1:
            return np.asarray(values[0])
        if len(values) < _SHOWN:
            values = np.concatenate([values, np.zeros_like(values[: _SHOWN - len(values)])])
        return np.moveaxis(values, 0, -1)

    def close(self) -> None:
        """Nothing is open."""
