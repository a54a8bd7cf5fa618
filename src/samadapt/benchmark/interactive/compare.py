"""Comparison of a frozen and an adapting model on the same objects in the same order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.summary import MEASURES, SECONDS, Curve, Measure
from samadapt.benchmark.options import Progress
from samadapt.benchmark.statistics import Interval
from samadapt.errors import DataError
from samadapt.models.seams import Seams

RESAMPLES = 2000
FAILURES = tuple(measure for measure in MEASURES if measure.kind == "fr")
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % bootstrap interval.

    Attributes:
        value: the number.
        interval: (low, high); None for a single image.
        draws: (RESAMPLES,) values of the bootstrap, NaN where a draw has no value; None without
            an interval.
    """

    value: float
    interval: Interval | None = None
    draws: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, value: float, draws: NDArray[np.float64] | None) -> Estimate:
        """Return an estimate whose interval is the middle 95 % of the finite draws."""
        said = None if draws is None else draws[np.isfinite(draws)]
        if said is None or not said.size:
            return cls(value)
        low, high = np.quantile(said, _TAILS)
        return cls(value, (float(low), float(high)), draws)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"value": self.value, "interval": None if not self.interval else [*self.interval]}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The changes by adaptation, over the objects that both runs have.

    Every mapping has the keys of a summary (without `objects`), and None for measures beyond the
    protocol's limits.

    Attributes:
        visits: number of compared objects, counted once per seed.
        images: number of their images.
        frozen: means of the frozen model.
        adapted: means of the adapting model.
        change: mean over objects of adapted - frozen.
        reduction: for each failure rate, (FR_frozen - FR_adapted) / FR_frozen; also None where
            the frozen model never failed.
    """

    visits: int
    images: int
    frozen: Mapping[str, Estimate | None]
    adapted: Mapping[str, Estimate | None]
    change: Mapping[str, Estimate | None]
    reduction: Mapping[str, Estimate | None]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "visits": self.visits,
            "images": self.images,
            **{
                name: {key: e and e.to_dict() for key, e in getattr(self, name).items()}
                for name in ("frozen", "adapted", "change", "reduction")
            },
        }


def run_compared(
    run: Callable[[Sequence[str | Seams], Progress | None], InteractiveResult],
    adapters: Sequence[str | Seams],
    progress: Progress | None = None,
) -> InteractiveResult:
    """Run the interactive benchmark with adapters, and without them on the same objects.

    Args:
        run: `run_interactive` with all arguments except adapters and progress.
        adapters: of the adapting run.
        progress: counts the objects of both runs.

    Returns:
        The adapting run, with the frozen run as `frozen` and the changes as `comparison`.

    Raises:
        DataError: no adapter, or as `run_interactive`.
        AdapterError: an unknown adapter, or one made for another model.
    """
    if not adapters:
        raise DataError("nothing to compare with the frozen model: give at least one adapter")

    def told(number: int) -> Progress | None:
        return progress and (lambda done, total: progress(number * total + done, 2 * total))

    adapted, frozen = run(adapters, told(0)), run((), told(1))
    return replace(adapted, frozen=frozen, comparison=compare_frozen(frozen, adapted).to_dict())


def compare_frozen(
    frozen: InteractiveResult, adapted: InteractiveResult, seed: int = 0
) -> Comparison:
    """Compare two runs over the objects that both have; see `compare_runs`."""
    return compare_runs([(frozen, adapted)], seed)


def compare_runs(
    runs: Sequence[tuple[InteractiveResult, InteractiveResult]], seed: int | Sequence[int] = 0
) -> Comparison:
    """Compare pairs of runs (frozen, adapted), such as one pair per seed, as a whole.

    Seeds are pooled: a value is the mean over all visits of all pairs. For the intervals whole
    images are drawn, each with all its objects in all pairs, because objects of one image are
    not independent of each other, and an object that is visited under three seeds is not three
    objects. Frozen and adapted share the draws, so that the difficulty of the images cancels.

    A relative reduction is undefined where the frozen model never failed; draws in which it
    never fails are left out of its interval.

    Raises:
        DataError: no object in both runs of a pair, or different protocols.
    """
    _check_protocols(runs)
    pairs = [pair for frozen, adapted in runs for pair in _pairs(frozen, adapted)]
    if not pairs:
        raise DataError("the two results have no object in common: compare runs on the same data")
    protocol = runs[0][0].protocol
    limits = int(protocol["max_clicks"]), float(protocol["stop_at"])
    sampled = _Bootstrap([before.group for before, _ in pairs], seed)
    ones = np.ones(len(pairs))
    found: dict[str, dict[str, Estimate | None]] = {
        name: dict.fromkeys((*(m.key for m in MEASURES), SECONDS))
        for name in ("frozen", "adapted", "change")
    }
    reduction: dict[str, Estimate | None] = dict.fromkeys(m.key for m in FAILURES)
    for measure in MEASURES:
        if not measure.can_follow_from(*limits):
            continue
        before, after = _values(measure, pairs)
        found["frozen"][measure.key] = sampled.ratio(before, ones)
        found["adapted"][measure.key] = sampled.ratio(after, ones)
        found["change"][measure.key] = sampled.ratio(after - before, ones)
        if measure.kind == "fr" and before.any():
            reduction[measure.key] = sampled.ratio(before - after, before)
    for name, side in (("frozen", 0), ("adapted", 1)):
        seconds = np.array([pair[side].seconds for pair in pairs])
        clicks = np.array([float(len(pair[side].ious)) for pair in pairs])
        found[name][SECONDS] = sampled.ratio(seconds, clicks)
    found["change"][SECONDS] = _minus(found["adapted"][SECONDS], found["frozen"][SECONDS])
    return Comparison(len(pairs), sampled.group_count, **found, reduction=reduction)


def average(estimates: Sequence[Estimate | None]) -> tuple[Estimate, int] | None:
    """Return the mean of independent numbers and their count.

    Missing numbers are left out. Draws are averaged one by one, so that the interval covers the
    variation of all of them; it is None if one of them has no interval.
    """
    given = [estimate for estimate in estimates if estimate is not None]
    if not given:
        return None
    value = float(np.mean([estimate.value for estimate in given]))
    draws = [estimate.draws for estimate in given if estimate.draws is not None]
    complete = len(draws) == len(given)
    return Estimate.of(value, np.mean(draws, axis=0) if complete else None), len(given)


class _Bootstrap:
    """Ratios of sums over objects, with the same draws of whole groups for all of them."""

    def __init__(self, groups: Sequence[Hashable], seed: int | Sequence[int]) -> None:
        numbers: dict[Hashable, int] = {}
        self._group = np.array([numbers.setdefault(g, len(numbers)) for g in groups])
        self.group_count = len(numbers)
        rng = np.random.default_rng(seed)
        self._drawn = rng.integers(0, len(numbers), (RESAMPLES, len(numbers)))

    def ratio(self, above: NDArray[np.float64], below: NDArray[np.float64]) -> Estimate:
        """Return sum(above) / sum(below), both (N,) and the latter not 0."""
        value = float(above.sum() / below.sum())
        if self.group_count < 2:
            return Estimate(value)
        sums = [np.bincount(self._group, part, self.group_count) for part in (above, below)]
        tops, bottoms = (part[self._drawn].sum(axis=1) for part in sums)
        draws = np.full(RESAMPLES, np.nan)
        np.divide(tops, bottoms, out=draws, where=bottoms > 0)
        return Estimate.of(value, draws)


def _pairs(frozen: InteractiveResult, adapted: InteractiveResult) -> list[tuple[Curve, Curve]]:
    before, after = frozen.curves, adapted.curves
    return [(before[key], after[key]) for key in before if key in after]


def _values(
    measure: Measure, pairs: Sequence[tuple[Curve, Curve]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    before = np.array([measure.of(frozen.ious) for frozen, _ in pairs])
    after = np.array([measure.of(adapted.ious) for _, adapted in pairs])
    return before, after


def _minus(after: Estimate | None, before: Estimate | None) -> Estimate | None:
    if after is None or before is None:
        return None
    drawn = after.draws is not None and before.draws is not None
    return Estimate.of(
        after.value - before.value,
        after.draws - before.draws if drawn else None,  # type: ignore[operator]
    )


def _check_protocols(runs: Sequence[tuple[InteractiveResult, InteractiveResult]]) -> None:
    if not runs:
        raise DataError("no result to compare: give at least one pair")
    limits = {(r.protocol["max_clicks"], r.protocol["stop_at"]) for pair in runs for r in pair}
    if len(limits) > 1:
        shown = " and ".join(f"{clicks} clicks to IoU {stop:g}" for clicks, stop in sorted(limits))
        raise DataError(f"results of different protocols ({shown}): compare runs of the same one")
