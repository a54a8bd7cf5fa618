"""Matching of predicted contours to true ones, and of their points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.point_matching.contours import (
    Points,
    arc_places,
    interpolate,
    resample,
    signed_area,
)

ALIGNED = 64
"""Number of points by which a predicted contour is aligned."""

FINER = 4
"""True points per predicted point, so that shifts are finer than the points' distance."""


def best_shifts(points: Points, truth: Points) -> NDArray[np.int64]:
    """The cyclic shift that brings two contours closest, for M pairs of contours at once.

        k* = argmin_k sum_i |p_i - g_(k + r i)|^2        r = m / n, indices of g modulo m

    The sum is |p|^2 + |g|^2 - 2 p.g; its last part is a circular correlation, found for all k by
    FFT in O(m log n).

    Args:
        points: (M, n, 2), equal steps along the predicted contours.
        truth: (M, m, 2), equal steps along the true ones; m is a multiple of n.

    Returns:
        (M,) shifts in 0..m-1.
    """
    pairs, n, _ = points.shape
    finer = truth.shape[1] // n
    grouped = truth.reshape(pairs, n, finer, 2)  # shift k = r a + j is row a of column j
    spectrum = np.conj(np.fft.rfft(points, axis=1))[:, :, None] * np.fft.rfft(grouped, axis=1)
    likeness = np.fft.irfft(spectrum, n=n, axis=1).sum(-1)  # (M, n, r)
    costs = (grouped**2).sum((1, 3))[:, None, :] - 2 * likeness
    shifts: NDArray[np.int64] = costs.reshape(pairs, -1).argmin(1)
    return shifts


def partners(predicted: Sequence[Points], true: Sequence[Points], limit: float) -> list[int | None]:
    """The true contour that is matched to each predicted one; None for no match.

    Outer contours are matched to outer contours, holes to holes, and each true contour to at most
    one predicted contour. Pairs are formed in the order of their symmetric mean distance, from
    the points of each contour to the nearest points of the other.

    Args:
        predicted: contours (V, 2).
        true: contours (V, 2).
        limit: largest distance of a pair.
    """
    if not predicted or not true:
        return [None] * len(predicted)
    ours = np.stack([resample(contour, ALIGNED) for contour in predicted])
    theirs = np.stack([resample(contour, ALIGNED) for contour in true])
    distances = _distances(ours, theirs)
    outer = [np.array([signed_area(contour) > 0 for contour in some]) for some in (ours, theirs)]
    distances[outer[0][:, None] != outer[1][None]] = np.inf
    found: list[int | None] = [None] * len(ours)
    for _ in range(min(distances.shape)):
        i, j = np.unravel_index(int(distances.argmin()), distances.shape)
        if not distances[i, j] <= limit:
            break
        found[int(i)] = int(j)
        distances[i, :] = distances[:, j] = np.inf
    return found


def targets(contour: Points, true: Points, places: NDArray[np.float64], slack: float) -> Points:
    """Target positions, on the contour `true`, of points at `places` (n,) in 0..1 along `contour`.

    The contours are aligned by arc length from the best common start (`best_shifts`). Then each
    point takes the nearest true point within `slack` of the true contour's length, since a bulge
    in one contour alone shifts all later points.

    Returns:
        (n, 2).
    """
    dense = resample(true, ALIGNED * FINER)
    shift = int(best_shifts(resample(contour, ALIGNED)[None], dense[None])[0])
    aligned = np.rint(places * len(dense)).astype(np.int64) + shift
    reach = int(slack * len(dense))
    window = (aligned[:, None] + np.arange(-reach, reach + 1)) % len(dense)
    own = interpolate(arc_places(contour), contour, places)
    gaps = ((dense[window] - own[:, None]) ** 2).sum(-1)
    nearest: Points = dense[window[np.arange(len(places)), gaps.argmin(1)]]
    return nearest


def _distances(first: Points, second: Points) -> NDArray[np.float64]:
    """Symmetric mean distance to the nearest point: (M, n, 2) and (K, n, 2) to (M, K)."""
    count = first.shape[1]
    a, b = first.reshape(-1, 2), second.reshape(-1, 2)
    squares = (a**2).sum(-1)[:, None] + (b**2).sum(-1)[None] - 2 * a @ b.T
    gaps = np.sqrt(squares.clip(min=0)).reshape(len(first), count, len(second), count)
    found: NDArray[np.float64] = (gaps.min(1).mean(-1) + gaps.min(3).mean(1)) / 2
    return found
