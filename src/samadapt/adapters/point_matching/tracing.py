"""Marching squares: closed lines at which a picture crosses 0, object always on the same side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)

_SEGMENTS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((_TOP, _LEFT),),
    2: ((_RIGHT, _TOP),),
    3: ((_RIGHT, _LEFT),),
    4: ((_BOTTOM, _RIGHT),),
    5: ((_TOP, _LEFT), (_BOTTOM, _RIGHT)),
    6: ((_BOTTOM, _TOP),),
    7: ((_BOTTOM, _LEFT),),
    8: ((_LEFT, _BOTTOM),),
    9: ((_TOP, _BOTTOM),),
    10: ((_RIGHT, _TOP), (_LEFT, _BOTTOM)),
    11: ((_RIGHT, _BOTTOM),),
    12: ((_LEFT, _RIGHT),),
    13: ((_TOP, _RIGHT),),
    14: ((_LEFT, _TOP),),
}
"""Start and end side of the line through a cell, by the corners that are object (1: top left, 2:
top right, 4: bottom right, 8: bottom left). Corners that touch only diagonally stay apart."""


def zero_lines(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Closed lines (V, 2) of (x, y) where values (H, W) cross 0; index (0, 0) is the origin.

    Values above 0 are object, no value is 0, and the outermost ring is background. Crossings lie
    between neighbours, in linear proportion. Lines run so that the object's signed area (shoelace)
    is positive and a hole's negative.
    """
    width = values.shape[1]
    inside = values > 0
    corners = inside.astype(np.uint8)
    codes = corners[:-1, :-1] + 2 * corners[:-1, 1:] + 4 * corners[1:, 1:] + 8 * corners[1:, :-1]
    cells = np.flatnonzero((codes > 0) & (codes < 15))
    rows, columns = np.divmod(cells, width - 1)
    kinds = codes[rows, columns]
    # Number of the edge to the right of (r, c) is 2 (r W + c), of the one below it 1 more.
    here = 2 * (rows * width + columns)
    sides = np.stack([here, here + 3, here + 2 * width, here + 1])
    starts, ends = [], []
    for kind, segments in _SEGMENTS.items():
        which = np.flatnonzero(kinds == kind)
        for start, end in segments:
            starts.append(sides[start, which])
            ends.append(sides[end, which])
    start_edges, end_edges = np.concatenate(starts), np.concatenate(ends)
    order = np.argsort(start_edges)
    edges = start_edges[order]  # every crossing starts exactly one segment
    following = np.searchsorted(edges, end_edges[order])
    places = _crossings(values, edges)
    return [places[cycle] for cycle in _cycles(following.tolist())]


def _crossings(values: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    cells, below = np.divmod(edges, 2)
    rows, columns = np.divmod(cells, values.shape[1])
    first, second = values[rows, columns], values[rows + below, columns + 1 - below]
    share = first / (first - second)
    return np.stack([columns + share * (1 - below), rows + share * below], axis=1)


def _cycles(following: list[int]) -> list[list[int]]:
    """The cycles of a permutation."""
    seen = [False] * len(following)
    found = []
    for first in range(len(following)):
        if seen[first]:
            continue
        cycle, place = [], first
        while not seen[place]:
            seen[place] = True
            cycle.append(place)
            place = following[place]
        found.append(cycle)
    return found
