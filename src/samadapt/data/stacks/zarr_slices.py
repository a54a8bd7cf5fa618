"""OME-zarr and plain zarr arrays as stacks (the extra `volumes`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.import_issues import ImportIssues
from samadapt.data.pixels import damaged
from samadapt.data.stacks.axes import chosen_axis, chosen_channels, places
from samadapt.data.stacks.source import Axis, StackFacts, numbered
from samadapt.data.zarr_files import open_zarr


class ZarrSlices:
    """Planes of the finest level of a zarr image."""

    def __init__(
        self,
        path: Path,
        axis: Axis | None,
        at: Mapping[str, int],
        channels: Sequence[int] | None,
    ) -> None:
        image = open_zarr(path)
        self._path, self._array, findings = path, image.levels[0], ImportIssues()
        axes, shape = image.axes[:-2], self._array.shape[:-2]
        self._along = chosen_axis(str(path), axes, shape, axis)
        self._fixed = places(str(path), axes, shape, self._along, at, findings)
        self._shown = chosen_channels(str(path), axes, shape, channels)
        self._channel = axes.find("c")
        count = 1 if self._along is None else shape[self._along]
        letter = "z" if self._along is None else axes[self._along]
        height, width = self._array.shape[-2:]
        self.facts = StackFacts(
            numbered(count),
            (int(height), int(width)),
            "t" if letter == "t" else "z",
            image.voxel,
            (*image.left_out, *findings.left_out),
            channelwise=len(self._shown) > 1,
        )

    def read(self, index: int) -> NDArray[Any]:
        """Values of a slice."""
        planes = []
        for channel in self._shown:
            place = list(self._fixed)
            if self._along is not None:
                place[self._along] = index
            if self._channel >= 0:
                place[self._channel] = channel
            try:
                planes.append(np.asarray(self._array[(*place, slice(None), slice(None))]))
            except Exception as error:  # the codecs raise what the broken bytes provoke
                raise damaged(f"{self._path}, slice {index}", error) from None
        if len(planes) == 1:
            return planes[0]
        planes += [np.zeros_like(planes[0])] * (3 - len(planes))
        return np.stack(planes, axis=-1)

    def close(self) -> None:
        """Nothing is open."""
