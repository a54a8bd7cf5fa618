"""Detection of lines in a drawing that cross or touch each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int64]

_PAIRS_AT_ONCE = 1 << 20


def conflicts(lines: Sequence[Points]) -> set[int]:
    """The numbers of open lines (N, 2) that meet another one, or themselves, except at corners.

    Corners may be shared by several lines if the segments that meet there also part there.
    """
    if not lines:
        return set()
    starts = np.concatenate([line[:-1] for line in lines])
    ends = np.concatenate([line[1:] for line in lines])
    owner = np.repeat(np.arange(len(lines)), [len(line) - 1 for line in lines])
    found: set[int] = set()
    for first, second in _near(starts, ends):
        bad = _meet(starts[first], ends[first], starts[second], ends[second])
        found |= set(owner[first[bad]].tolist()) | set(owner[second[bad]].tolist())
    return found


def _near(starts: Points, ends: Points) -> list[tuple[Points, Points]]:
    """Pairs of segments whose boxes touch, each pair once, in portions."""
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    order = np.argsort(low[:, 0], kind="stable")
    left = low[order, 0]
    last = np.searchsorted(left, high[order, 0], side="right")
    counts = last - np.arange(len(order)) - 1
    portions: list[tuple[Points, Points]] = []
    begin = 0
    while begin < len(order):
        total = np.cumsum(counts[begin:])
        end = begin + max(1, int(np.searchsorted(total, _PAIRS_AT_ONCE)))
        some = counts[begin:end]
        first = np.repeat(np.arange(begin, begin + len(some)), some)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(some) - some, some)
        a, b = order[first], order[first + 1 + offset]
        touch = (low[a, 1] <= high[b, 1]) & (low[b, 1] <= high[a, 1])
        portions.append((a[touch], b[touch]))
        begin = end
    return portions


def _meet(a: Points, b: Points, c: Points, d: Points) -> NDArray[np.bool_]:
    """Whether segments ab and cd (N, 2), whose boxes touch, meet other than at a common end."""
    sides = (_side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b))
    crossing = (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)
    same = [(p == q).all(axis=1) for p in (a, b) for q in (c, d)]
    common = np.logical_or.reduce(same)
    # From a common end, both go the same way.
    along = np.zeros(len(a), np.bool_)
    for equal, (p, q) in zip(
        same,
        (((b - a), (d - c)), ((b - a), (c - d)), ((a - b), (d - c)), ((a - b), (c - d))),
        strict=True,
    ):
        cross = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        along |= equal & (cross == 0) & ((p * q).sum(axis=1) > 0)
    found: NDArray[np.bool_] = np.where(common, along, crossing)
    return found


def _side(a: Points, b: Points, p: Points) -> NDArray[np.int64]:
    """The side of the line through a and b that p lies on: -1, 0 or 1."""
    cross = (b[:, 0] - a[:, 0]) * (p[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (p[:, 0] - a[:, 0])
    signs: NDArray[np.int64] = np.sign(cross)
    return signs
