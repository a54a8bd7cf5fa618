"""Values for carrying objects along a stack, and the `Propagator` protocol."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from samadapt.data.stacks import Stack
from samadapt.errors import DataError
from samadapt.metrics import iou

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CarryOptions:
    """Thresholds by which a predicted mask is doubted.

    Attributes:
        agreement: least IoU of a prediction with the carried mask.
        confidence: least product of two IoUs: of the prediction, carried back, with the original
            mask, and of the prediction with a second one without the carried mask.
        growth: largest factor of change of the area from one slice to the next, up or down.
        min_area: number of pixels below which an object has ended.

    Raises:
        DataError: an invalid value.
    """

    agreement: float = 0.6
    confidence: float = 0.5
    growth: float = 2.0
    min_area: int = 8

    def __post_init__(self) -> None:
        for name in ("agreement", "confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} {getattr(self, name)}: use 0 to 1")
        if not (math.isfinite(self.growth) and self.growth >= 1):
            raise DataError(f"growth {self.growth}: use a factor of 1 or more")
        if self.min_area < 1:
            raise DataError(f"min area {self.min_area}: use 1 or more pixels")


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """One object in one slice.

    Attributes:
        mask: the prediction (H, W).
        moved: the carried mask that it was compared with.
        confidence: 0..1; see `CarryOptions`.
        doubt: reason why the prediction is doubted; "" for a trusted one.
    """

    mask: Mask = field(repr=False)
    moved: Mask = field(repr=False)
    confidence: float
    doubt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CarryStep:
    """Result for one slice.

    Attributes:
        index: of the slice.
        objects: by id, without objects that were doubted in an earlier slice.
        problem: reason why the slice could not be read; then it has no objects.
    """

    index: int
    objects: Mapping[int, Carried]
    problem: str = ""


class Propagator(Protocol):
    """Carries objects from one slice to others."""

    def carry(
        self, stack: Stack, start: int, masks: Mapping[int, Mask], to: Sequence[int]
    ) -> Iterator[CarryStep]:
        """Carry objects slice by slice.

        A step is computed when the iterator reaches it, so that a person can stop, correct, and
        continue from there with another call.

        Args:
            stack: the stack.
            start: the slice of the masks.
            masks: (H, W) by id.
            to: the slices to carry to, in order, in either direction.

        Raises:
            ImageError: `start` cannot be read.
        """


def doubts(moved: Mask, before: Mask, mask: Mask, options: CarryOptions) -> tuple[float, str]:
    """IoU of a prediction with the carried mask, and the reason for doubting it, if any."""
    area, earlier = int(np.count_nonzero(mask)), int(np.count_nonzero(before))
    if area < options.min_area:
        return 0.0, "the object is gone"
    agreement = iou(mask, moved)
    if agreement < options.agreement:
        return agreement, f"IoU of the prediction with the carried mask is only {agreement:.2f}"
    if max(area, earlier) > options.growth * min(area, earlier):
        return agreement, f"the area changed from {earlier} to {area} pixels"
    return agreement, ""
