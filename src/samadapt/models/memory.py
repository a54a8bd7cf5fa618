"""`VideoMemory`: a model that follows objects from frame to frame by a memory of its own."""

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
            first: the frame (H, W, 3) that the masks are of.
            masks: (H, W) by the object's id.
            frames: the frames after it, in the order in which to go; read one by one.

        Yields:
            For each frame the masks by id; an object that is not seen has an empty one.
        """
