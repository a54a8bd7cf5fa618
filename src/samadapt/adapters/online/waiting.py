"""`Waiting`: a finished object that waits to be learned."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.stored_sample import StoredView, unpacked


@dataclass(slots=True, eq=False)
class Waiting:
    """An object that ended and was not learned yet.

    Attributes:
        domain: of its image.
        interaction: the object when it ended; None while it is only in its file.
        bits: the mask, packed along its rows.
        shape: (H, W) of the mask.
        several: whether single clicks were answered with several candidates.
        change: (P,) change of the weights by its clicks, None for no change.
        is_accepted: False for a skipped object.
        value: priority; objects with a higher value are learned first.
        view: its image.
        number: position in the order in which objects ended.
        path: its file, if it has one.
        replaced_by: number of a later version of the object, which waits in its place.
    """

    domain: int
    interaction: Interaction | None
    bits: NDArray[np.uint8]
    shape: tuple[int, int]
    several: bool
    change: Tensor | None
    is_accepted: bool
    value: float
    view: StoredView
    number: int = 0
    path: Path | None = None
    replaced_by: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its masks and prompts, without the image."""
        own, done = self.bits.nbytes, self.interaction
        if done is None:
            return own
        masks = (done.mask, *(prompt.mask for prompt in done.prompts))
        change = 0 if self.change is None else self.change.numel() * self.change.element_size()
        return own + change + sum(mask.nbytes for mask in masks if mask is not None)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The last mask (H, W)."""
        return unpacked(self.bits, self.shape)

    def is_exactly(self, view: StoredView, mask: NDArray[np.bool_]) -> bool:
        """Return True if it ended with `mask` (H, W) on the image `view`."""
        here = self.view is view and self.shape == mask.shape
        return here and np.array_equal(self.bits, np.packbits(mask, axis=-1))

    def move(self, name: str) -> bool:
        """Give its file, if it has one, another name; returns False if that fails."""
        if self.path is not None:
            there = self.path.with_name(name)
            try:
                self.path.rename(there)
            except OSError:
                return False
            self.path = there
        return True

    def forget(self) -> None:
        """Delete its file, and release its image."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        self.view.release()
