"""Conversion of masks to polygons that preserve the mask exactly, with all parts and holes.

The outlines run along pixel edges, so they have whole-number corners and COCO's own rasteriser
fills exactly the pixels they came from. A COCO polygon is one closed line and cannot have a hole;
each hole is therefore joined to its surroundings by a vertical cut, walked once down and once up
again: a line of no width that encloses nothing. (The same works wherever polygons are filled by
the even-odd rule.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import DataError

_EAST, _SOUTH, _WEST, _NORTH = range(4)
_DX = np.array([1, 0, -1, 0])
_DY = np.array([0, 1, 0, -1])


@dataclass(frozen=True, slots=True)
class Part:
    """One 4-connected part of a mask: its outline and its holes, closed lines (N, 2) of (x, y).

    The lines have a corner after every pixel edge, clockwise on the screen; holes run the other
    way.
    """

    outer: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...]


def mask_to_parts(mask: NDArray[Any]) -> list[Part]:
    """The parts of a mask (H, W), with their holes apart.

    Raises:
        DataError: not one mask.
    """
    found = _edges_of(mask)
    return [] if found is None else found[0].parts(found[1])


def mask_to_polygons(mask: NDArray[Any]) -> list[list[int]]:
    """Outlines of a mask as COCO polygons, one per part.

    Parts are 4-connected: pixels that touch only at a corner belong to different polygons.

    Args:
        mask: (H, W), bool or integers where everything but 0 is object.

    Returns:
        Polygons [x0, y0, x1, y1, ...] in pixels with the origin at the top-left corner of the
        top-left pixel, clockwise on the screen; none for an empty mask.
        `Rle.from_polygons(polygons, mask.shape)` gives back the same mask.

    Raises:
        DataError: not one mask.
    """
    found = _edges_of(mask)
    if found is None:
        return []
    edges, corner = found
    return [flat(without_straight_points(ring) + corner) for ring in edges.outlines()]


def _edges_of(mask: NDArray[Any]) -> tuple[_Edges, NDArray[np.int64]] | None:
    """The edges of a mask, and the corner (x, y) that they count from; None for an empty one."""
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise DataError(
            f"mask of shape {mask.shape} and type {mask.dtype}: give a bool mask (height, width)"
        )
    filled = mask != 0
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    if rows.size == 0:
        return None
    top, left = int(rows[0]), int(columns[0])
    edges = _Edges(filled[top : rows[-1] + 1, left : columns[-1] + 1])
    return edges, np.array([left, top])


def rle_to_polygons(rle: Rle) -> list[list[int]]:
    """`mask_to_polygons` for a compressed mask, of which only the object's box is decoded."""
    crop, x, y = rle.cropped()
    polygons = mask_to_polygons(crop)
    return [[v + (x, y)[k % 2] for k, v in enumerate(polygon)] for polygon in polygons]


def rle_to_parts(rle: Rle) -> list[Part]:
    """As `mask_to_parts`, of a compressed mask, of which only the object's box is decoded."""
    crop, x, y = rle.cropped()
    corner = np.array([x, y])
    return [
        Part(part.outer + corner, tuple(hole + corner for hole in part.holes))
        for part in mask_to_parts(crop)
    ]


