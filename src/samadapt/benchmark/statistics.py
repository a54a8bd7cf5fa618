"""Means and bootstrap intervals of all benchmarks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from samadapt.errors import DataError
from samadapt.metrics import Statistic, bootstrap_interval

Interval: TypeAlias = tuple[float, float]
"""(low, high) of a 95 % interval."""


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value, rounded once."""
    return math.fsum(values) / len(values)


def image_interval(
    values: ArrayLike,
    images: Sequence[Hashable],
    seed: int = 0,
    statistic: Statistic = np.mean,
) -> Interval | None:
    """Return the 95 % bootstrap interval over images, each drawn with all its objects.

    Returns:
        The interval; None for a single image, since the variation of images is unknown.
    """
    if len(set(images)) < 2:
        return None
    return bootstrap_interval(values, statistic, seed=seed, groups=images)


def plain_intervals(intervals: Mapping[str, Interval | None]) -> dict[str, list[float] | None]:
    """Return intervals as plain JSON values."""
    return {key: list(span) if span else None for key, span in intervals.items()}


def check_some(objects: Sequence[Any]) -> None:
    """Raise `DataError` if there is nothing to summarise."""
    if not objects:
        raise DataError("no object was evaluated: there is nothing to summarise")
