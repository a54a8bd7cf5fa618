"""`PointSet`: the points on the contours of several masks, as one flat batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.point_matching.contours import (
    Points,
    arc_places,
    distribute,
    interpolate,
    perimeter,
    signed_area,
)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The contours of one mask, in input pixels.

    Attributes:
        contours: closed polygons (V, 2), longest first.
        counts: number of points on each contour; 0 for a contour that is not moved.
        size: square root of the mask's area, in input pixels: the unit of offsets.
        centre: (x, y) of the mask's contours.
    """

    contours: tuple[Points, ...]
    counts: tuple[int, ...]
    size: float
    centre: tuple[float, float]

    @classmethod
    def of(cls, contours: Sequence[Points], total: int, least: int, shortest: float) -> Outline:
        """Distribute `total` points over contours; see `distribute`."""
        lengths = [perimeter(contour) for contour in contours]
        counts = distribute(lengths, total, least, shortest)
        area = sum(signed_area(contour) for contour in contours)
        every = np.concatenate([np.zeros((0, 2)), *contours])
        middle = (every.min(0) + every.max(0)) / 2 if len(every) else np.zeros(2)
        return cls(
            tuple(contours),
            tuple(counts),
            max(area, 1.0) ** 0.5,
            (float(middle[0]), float(middle[1])),
        )

    def moved(self, offsets: Points) -> list[Points]:
        """The contours with their points moved by offsets (sum of counts, 2).

        Vertices between two points move by the interpolated offset, so that detail finer than the
        points is kept. Contours without points are not moved.
        """
        found, start = [], 0
        for contour, count in zip(self.contours, self.counts, strict=True):
            if count:
                own = offsets[start : start + count]
                places = np.arange(count) / count
                contour = contour + interpolate(places, own, arc_places(contour))
            found.append(contour)
            start += count
        return found


@dataclass(frozen=True, slots=True, eq=False)
class PointSet:
    """P points on the contours of B masks, with their neighbours.

    Attributes:
        places: (P, 2) (x, y) in input pixels.
        owner: (P,) row of the mask.
        first: (P,) number of the first point of the same contour.
        count: (P,) points of the same contour.
        sizes: (B,) unit of offsets, in input pixels.
        centres: (B, 2) in input pixels.
        hole: (P,) 1 on a hole's contour, 0 on an outer one.
    """

    places: Tensor
    owner: Tensor
    first: Tensor
    count: Tensor
    sizes: Tensor
    centres: Tensor
    hole: Tensor

    @classmethod
    def of(cls, outlines: Sequence[Outline], device: torch.device) -> PointSet:
        """The points of several masks' outlines."""
        places, owner, first, count, hole = [np.zeros((0, 2))], [], [], [], []
        start = 0
        for row, outline in enumerate(outlines):
            for contour, n in zip(outline.contours, outline.counts, strict=True):
                if n:
                    places.append(interpolate(arc_places(contour), contour, np.arange(n) / n))
                    owner += [row] * n
                    first += [start] * n
                    count += [n] * n
                    hole += [float(signed_area(contour) < 0)] * n
                    start += n
        return cls(
            _floats(np.concatenate(places), device),
            torch.tensor(owner, dtype=torch.long, device=device),
            torch.tensor(first, dtype=torch.long, device=device),
            torch.tensor(count, dtype=torch.long, device=device),
            _floats(np.array([outline.size for outline in outlines]), device),
            _floats(np.array([outline.centre for outline in outlines]), device),
            torch.tensor(hole, dtype=torch.float32, device=device),
        )

    def neighbours(self, steps: Sequence[int]) -> Tensor:
        """(P, S) numbers of the points S given steps further along the same closed contour."""
        own = torch.arange(len(self.first), device=self.first.device) - self.first
        moves = torch.tensor(list(steps), device=self.first.device)
        found: Tensor = self.first[:, None] + (own[:, None] + moves) % self.count[:, None]
        return found

    def normals(self, places: Tensor) -> Tensor:
        """(P, 2) unit vectors away from the object, at the points' present places (P, 2)."""
        around = places[self.neighbours((-1, 1))]
        along = around[:, 1] - around[:, 0]
        outwards = torch.stack([along[:, 1], -along[:, 0]], dim=-1)
        found: Tensor = outwards / outwards.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return found

    def mean_per_mask(self, values: Tensor) -> Tensor:
        """Means (B, C) of values (P, C) over the points of each mask; 0 for one without points."""
        sums = values.new_zeros(len(self.sizes), values.shape[1]).index_add(0, self.owner, values)
        counts = torch.bincount(self.owner, minlength=len(self.sizes)).clamp_min(1)
        return sums / counts[:, None]


def _floats(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)
