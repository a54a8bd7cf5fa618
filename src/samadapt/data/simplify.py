"""Outlines with fewer corners: neighbours keep their common border, and nothing else changes.

The outlines of all objects of an image are cut into arcs where they meet or part. Each arc is
simplified once (Douglas & Peucker 1973, `cv2.approxPolyDP`), so that both neighbours get the same
line, without gap or overlap. The simplified corners are a subset of the original ones. Arcs that
would cross, touch, or leave a corner on the wrong side of an outline are simplified less, or not
at all, so that parts, holes and their nesting are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.crossings import conflicts
from samadapt.data.polygons import flat, rle_to_parts
from samadapt.data.rle import Rle

Points = NDArray[np.int64]

_LEAST = 0.25
"""Arcs are not simplified with a tolerance below this, in pixels."""


def simplified(masks: Sequence[Rle], tolerance: float) -> list[list[list[int]]]:
    """Outlines of the objects of one image as polygons, holes joined to them by bridges.

    Args:
        masks: of one size. They may overlap. Only the boxes of objects are decoded.
        tolerance: largest distance, in pixels, of an outline from the original.

    Returns:
        For each mask its polygons [x0, y0, x1, y1, ...], one per 4-connected part.
    """
    parts = [rle_to_parts(mask) for mask in masks]
    corners = {(x, y) for mask in masks for x in (0, mask.size[1]) for y in (0, mask.size[0])}
    lines = [line for of in parts for part in of for line in (part.outer, *part.holes)]
    plane = _Plane(lines, corners, tolerance)
    plane.settle()
    numbers = iter(range(len(plane.rings)))
    rings = [[[next(numbers) for _ in (p.outer, *p.holes)] for p in found] for found in parts]
    sizes = [mask.size for mask, of in zip(masks, rings, strict=True) for p in of for _ in p]
    while plane.refine({arc for r in plane.invisible(sizes) for arc, _ in plane.rings[r]}):
        plane.settle()
    return [[_joined([plane.line(r) for r in part]) for part in of] for of in rings]


class _Plane:
    """All outlines of an image as rings of shared arcs."""

    def __init__(
        self, lines: Sequence[Points], fixed: set[tuple[int, int]], tolerance: float
    ) -> None:
        self._lines = lines
        self._arcs: list[Points] = []
        self._tolerances: list[float] = []
        known: dict[bytes, int] = {}
        junctions = _junctions(lines) | fixed
        self.rings: list[list[tuple[int, bool]]] = []
        """The arcs of each ring, in order, each with True if it is passed backwards."""
        for line in lines:
            ring = []
            for piece in _pieces(line, junctions):
                there, back = piece.tobytes(), piece[::-1].tobytes()
                key = min(there, back)
                if key not in known:
                    known[key] = len(self._arcs)
                    self._arcs.append(piece if key == there else piece[::-1])
                    self._tolerances.append(tolerance)
                ring.append((known[key], key != there))
            self.rings.append(ring)
        self._short = [_reduced(arc, tolerance) for arc in self._arcs]

    def line(self, ring: int) -> Points:
        """The present corners of a ring."""
        pieces = [
            self._short[arc][::-1] if back else self._short[arc] for arc, back in self.rings[ring]
        ]
        return np.concatenate([piece[:-1] for piece in pieces])

    def invisible(self, sizes: Sequence[tuple[int, int]]) -> list[int]:
        """Rings that enclose no pixel any more, in images of these sizes."""
        return [
            ring
            for ring, size in enumerate(sizes)
            if not Rle.from_polygons([flat(self.line(ring))], size).area
        ]

    def refine(self, arcs: set[int]) -> bool:
        """Simplify arcs half as much; returns True if that changed a tolerance."""
        changed = False
        for arc in arcs:
            if self._tolerances[arc]:
                half = self._tolerances[arc] / 2
                self._tolerances[arc] = half if half >= _LEAST else 0.0
                self._short[arc] = _reduced(self._arcs[arc], self._tolerances[arc])
                changed = True
        return changed

    def settle(self) -> None:
        """Refine until no lines cross and all rings keep their nesting."""
        while self.refine(conflicts(self._short) or self._misplaced()):
            pass

    def _misplaced(self) -> set[int]:
        """Arcs of rings with a corner on another side than in the original."""
        corners = (
            np.unique(np.concatenate(self._short), axis=0) if self._short else np.empty((0, 2))
        )
        found: set[int] = set()
        for number, (line, ring) in enumerate(zip(self._lines, self.rings, strict=True)):
            low, high = line.min(axis=0), line.max(axis=0)
            near = corners[((corners >= low) & (corners <= high)).all(axis=1)]
            own = {(x, y) for x, y in line.tolist()}
            near = near[[(x, y) not in own for x, y in near.tolist()]] if len(near) else near
            if len(near) and (_inside(near, line) != _inside(near, self.line(number))).any():
                found |= {arc for arc, _ in ring}
        return found


def _junctions(lines: Sequence[Points]) -> set[tuple[int, int]]:
    """Points where outlines meet, part, or touch: visited with different neighbours."""
    neighbours: dict[tuple[int, int], frozenset[tuple[int, int]]] = {}
    found: set[tuple[int, int]] = set()
    for line in lines:
        points = [(x, y) for x, y in line.tolist()]
        for k, point in enumerate(points):
            pair = frozenset((points[k - 1], points[(k + 1) % len(points)]))
            if neighbours.setdefault(point, pair) != pair:
                found.add(point)
    return found


def _pieces(line: Points, junctions: set[tuple[int, int]]) -> list[Points]:
    """A ring cut at junctions, and a closed piece once more at its farthest point."""
    cuts = [k for k, (x, y) in enumerate(line.tolist()) if (x, y) in junctions]
    if not cuts:
        cuts = [int(np.lexsort((line[:, 0], line[:, 1]))[0])]
    turned = np.roll(line, -cuts[0], axis=0)
    closed = np.concatenate([turned, turned[:1]])
    ends = [cut - cuts[0] for cut in cuts] + [len(line)]
    pieces = [closed[a : b + 1] for a, b in pairwise(ends)]
    return [half for piece in pieces for half in _halves(piece)]


def _halves(piece: Points) -> list[Points]:
    """Split a closed piece in two, independent of its direction."""
    if (piece[0] != piece[-1]).any():
        return [piece]
    distance = ((piece - piece[0]) ** 2).sum(axis=1)
    middle = int(np.lexsort((piece[:, 0], piece[:, 1], distance))[-1])
    return [piece[: middle + 1], piece[middle:]]


def _reduced(arc: Points, tolerance: float) -> Points:
    """The kept corners of an arc, always including its ends."""
    if tolerance:
        found = cv2.approxPolyDP(arc.astype(np.int32)[:, None], tolerance, False)
        short: Points = found[:, 0].astype(np.int64)
        return short
    steps = np.diff(arc, axis=0)
    turns = np.ones(len(arc), np.bool_)
    turns[1:-1] = (steps[1:] != steps[:-1]).any(axis=1)
    return arc[turns]


def _inside(points: Points, ring: Points) -> NDArray[np.bool_]:
    """Whether points (N, 2), none of them on a closed line (M, 2), are inside it (even-odd)."""
    x, y = points[:, :1].astype(np.float64), points[:, 1:].astype(np.float64)
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    spans = (y0 <= y) != (y1 <= y)
    slope = (x1 - x0) / np.where(y1 == y0, 1, y1 - y0)
    crossed = spans & (x < x0 + (y - y0) * slope)
    inside: NDArray[np.bool_] = crossed.sum(axis=1) % 2 == 1
    return inside


def _joined(rings: list[Points]) -> list[int]:
    """One closed line around a part; the bridge to each hole is passed in both directions."""
    line, *holes = rings
    for hole in holes:
        apart = ((line[:, None] - hole[None]) ** 2).sum(axis=2)
        at, to = np.unravel_index(int(apart.argmin()), apart.shape)
        around = np.concatenate([hole[to:], hole[: to + 1]])
        line = np.concatenate([line[: at + 1], around, line[at:]])
    return flat(line)
