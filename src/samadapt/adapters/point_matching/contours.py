"""Contours of masks: traced with sub-pixel precision, measured, resampled, and drawn again.

Places are (x, y) with the top-left corner of the image at (0, 0), so the centre of the first pixel
is (0.5, 0.5). A contour is a closed polygon (V, 2) whose last vertex is joined to its first. It
keeps the object on one side: outer contours have a positive signed area, holes a negative one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.point_matching.tracing import zero_lines

Points = NDArray[np.float64]


def trace(logits: NDArray[np.floating]) -> list[Points]:
    """Return all contours at which logits (H, W) cross 0, longest first.

    The crossing between two pixels is found by linear interpolation of their logits. An object
    at the image's border gets a contour that runs along the border.

    Returns:
        Closed polygons (V, 2); none for an empty mask.
    """
    rows, columns = np.flatnonzero((logits > 0).any(1)), np.flatnonzero((logits > 0).any(0))
    if not len(rows):
        return []
    top, left = max(0, int(rows[0]) - 1), max(0, int(columns[0]) - 1)
    part = logits[top : int(rows[-1]) + 2, left : int(columns[-1]) + 2]
    framed = np.full((part.shape[0] + 2, part.shape[1] + 2), -1.0)
    framed[1:-1, 1:-1] = np.where(part == 0, -1e-6, part)  # the threshold calls 0 background
    _frame(framed)
    corner = np.array([left - 0.5, top - 0.5])  # pixel 1 of the framed part is pixel 0 here
    contours = [line + corner for line in zero_lines(framed)]
    limit = np.array([logits.shape[1], logits.shape[0]], np.float64)
    contours = [np.clip(contour, 0.0, limit) for contour in contours]
    return sorted(contours, key=perimeter, reverse=True)


def signed_area(contour: Points) -> float:
    """Shoelace area; positive around an object, negative around a hole."""
    ends = _following(contour)
    return float(contour[:, 0] @ ends[:, 1] - contour[:, 1] @ ends[:, 0]) / 2


def perimeter(contour: Points) -> float:
    """Length of the closed polygon."""
    return float(_steps(contour).sum())


def arc_places(contour: Points) -> NDArray[np.float64]:
    """Return the vertices' positions (V,) along the contour, in 0..1 from vertex 0."""
    ends = np.cumsum(_steps(contour))
    places = np.zeros(len(contour))
    places[1:] = ends[:-1] / max(float(ends[-1]), 1e-12)
    return places


def resample(contour: Points, count: int) -> Points:
    """`count` points (count, 2) at equal steps along the contour, the first one at vertex 0."""
    return interpolate(arc_places(contour), contour, np.arange(count) / count)


def interpolate(known: NDArray[np.float64], values: Points, wanted: NDArray[np.float64]) -> Points:
    """Values (W, 2) at `wanted` places in 0..1 of a closed line, linear between `known` ones (K,).

    Known places ascend from 0.
    """
    around = np.append(known, known[0] + 1)
    found = np.empty((len(wanted), 2))
    for axis in (0, 1):
        column = np.append(values[:, axis], values[0, axis])
        found[:, axis] = np.interp(wanted, around, column)
    return found


def distribute(lengths: Sequence[float], total: int, least: int, shortest: float) -> list[int]:
    """Distribute `total` points over the contours in proportion to their lengths.

    Contours shorter than `shortest` get none; the others at least `least`. If `total` does not
    suffice for that, the last ones get none.
    """
    room = max(1, total // least)
    chosen = [i for i, length in enumerate(lengths) if length >= shortest][:room]
    whole = sum(lengths[i] for i in chosen)
    counts = [0] * len(lengths)
    for index in chosen:
        counts[index] = max(least, int(total * lengths[index] / whole))
    if chosen:
        longest = max(chosen, key=lambda i: lengths[i])
        counts[longest] = max(least, counts[longest] + total - sum(counts))
    return counts


def draw(contours: Sequence[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of all pixels whose centre the contours wind around.

    A centre is inside when the winding number is positive, so holes stay holes, overlapping parts
    become one, and loops that have turned inside out vanish. Contours are clipped to the image.
    Drawing the contours of `trace` gives exactly the same mask.

    Args:
        contours: closed polygons (V, 2).
        size: (H, W).
    """
    height, width = size
    turns = np.zeros((height, width + 1), np.int32)
    if contours:
        _add_turns(
            turns, np.concatenate(contours), np.concatenate([_following(c) for c in contours])
        )
    found: NDArray[np.bool_] = np.cumsum(turns[:, :width], axis=1) > 0
    return found


def _add_turns(turns: NDArray[np.int32], starts: Points, ends: Points) -> None:
    """Add +1 or -1 to the first pixel right of every crossing of an edge and a row's centre."""
    height, last = turns.shape[0], turns.shape[1] - 1
    (x0, y0), (x1, y1) = starts.T, ends.T
    # The rows whose centre y + 0.5 lies in [min, max) of an edge.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    counts = after - first
    edges = np.repeat(np.arange(len(starts)), counts)
    if not len(edges):
        return
    before = np.cumsum(counts) - counts
    rows = first[edges] + np.arange(len(edges)) - before[edges]
    share = (rows + 0.5 - y0[edges]) / (y1 - y0)[edges]
    crossing = x0[edges] + share * (x1 - x0)[edges]
    columns = np.clip(np.ceil(crossing - 0.5), 0, last).astype(np.int64)
    np.add.at(turns, (rows, columns), np.where(y1 > y0, -1, 1)[edges].astype(np.int32))


def _following(contour: Points) -> Points:
    """The vertex after each vertex."""
    return np.concatenate([contour[1:], contour[:1]])


def _steps(contour: Points) -> NDArray[np.float64]:
    """Length of the edge that begins at each vertex."""
    edges = _following(contour) - contour
    return np.hypot(edges[:, 0], edges[:, 1])


def _frame(framed: NDArray[np.float64]) -> None:
    """Set the outermost ring so that the crossing lies on the image's border.

    Half-way between the last pixel's centre and the ring's, whatever the last pixel's logit is.
    """
    framed[0], framed[-1] = -np.abs(framed[1]), -np.abs(framed[-2])
    framed[:, 0], framed[:, -1] = -np.abs(framed[:, 1]), -np.abs(framed[:, -2])
