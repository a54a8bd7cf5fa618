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
    """When an answer is doubted.

    Attributes:
        agreement: least IoU of an answer with the carried mask.
        confidence: least product of two IoUs: of the answer, carried back, with the mask it came
            from, and of the answer with one that was asked for afresh, without the carried mask.
        growth: by what factor the area may change from one slice to the next, up or down.
        min_area: pixels below which an object has ended.

    Raises:
        DataError: a value that makes no sense.
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
        mask: the answer (H, W).
        moved: the carried mask that it was compared with.
        confidence: 0..1; see `CarryOptions`.
        doubt: why the answer is doubted, in a few words; "" for one that is trusted.
    """

    mask: Mask = field(repr=False)
    moved: Mask = field(repr=False)
    confidence: float
    doubt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CarryStep:
    """What happened in one slice.

    Attributes:
        index: the slice.
        objects: by id; those that were doubted before are not carried on.
        problem: why the slice could not be read; then it has no objects.
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

        A step is computed when it is asked for, so that a person can stop, correct, and go on
        from there with another call.

        Args:
            stack: the stack.
            start: the slice that the masks are of.
            masks: (H, W) by id.
            to: the slices to go to, in order, either way.

        Raises:
            ImageError: `start` cannot be read.
        """


def doubts(moved: Mask, before: Mask, mask: Mask, options: CarryOptions) -> tuple[float, str]:
    """How far an answer agrees with the carried mask, and why it is doubted."""
    area, earlier = int(np.count_nonzero(mask)), int(np.count_nonzero(before))
    if area < options.min_area:
        return 0.0, "the object is gone"
    agreement = iou(mask, moved)
    if agreement < options.agreement:
        return agreement, f"the answer and the carried mask agree by {agreement:.2f} only"
    if max(area, earlier) > options.growth * min(area, earlier):
        return agreement, f"the area changed from {earlier} to {area} pixels"
    return agreement, ""
