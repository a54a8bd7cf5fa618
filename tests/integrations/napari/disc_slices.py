"""Slices with discs, for the tests of the plugin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DISCS = ((30, 40), (70, 100), (95, 35))
"""Centres (row, column) of the discs in every slice; slice k has them k pixels lower."""
RADIUS, SIZE = 16, (128, 144)


def disc(number: int, depth: int = 0) -> NDArray[np.bool_]:
    row, column = DISCS[number]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - row - depth) ** 2 + (columns - column) ** 2 <= RADIUS**2


def stack(*numbers: int) -> NDArray[np.uint16]:
    """(4, H, W): bright discs on dark noise, with more than 8 bits; the first one if none is said.

    A point on one of several equal discs is ambiguous: nano takes them all.
    """
    random = np.random.default_rng(0)
    values = random.normal(8000, 300, (4, *SIZE))
    for depth in range(4):
        for number in numbers or (0,):
            values[depth][disc(number, depth)] += 20000
    return values.astype(np.uint16)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())