class _Edges:
    """The unit edges between object and background, each with the object at its right hand."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        padded = np.pad(mask, 1)
        inside = padded[1:-1, 1:-1]
        beyond = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
        starts = ((0, 0), (1, 0), (1, 1), (0, 1))
        parts = []
        for direction, (other, (dx, dy)) in enumerate(zip(beyond, starts, strict=True)):
            y, x = np.nonzero(inside & ~other)
            parts.append(np.stack([x + dx, y + dy, np.full_like(x, direction)]))
        x, y, direction = np.concatenate(parts, axis=1)
        self._width = mask.shape[1] + 1
        order = np.argsort(self._key(x, y, direction))
        self.x, self.y, self.direction = x[order], y[order], direction[order]
        self._keys = self._key(self.x, self.y, self.direction)
        self.next = self._successors()

    def _key(
        self, x: NDArray[np.int64], y: NDArray[np.int64], direction: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        key: NDArray[np.int64] = (y * self._width + x) * 4 + direction
        return key

    def _successors(self) -> NDArray[np.int64]:
        """The edge that follows each one: right if there is one, else straight on, else left.

        Turning right first keeps pixels apart that touch only at a corner.
        """
        x, y = self.x + _DX[self.direction], self.y + _DY[self.direction]
        found = np.full(x.size, -1)
        for turn in (3, 0, 1):
            keys = self._key(x, y, (self.direction + turn) % 4)
            at = np.minimum(np.searchsorted(self._keys, keys), x.size - 1)
            found = np.where(self._keys[at] == keys, at, found)
        return found

    def outlines(self) -> list[NDArray[np.int64]]:
        """Closed lines (N, 2) of corners (x, y), one per part, holes cut in."""
        following: list[int] = self.next.tolist()
        outer, holes = self._rings(following)
        preceding = [0] * len(following)
        for edge, after in enumerate(following):
            preceding[after] = edge
        for hole, above in zip(holes, self._edges_above(holes), strict=True):
            before, entry = preceding[above], following[hole]
            following[before], preceding[entry] = entry, before
            following[hole], preceding[above] = above, hole
        return [self._walk(edge, following) for edge in outer]

    def parts(self, corner: NDArray[np.int64]) -> list[Part]:
        """The parts, each with its holes; `corner` is added to every point."""
        following: list[int] = self.next.tolist()
        outer, holes = self._rings(following)
        ring_of = np.zeros(len(following), np.int64)
        walks = [self._edges_from(edge, following) for edge in (*outer, *holes)]
        for number, edges in enumerate(walks):
            ring_of[edges] = number
        # Straight above a hole lies its part's outline, or a hole of the same part.
        owner = list(range(len(outer)))
        for above in self._edges_above(holes):
            owner.append(owner[ring_of[above]])
        lines = [np.stack([self.x[e], self.y[e]], axis=1) + corner for e in walks]
        return [
            Part(lines[k], tuple(lines[h] for h in range(len(outer), len(lines)) if owner[h] == k))
            for k in range(len(outer))
        ]

    def _rings(self, following: list[int]) -> tuple[list[int], list[int]]:
        """The topmost, leftmost horizontal edge of each outer ring and of each hole.

        Edges are sorted by row, so the first horizontal edge of a ring that turns up is the one;
        it runs east on an outer ring (the object lies below it) and west on a hole.
        """
        seen = bytearray(len(following))
        outer: list[int] = []
        holes: list[int] = []
        for edge in np.flatnonzero(self.direction % 2 == 0).tolist():
            if seen[edge]:
                continue
            (outer if self.direction[edge] == _EAST else holes).append(edge)
            while not seen[edge]:
                seen[edge] = 1
                edge = following[edge]
        return outer, holes

    def _edges_above(self, holes: list[int]) -> list[int]:
        """The east-bound edge straight above each hole's topmost edge: only object between."""
        height = self.y[-1] + 1
        east = np.flatnonzero(self.direction == _EAST)
        keys = self.x[east] * height + self.y[east]
        order = np.argsort(keys)
        wanted = (self.x[holes] - 1) * height + self.y[holes]
        found: list[int] = east[order[np.searchsorted(keys[order], wanted) - 1]].tolist()
        return found

    def _edges_from(self, first: int, following: list[int]) -> NDArray[np.int64]:
        order = [first]
        while (edge := following[order[-1]]) != first:
            order.append(edge)
        return np.array(order)

    def _walk(self, first: int, following: list[int]) -> NDArray[np.int64]:
        edges = self._edges_from(first, following)
        starts = np.stack([self.x[edges], self.y[edges]], axis=1)
        directions = self.direction[edges]
        ends = starts + np.stack([_DX[directions], _DY[directions]], axis=1)
        # Where a cut begins or ends, the next edge does not start where this one ends.
        jumps = (ends != np.roll(starts, -1, axis=0)).any(axis=1)
        points = np.stack([starts, ends], axis=1).reshape(-1, 2)
        kept = np.stack([np.ones_like(jumps), jumps], axis=1).reshape(-1)
        return np.compress(kept, points, axis=0)


def without_straight_points(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """The corners of a closed line along pixel edges."""
    arriving = np.sign(ring - np.roll(ring, 1, axis=0))
    leaving = np.sign(np.roll(ring, -1, axis=0) - ring)
    corners: NDArray[np.int64] = np.compress((arriving != leaving).any(axis=1), ring, axis=0)
    return corners


def flat(points: NDArray[np.int64]) -> list[int]:
    """x0, y0, x1, y1, ... of points (N, 2)."""
    return [int(value) for value in points.reshape(-1)]
