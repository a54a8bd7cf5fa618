"""Metrics of masks and clicks: overlap, clicks needed, failures, stability, intervals.

Masks are (H, W) bool, or integers where everything but 0 is object. A click curve is one object's
list of IoUs after click 1, 2, ..., n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samadapt.errors import DataError

Statistic = Callable[..., Any]
"""A function like `numpy.mean`: takes an array and `axis`, reduces that axis."""

SAME_OBJECT = 0.5
"""IoU from which two masks show the same object (PASCAL VOC, Everingham et al. 2010)."""
_CHUNK = 1 << 22


class ClicksNeeded(NamedTuple):
    """Number of clicks that an object needed, and whether it reached its target."""

    clicks: int
    reached: bool


# -- masks --------------------------------------------------------------------------------


def iou(a: ArrayLike, b: ArrayLike) -> float:
    """Intersection over union |a ∩ b| / |a ∪ b|; 1.0 when both masks are empty.

    Raises:
        DataError: masks of different shape, without pixels, or of floats.
    """
    first, second = _pair(a, b)
    return _ratio(_count(first & second), _count(first | second))


def dice(a: ArrayLike, b: ArrayLike) -> float:
    """Dice coefficient 2 |a ∩ b| / (|a| + |b|); 1.0 when both masks are empty.

    Raises:
        DataError: masks of different shape, without pixels, or of floats.
    """
    first, second = _pair(a, b)
    total = _count(first) + _count(second)
    return _ratio(2 * _count(first & second), total)


def boundary_iou(a: ArrayLike, b: ArrayLike, dilation: float = 0.02) -> float:
    """IoU of the two masks' inner boundaries (Cheng et al., CVPR 2021).

    A mask's boundary is the mask without its erosion by d pixels (a square of side 2d + 1), with
    d = round(dilation * image diagonal), at least 1. Pixels outside the image are background, so
    an object at the image's border has a boundary there.

    Args:
        a: (H, W).
        b: (H, W).
        dilation: d as a share of the image diagonal.

    Returns:
        0..1; 1.0 when both masks are empty.

    Raises:
        DataError: masks of different shape, without pixels, or of floats; a dilation that is not
            positive.
    """
    if not (math.isfinite(dilation) and dilation > 0):
        raise DataError(f"boundary dilation {dilation}: give a positive share of the diagonal")
    first, second = _pair(a, b)
    width = max(1, round(dilation * math.hypot(*first.shape)))
    return iou(_boundary(first, width), _boundary(second, width))


def segmentation_stability(masks: NDArray[Any] | Sequence[ArrayLike]) -> float:
    """SF of one object: mean IoU of each of B masks with the union of all B (Stable-SAM).

    The masks are the predictions for B prompts of one kind for the same object. mSF is the mean
    of SF over objects.

    Args:
        masks: (B, H, W).

    Returns:
        0..1; 1.0 when all masks are empty.

    Raises:
        DataError: no mask, or masks of different shapes.
    """
    stack = [_mask(mask) for mask in masks]
    if not stack:
        raise DataError("segmentation stability needs at least one mask")
    if len({mask.shape for mask in stack}) != 1:
        raise DataError("segmentation stability needs masks of one shape, for the same image")
    union = _count(np.logical_or.reduce(stack, axis=0))
    return math.fsum(_ratio(_count(mask), union) for mask in stack) / len(stack)


# -- clicks -------------------------------------------------------------------------------


def clicks_to_reach(ious: Sequence[float], threshold: float, max_clicks: int) -> ClicksNeeded:
    """Number of clicks until the IoU is at least `threshold`, and whether it was reached.

    Reaching it with the last click counts. An object that does not reach it within `max_clicks`
    counts as `max_clicks`.

    Args:
        ious: IoU after click 1, 2, ...; values after `max_clicks` do not count.
        threshold: the IoU to reach, 0..1.
        max_clicks: k, at least 1.

    Raises:
        DataError: no IoU, or one outside 0..1 (or NaN); a bad threshold or `max_clicks`.
    """
    if not 0 <= threshold <= 1:
        raise DataError(f"IoU threshold {threshold}: give a number from 0 to 1")
    values = _curve(ious, max_clicks)
    for click, value in enumerate(values[:max_clicks], start=1):
        if value >= threshold:
            return ClicksNeeded(click, True)
    return ClicksNeeded(max_clicks, False)


def iou_after(curves: Iterable[Sequence[float]], clicks: int) -> float:
    """Mean IoU after `clicks` clicks; a curve that stopped earlier keeps its last value.

    Raises:
        DataError: no curve, an empty one, an IoU outside 0..1, `clicks` below 1.
    """
    values = [_curve(curve, clicks)[:clicks][-1] for curve in curves]
    return math.fsum(values) / _some(len(values))


# -- intervals ----------------------------------------------------------------------------


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over objects (Efron 1979).

    N objects are drawn with replacement, `resamples` times; the interval holds the middle
    `confidence` of the statistic's values. With `groups`, whole groups are drawn instead of
    objects, because objects of one image are not independent, and drawing them independently
    makes the interval too narrow.

    Args:
        values: (N,) one number per object.
        statistic: called as `statistic(array, axis=...)`, reduces that axis.
        confidence: between 0 and 1.
        resamples: number of draws.
        seed: the same seed gives the same interval.
        groups: N labels, for example image ids.

    Returns:
        (low, high).

    Raises:
        DataError: no value, NaN or infinite values, a wrong number of groups, a confidence
            outside (0, 1), no resamples.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise DataError("a bootstrap interval needs a list of at least one finite number")
    if not 0 < confidence < 1 or resamples < 1:
        raise DataError(
            f"confidence {confidence} with {resamples} resamples: give a confidence between 0 "
            "and 1, and at least 1 resample"
        )
    rng = np.random.default_rng(seed)
    if groups is None:
        drawn = _draw_objects(data, statistic, resamples, rng)
    elif len(groups) != len(data):
        raise DataError(f"{len(data)} values but {len(groups)} groups: give one group per value")
    else:
        drawn = _draw_groups(_split(data, groups), statistic, resamples, rng)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _draw_objects(
    data: NDArray[np.float64], statistic: Statistic, resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    rows = max(1, _CHUNK // data.size)
    parts = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picked = rng.integers(0, data.size, (count, data.size))
        parts.append(np.asarray(statistic(data[picked], axis=1), dtype=np.float64))
    return np.concatenate(parts)


def _draw_groups(
    members: list[NDArray[np.float64]],
    statistic: Statistic,
    resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    picked = rng.integers(0, len(members), (resamples, len(members)))
    if statistic is np.mean:
        sums = np.array([m.sum() for m in members])
        counts = np.array([m.size for m in members])
        means: NDArray[np.float64] = sums[picked].sum(axis=1) / counts[picked].sum(axis=1)
        return means
    drawn = (statistic(np.concatenate([members[g] for g in row]), axis=0) for row in picked)
    return np.fromiter(drawn, dtype=np.float64, count=resamples)


def _split(data: NDArray[np.float64], groups: Sequence[Hashable]) -> list[NDArray[np.float64]]:
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return [data[indices] for indices in members.values()]


# -- checks -------------------------------------------------------------------------------


def _mask(mask: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"mask of shape {array.shape}: give one mask (height, width) with pixels")
    if array.dtype.kind not in "bui":
        raise DataError(f"mask of type {array.dtype}: give a bool mask (threshold logits at 0)")
    return array if array.dtype == np.bool_ else array != 0


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = _mask(a), _mask(b)
    if first.shape != second.shape:
        raise DataError(
            f"masks of different shape, {first.shape} and {second.shape}: compare masks of the "
            "same image at the same size"
        )
    return first, second


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _boundary(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    import cv2

    inner = cv2.erode(
        mask.astype(np.uint8),
        np.ones((3, 3), np.uint8),
        iterations=width,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    edge: NDArray[np.bool_] = mask & (inner == 0)
    return edge


def _curve(ious: Sequence[float], max_clicks: int) -> list[float]:
    if max_clicks < 1:
        raise DataError(f"{max_clicks} clicks: count at least one click")
    values = [float(value) for value in ious]
    if not values:
        raise DataError("a click curve is empty: give the IoU after each click, at least one")
    if not all(0 <= value <= 1 for value in values):
        raise DataError("a click curve has an IoU outside 0..1 (or NaN)")
    return values


def _some(count: int) -> int:
    if count == 0:
        raise DataError("no objects to average over: give at least one click curve")
    return count
