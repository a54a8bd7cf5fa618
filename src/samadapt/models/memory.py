"""`VideoMemory`: a video model that follows objects from frame to frame by its memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class VideoMemory(Protocol):
    """A video model with its weights; safe to use for one stack after the other."""

    @property
    def name(self) -> str:
        """Name of the weights."""

    def follow(
        self,
        first: NDArray[np.uint8],
        masks: Mapping[int, NDArray[np.bool_]],
        frames: Iterable[NDArray[np.uint8]],
    ) -> Iterator[Mapping[int, NDArray[np.bool_]]]:
        """Follow objects.

        Args:
            first: the frame (H, W, 3) of the masks.
            masks: (H, W) by the object's id.
            frames: the following frames in the order of propagation; read one by one.

        Yields:
            The masks of each frame by id; empty for an object that is not visible.
        """
