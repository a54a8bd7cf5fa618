"""The measures of click benchmarks: NoC, FR and IoU after k clicks, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.statistics import Interval, check_some, image_interval, mean
from samadapt.benchmark.tables import UNKNOWN
from samadapt.metrics import clicks_to_reach, iou_after

Kind: TypeAlias = Literal["noc", "fr", "iou"]

SECONDS = "seconds_per_click"
OBJECTS = "objects"


@dataclass(frozen=True, slots=True)
class Curve:
    """The IoU of one object after each click, and the time of its clicks.

    Attributes:
        ious: IoU after click 1, 2, ...
        seconds: of all its clicks together.
        group: objects of one group (an image) are not independent of each other.
    """

    ious: tuple[float, ...]
    seconds: float
    group: Hashable


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of the summary.

    Attributes:
        key: its name in a result file.
        kind: "noc" clicks needed, "fr" share of failures, "iou" overlap.
        clicks: number of clicks allowed.
        target: the IoU to reach; None for "iou".
    """

    key: str
    kind: Kind
    clicks: int
    target: float | None = None

    @property
    def label(self) -> str:
        """Return the name that papers use, such as "NoC20@85"."""
        if self.target is None:
            return f"IoU@{self.clicks}"
        name = "NoC" if self.kind == "noc" else "FR"
        return f"{name}{self.clicks}@{round(self.target * 100)}"

    @property
    def meaning(self) -> str:
        """Return the meaning in words."""
        if self.target is None:
            return f"mean IoU after {self.clicks} click{'s' if self.clicks > 1 else ''}"
        if self.kind == "noc":
            return f"clicks to IoU {self.target:.2f} (at most {self.clicks})"
        return f"below IoU {self.target:.2f} after {self.clicks} clicks"

    @property
    def is_higher_better(self) -> bool:
        """Return True if a higher value is better."""
        return self.kind == "iou"

    def format(self, *values: float | int | None, signed: bool = False) -> str:
        """Format values with their unit, those of an interval with "to" between them."""
        if None in values:
            return UNKNOWN
        factor, places, unit = {"noc": (1, 2, ""), "fr": (100, 1, " %"), "iou": (1, 3, "")}[
            self.kind
        ]
        sign, unit = ("+", unit.replace("%", "pp")) if signed else ("", unit)
        return " to ".join(f"{(v or 0) * factor:{sign}.{places}f}" for v in values) + unit

    def of(self, ious: Sequence[float]) -> float:
        """Return the value of one object; the summary is the mean over objects."""
        if self.target is None:
            return iou_after([ious], self.clicks)
        needed = clicks_to_reach(ious, self.target, self.clicks)
        return float(needed.clicks if self.kind == "noc" else not needed.reached)

    def can_follow_from(self, max_clicks: int, stop_at: float) -> bool:
        """Return True if a run with these limits determines this number."""
        return self.clicks <= max_clicks and (self.target is None or self.target <= stop_at)


MEASURES = (
    Measure("noc20@85", "noc", 20, 0.85),
    Measure("noc20@90", "noc", 20, 0.90),
    Measure("fr20@85", "fr", 20, 0.85),
    Measure("fr20@90", "fr", 20, 0.90),
    Measure("fr30@90", "fr", 30, 0.90),
    Measure("iou@1", "iou", 1),
    Measure("iou@3", "iou", 3),
    Measure("iou@5", "iou", 5),
    Measure("iou@10", "iou", 10),
)
"""All measures, in order; `seconds_per_click` and `objects` follow in a summary."""

KEYS = (*(measure.key for measure in MEASURES), SECONDS, OBJECTS)
"""Keys of a summary, in order."""


def summarise(
    curves: Sequence[Curve], max_clicks: int, stop_at: float
) -> dict[str, float | int | None]:
    """Return means over objects, under `KEYS`.

    IoU@k of an object that was finished before click k is its last IoU. Seconds per click are
    all seconds divided by all clicks. A measure beyond the protocol's limits (FR30 with at most 20
    clicks, NoC@90 when the robot stops at 0.85) is None.

    Raises:
        DataError: no object.
    """
    check_some(curves)
    found: dict[str, float | int | None] = {}
    for measure in MEASURES:
        known = measure.can_follow_from(max_clicks, stop_at)
        found[measure.key] = mean([measure.of(c.ious) for c in curves]) if known else None
    clicks = sum(len(curve.ious) for curve in curves)
    found[SECONDS] = math.fsum(curve.seconds for curve in curves) / clicks
    found[OBJECTS] = len(curves)
    return found


def intervals(
    curves: Sequence[Curve], max_clicks: int, stop_at: float, seed: int = 0
) -> dict[str, Interval | None]:
    """Return 95 % bootstrap intervals of a summary's numbers, drawing whole groups (images).

    None where the summary has None, for `objects`, and everywhere with a single group, whose
    variation is unknown.

    Raises:
        DataError: no object.
    """
    check_some(curves)
    images = [curve.group for curve in curves]
    found: dict[str, Interval | None] = dict.fromkeys(KEYS)
    for measure in MEASURES:
        if measure.can_follow_from(max_clicks, stop_at):
            values = [measure.of(curve.ious) for curve in curves]
            found[measure.key] = image_interval(values, images, seed)
    places = np.arange(len(curves))
    found[SECONDS] = image_interval(places, images, seed, _seconds_per_click(curves))
    return found


def _seconds_per_click(
    curves: Sequence[Curve],
) -> Callable[..., NDArray[np.float64]]:
    """Return a statistic over positions, since a ratio of sums is not a mean over objects."""
    seconds = np.array([curve.seconds for curve in curves])
    clicks = np.array([len(curve.ious) for curve in curves], np.float64)

    def ratio(positions: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        drawn = positions.astype(np.intp)
        found: NDArray[np.float64] = seconds[drawn].sum(axis) / clicks[drawn].sum(axis)
        return found

    return ratio
