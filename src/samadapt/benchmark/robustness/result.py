"""`RobustnessResult`: the predictions for all prompts, and their summary with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samadapt.benchmark.results import (
    BenchmarkResult,
    ObjectRow,
    Overlaps,
    SkippedImage,
    plain_overlaps,
    rounded,
)
from samadapt.benchmark.statistics import (
    Interval,
    check_some,
    image_interval,
    mean,
    plain_intervals,
)
from samadapt.training.prompt_sampling import QUALITIES

METRICS = {
    "miou": "mIoU, mean overlap with the object",
    "mbiou": "mBIoU, mean overlap of the boundaries (dilation 2 % of the diagonal)",
    "msf": "mSF, mean overlap of each mask with the union over all draws",
}
CLICK = "seconds_per_click"
OBJECTS = "objects"

KEYS = (
    *(f"{metric}@{kind}" for metric in METRICS for kind in QUALITIES),
    CLICK,
    OBJECTS,
)
"""Keys of every summary, in order; None for kinds of prompts that were not requested. Other
requested kinds follow."""


@dataclass(frozen=True, slots=True)
class Answers(Overlaps):
    """The predictions for all draws of one kind of prompt for one object.

    Attributes:
        stability: SF over the draws.
        quality: IoU of each prompt's box with the exact one; empty for clicks.
        alphas: (alpha1, alpha2) of each decoder call, in order for boxes; a prompt that is decoded
            twice has two pairs. Empty without a stable adapter.
    """

    stability: float
    quality: tuple[float, ...] = ()
    alphas: tuple[tuple[float, float], ...] = ()

    def value(self, metric: str) -> float:
        """Return this object's value of a metric: "miou", "mbiou" or "msf"."""
        return self.stability if metric == "msf" else Overlaps.value(self, metric)


@dataclass(frozen=True, slots=True)
class RobustObject(ObjectRow):
    """One object under one row's adapters.

    Attributes:
        category: its category.
        answers: by kind of prompt.
        seconds: of single prompts, one at a time, including close-ups.
    """

    category: str
    answers: Mapping[str, Answers]
    seconds: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **self.identity(),
            "category": self.category,
            **plain_overlaps(self.answers),
            "sf": {kind: round(a.stability, 5) for kind, a in self.answers.items()},
            "box_iou": {k: rounded(a.quality) for k, a in self.answers.items() if a.quality},
            "alphas": {
                kind: [rounded(pair) for pair in a.alphas]
                for kind, a in self.answers.items()
                if a.alphas
            },
            "seconds": [round(value, 6) for value in self.seconds],
        }


@dataclass(frozen=True, slots=True)
class RobustnessRow:
    """One line of the table: the model with some adapters, or with none.

    Attributes:
        name: such as "frozen" or "stable-nano".
        adapters: their descriptions.
        summary: the numbers, under `KEYS`.
        intervals: their 95 % intervals; None where undefined.
        changes: mean change per object from the frozen row, and its interval.
        objects: in the order of visits.
    """

    name: str
    adapters: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, float | int | None]
    intervals: Mapping[str, Interval | None]
    changes: Mapping[str, tuple[float, Interval | None]]
    objects: tuple[RobustObject, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the objects."""
        return {
            "name": self.name,
            "adapters": [dict(adapter) for adapter in self.adapters],
            "summary": dict(self.summary),
            "intervals": plain_intervals(self.intervals),
            "changes": {
                key: {"mean": mean, "interval": list(span) if span else None}
                for key, (mean, span) in self.changes.items()
            },
        }


@dataclass(frozen=True)
class RobustnessResult(BenchmarkResult):
    """One run of the robustness benchmark.

    Attributes:
        environment: software, machine, model, and the adapters of the main row.
        protocol: kinds of prompts, draws, seed, dataset, filters.
        rows: the lines of the table; the frozen one first, if requested.
        skipped: images that could not be evaluated.
        timing: seconds in total and of encoding, and the number of encoded images.
    """

    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    rows: tuple[RobustnessRow, ...]
    skipped: tuple[SkippedImage, ...] = ()
    timing: Mapping[str, float | int] = field(default_factory=dict)

    @property
    def main(self) -> RobustnessRow:
        """Return the first row with adapters, or the frozen one when there is no other."""
        return next((row for row in self.rows if row.adapters), self.rows[0])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `summary` and `intervals` are those of the main row."""
        main = self.main.to_dict()
        return {
            "format": "samadapt-robustness-1",
            "environment": dict(self.environment),
            "protocol": dict(self.protocol),
            "row": main["name"],
            "summary": main["summary"],
            "intervals": main["intervals"],
            "rows": [row.to_dict() for row in self.rows],
            "timing": dict(self.timing),
            "skipped": [skip.to_dict() for skip in self.skipped],
            "objects": [
                {"row": row.name, **thing.to_dict()} for row in self.rows for thing in row.objects
            ],
        }


def summarise(objects: Sequence[RobustObject]) -> dict[str, float | int | None]:
    """Return means over objects under `KEYS`, and the median time of single prompts.

    Raises:
        DataError: no object.
    """
    check_some(objects)
    found: dict[str, float | int | None] = dict.fromkeys(_keys(objects))
    for key in found:
        if values := _values(objects, key):
            found[key] = mean(values)
    seconds = [value for thing in objects for value in thing.seconds]
    found[CLICK] = float(np.median(seconds)) if seconds else None
    found[OBJECTS] = len(objects)
    return found


def intervals(objects: Sequence[RobustObject], seed: int = 0) -> dict[str, Interval | None]:
    """Return 95 % bootstrap intervals over images; None where the summary has None."""
    images = [thing.image_id for thing in objects]
    found: dict[str, Interval | None] = dict.fromkeys(_keys(objects))
    for key in found:
        if values := _values(objects, key):
            found[key] = image_interval(values, images, seed)
    return found


def changes(
    before: Sequence[RobustObject], after: Sequence[RobustObject], seed: int = 0
) -> dict[str, tuple[float, Interval | None]]:
    """Return the mean change per object from one row to another, and its 95 % interval."""
    images = [thing.image_id for thing in before]
    found: dict[str, tuple[float, Interval | None]] = {}
    for key in _keys(before):
        first, second = _values(before, key), _values(after, key)
        if first:
            gains = [b - a for a, b in zip(first, second, strict=True)]
            found[key] = mean(gains), image_interval(gains, images, seed)
    return found


def _keys(objects: Sequence[RobustObject]) -> tuple[str, ...]:
    asked = (f"{metric}@{kind}" for metric in METRICS for kind in objects[0].answers)
    return tuple(dict.fromkeys((*KEYS, *asked)))


def _values(objects: Sequence[RobustObject], key: str) -> list[float]:
    """Return one number per object; empty for a kind of prompt that was not requested."""
    metric, _, kind = key.partition("@")
    if metric not in METRICS or kind not in objects[0].answers:
        return []
    return [thing.answers[kind].value(metric) for thing in objects]
