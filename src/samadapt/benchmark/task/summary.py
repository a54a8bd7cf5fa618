"""The summary of the task benchmark: means over objects, then categories, then trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.statistics import mean
from samadapt.benchmark.task.average_precision import average_precision
from samadapt.benchmark.task.evaluator import TaskRow
from samadapt.data.records import Id

AP, AP50 = "ap", "ap50"
MAIN = ("miou@1p", "mbiou@1p", "miou@box0.4", AP)
"""The columns of the table."""
OVERLAPS = ("miou@1p", "mbiou@1p", "miou@box0.4", "mbiou@box0.4")
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """One row of the table on one category, trained with one seed.

    Attributes:
        category: the task.
        seed: of the training; None for a frozen row, which is shared by all seeds.
        row: the predictions.
        parameters, seconds: of the fit; 0 for a frozen row.
    """

    category: str
    seed: int | None
    row: TaskRow
    parameters: int = 0
    seconds: float = 0.0

    def value(self, key: str) -> float | None:
        """Return a measure of `OVERLAPS`, "ap" or "ap50"."""
        if key in (AP, AP50):
            images = [image for _, image in self.row.images]
            return average_precision(images, (0.5,)) if key == AP50 else average_precision(images)
        metric, _, kind = key.partition("@")
        values = [thing.answers[kind].value(metric) for thing in self.row.objects]
        return mean(values) if values else None


def summarise(cells: Sequence[CategoryRow], seed: int = 0) -> dict[str, Any]:
    """Summarise one method at one number of shots; every category has the same weight.

    Returns:
        The mean under each key, None where nothing was measured; "intervals" with their 95 %
        bootstrap over images (None for AP, which is not a mean over images); "parameters" and
        "fit_seconds" of one adapter; "by_seed" with the columns per training.
    """
    keys = (*OVERLAPS, AP, AP50)
    by_category = {name: _of(cells, name) for name in dict.fromkeys(c.category for c in cells)}
    summary: dict[str, Any] = {
        key: _mean([_mean([cell.value(key) for cell in some]) for some in by_category.values()])
        for key in keys
    }
    summary["intervals"] = {key: _interval(list(by_category.values()), key, seed) for key in MAIN}
    summary["parameters"] = max(cell.parameters for cell in cells)
    summary["fit_seconds"] = round(_mean([cell.seconds for cell in cells]) or 0.0, 3)
    seeds = dict.fromkeys(cell.seed for cell in cells)
    summary["by_seed"] = {
        str(one): {key: _mean([c.value(key) for c in cells if c.seed == one]) for key in MAIN}
        for one in seeds
        if one is not None
    }
    return summary


def kept_gain(
    home: tuple[Mapping[str, Any], Mapping[str, Any]],
    away: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> dict[str, float | None]:
    """Return the gain over frozen on other data as a share of the gain on test data, per column.

    Args:
        home: summaries of the adapter and of the frozen model on the test data.
        away: the same on the other data.
    """
    shares: dict[str, float | None] = {}
    for key in MAIN:
        values = [summary[key] for summary in (*home, *away)]
        if any(value is None for value in values) or values[0] - values[1] <= 0:
            shares[key] = None
        else:
            shares[key] = (values[2] - values[3]) / (values[0] - values[1])
    return shares


def _of(cells: Sequence[CategoryRow], category: str) -> list[CategoryRow]:
    return [cell for cell in cells if cell.category == category]


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return mean(there) if there else None


def _interval(
    categories: Sequence[Sequence[CategoryRow]], key: str, seed: int
) -> list[float] | None:
    """Draw whole images with replacement, the same ones for all categories and trainings."""
    metric, _, kind = key.partition("@")
    images: dict[Id, int] = {}
    for cells in categories:
        for thing in cells[0].row.objects:
            images.setdefault(thing.image_id, len(images))
    if not kind or len(images) < 2:
        return None
    sums = np.zeros((len(categories), len(images)))
    counts = np.zeros_like(sums)
    for number, cells in enumerate(categories):
        for cell in cells:
            for thing in cell.row.objects:
                sums[number, images[thing.image_id]] += thing.answers[kind].value(metric)
                counts[number, images[thing.image_id]] += 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), _RESAMPLES)
    low, high = np.quantile(_drawn_means(drawn, sums, counts), [0.025, 0.975])
    return [float(low), float(high)]


def _drawn_means(
    drawn: NDArray[np.int64], sums: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (R,) means over the categories in each draw, of draws (R, I) and sums (C, I)."""
    totals = drawn @ counts.T
    means = np.divide(drawn @ sums.T, totals, out=np.zeros_like(totals), where=totals > 0)
    found: NDArray[np.float64] = means.sum(1) / np.maximum((totals > 0).sum(1), 1)
    return found
