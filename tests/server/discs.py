"""Four discs, for tests of proposals: their numbers, and the pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CENTRES = [(8, 8), (8, 28), (8, 48), (30, 14)]
"""Row and column of each; none touches another."""


def disc_labels() -> NDArray[np.int_]:
    """Number of the disc at each pixel (40, 56), 0 beside them."""
    rows, columns = np.mgrid[:40, :56]
    found = np.zeros((40, 56), np.int_)
    for number, (y, x) in enumerate(CENTRES, 1):
        found[(rows - y) ** 2 + (columns - x) ** 2 < 25] = number
    return found


def draw_discs(folder: Path, labels: NDArray[np.int_], count: int) -> None:
    """Write `count` pictures of the same discs, 1.png and so on, into a new folder."""
    folder.mkdir()
    picture = np.full((*labels.shape, 3), 110, np.uint8)
    picture[labels > 0] = (220, 40, 40)
    for number in range(1, count + 1):
        Image.fromarray(picture).save(folder / f"{number}.png")
