"""`Baseline`: an interactive segmentation method without training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Clicked(NamedTuple):
    """An image and the clicks on its object so far.

    Attributes:
        pixels: (h, w, 3) RGB at working size.
        seeds: (h, w) of UNKNOWN, OBJECT and BACKGROUND: discs around all clicks so far.
        before: the object's mask (h, w) before the latest click; None at the first.
        latest: (row, column) of the latest click; its seed is among `seeds`.
    """

    pixels: NDArray[np.uint8]
    seeds: NDArray[np.uint8]
    before: NDArray[np.bool_] | None
    latest: tuple[int, int]


class Baseline(ABC):
    """A segmentation method without weights that answers clicks. Stateless and deterministic.

    A baseline is a frozen dataclass whose fields are its settings, so that results can record them
    and worker processes receive it.
    """

    name: ClassVar[str]
    seed_radius: float
    """Radius of the disc around a click, as a share of the image's longest side."""

    @abstractmethod
    def segment(self, clicked: Clicked) -> NDArray[np.floating[Any]]:
        """Segment the object that was clicked.

        Returns:
            The probability of the object (h, w), 0..1; on every seed it has the seed's label.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)  # type: ignore[call-overload, no-any-return] # a dataclass, see above
