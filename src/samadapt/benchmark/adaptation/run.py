"""The run of the adaptation benchmark: all scenarios, adapters and seeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from samadapt.benchmark.adaptation.evaluator import MISTAKES, AdaptationEvaluator
from samadapt.benchmark.adaptation.scenarios import STREAMS, Kind, Scenario, scenarios_of
from samadapt.benchmark.elsewhere import Elsewhere
from samadapt.benchmark.environment import describe_environment, describe_protocol
from samadapt.benchmark.formats import verdict_of
from samadapt.benchmark.interactive.compare import Comparison, Estimate, average, compare_runs
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import PROTOCOL
from samadapt.benchmark.interactive.summary import MEASURES
from samadapt.benchmark.options import Progress, Selection, check_unique
from samadapt.benchmark.results import BenchmarkResult, SkippedImage
from samadapt.benchmark.tables import Verdict
from samadapt.data.coco import CocoDataset
from samadapt.distributed.worker_model import WorkerModel
from samadapt.models.base import SegmentationModel
from samadapt.session.robot import ClickProtocol
from samadapt.store.embeddings import EmbeddingStore

FORMAT = "samadapt-adaptation-1"
MAIN = next(measure for measure in MEASURES if measure.key == "noc20@85")
"""The measure by which an adapter is called better or worse than the frozen model."""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One adapter in one scenario, over all seeds.

    Attributes:
        scenario: the objects.
        adapter: its name as given.
        runs: (frozen, adapted) by seed.
        comparison: of all seeds together, see `compare_runs`.
    """

    scenario: Scenario
    adapter: str
    runs: Mapping[int, tuple[InteractiveResult, InteractiveResult]] = field(repr=False)
    comparison: Comparison

    @property
    def verdict(self) -> Verdict:
        """Return "better" or "worse" where the change of NoC20@85 is beyond its interval."""
        change = self.comparison.change[MAIN.key]
        return "" if change is None else verdict_of(change.interval, MAIN.is_higher_better)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "stream": self.scenario.kind,
            "dataset": self.scenario.name,
            "adapter": self.adapter,
            "verdict": self.verdict,
            **self.comparison.to_dict(),
            "seeds": [
                {"seed": seed, "frozen": dict(frozen.summary), "adapted": dict(adapted.summary)}
                | {key: adapted.protocol[key] for key in (MISTAKES,) if key in adapted.protocol}
                for seed, (frozen, adapted) in self.runs.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Average:
    """The unweighted average change by an adapter over the scenarios of a kind.

    Attributes:
        kind: of the scenarios.
        adapter: its name as given.
        change, reduction: by measure, each with the number of averaged scenarios; None where no
            scenario has a value. The relative reduction is undefined where the frozen model
            never fails.
    """

    kind: Kind
    adapter: str
    change: Mapping[str, tuple[Estimate, int] | None]
    reduction: Mapping[str, tuple[Estimate, int] | None]

    @classmethod
    def of(cls, rows: Sequence[ScenarioResult]) -> Average:
        """Return the average over rows of one kind and adapter, at least one."""
        first = rows[0]

        def over(name: str) -> dict[str, tuple[Estimate, int] | None]:
            keys = getattr(first.comparison, name)
            return {
                key: average([getattr(row.comparison, name)[key] for row in rows]) for key in keys
            }

        return cls(first.scenario.kind, first.adapter, over("change"), over("reduction"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "stream": self.kind,
            "adapter": self.adapter,
            **{
                name: {
                    key: found and {**found[0].to_dict(), "datasets": found[1]}
                    for key, found in getattr(self, name).items()
                }
                for name in ("change", "reduction")
            },
        }


@dataclass(frozen=True)
class AdaptationResult(BenchmarkResult):
    """One run of the adaptation benchmark.

    Attributes:
        environment: software, machine and model.
        options: protocol, seeds, datasets, adapters, streams.
        rows: one per scenario and adapter.
        averages: one per kind of scenario with several datasets, and adapter.
    """

    environment: Mapping[str, Any]
    options: Mapping[str, Any]
    rows: tuple[ScenarioResult, ...] = field(repr=False)
    averages: tuple[Average, ...] = ()

    @property
    def adapters(self) -> list[str]:
        """Return the names of the adapters, in order."""
        return list(dict.fromkeys(row.adapter for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format": FORMAT,
            "environment": dict(self.environment),
            "options": dict(self.options),
            "averages": [row.to_dict() for row in self.averages],
            "results": [row.to_dict() for row in self.rows],
        }

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Return the images that could not be evaluated, each once."""
        runs = [run for row in self.rows for pair in row.runs.values() for run in pair]
        return tuple(dict.fromkeys(skip for run in runs for skip in run.skipped))


def run_adaptation(
    datasets: Mapping[str, CocoDataset],
    model: SegmentationModel,
    adapters: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    *,
    protocol: ClickProtocol = PROTOCOL,
    max_objects: int | None = None,
    streams: Sequence[str] = (),
    runs: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    store: EmbeddingStore | None = None,
    elsewhere: Elsewhere | None = None,
) -> AdaptationResult:
    """Annotate datasets with adapters that learn, and the same objects with the frozen model.

    Every adapter begins every scenario of every seed untrained (or as it was saved). All adapters
    share the frozen model's run. Without random choices in the protocol, seeds that visit the same
    objects in another order share it as well.

    Args:
        datasets: by name.
        model: answers the clicks.
        adapters: arguments of `create_adapter`, evaluated separately; "a+b" uses both together.
        seeds: of the order of objects, of the robot and of the adapters.
        protocol: of the robot's clicks.
        max_objects: largest number of each dataset and seed, the first ones in the order of
            visits; None for all.
        streams: of `STREAMS`, besides the plain sequence of each dataset.
        runs: folder for finished runs (one scenario, adapter and seed each). Runs of the same
            model, data, protocol and adapter are not repeated; changes of the code are not
            noticed.
        progress: called after every object; objects of finished runs count as done.
        command: recorded as the command line; `sys.argv` when left out.
        store: embeddings on the disk; None encodes every image again.
        elsewhere: workers, each of which makes whole runs.

    Raises:
        DataError: no dataset, adapter or seed, a duplicate, an unknown stream, a missing image, a
            broken mask, a folder that cannot be written.
        AdapterError: an unknown adapter, or one made for another model.
    """
    check_unique("adapter", adapters)
    check_unique("seed", seeds)
    for seed in seeds:
        Selection(seed=seed)  # checks the number
    scenarios = scenarios_of(datasets, max_objects, streams)
    total = sum(
        scenario.visits(seed) * (len(adapters) + (scenario.kind != "wrong-accepts"))
        for scenario in scenarios
        for seed in seeds
    )
    with TemporaryDirectory() as temporary:
        folder = temporary if elsewhere is not None and runs is None else runs
        evaluator = AdaptationEvaluator(
            model,
            protocol,
            adapters,
            folder,
            progress and (lambda done: progress(done, total)),
            store,
        )
        if elsewhere is not None:
            work = AdaptationWork(
                elsewhere.model,
                datasets,
                tuple(adapters),
                protocol,
                max_objects,
                tuple(streams),
                store,
            )
            _make_runs(evaluator, elsewhere, work, seeds)
        rows = _rows(scenarios, adapters, seeds, evaluator)
    kinds = dict.fromkeys(scenario.kind for scenario in scenarios)
    groups = [
        [row for row in rows if (row.scenario.kind, row.adapter) == (kind, adapter)]
        for kind in kinds
        for adapter in adapters
    ]
    return AdaptationResult(
        environment=describe_environment(model, command=command),
        options={
            **describe_protocol(protocol),
            "seeds": list(seeds),
            "max_objects": max_objects,
            "datasets": list(datasets),
            "adapters": list(adapters),
            "streams": [name for name in STREAMS if name in streams],
            "courses": [scenario.describe() for scenario in scenarios],
        },
        rows=tuple(rows),
        averages=tuple(Average.of(group) for group in groups if len(group) > 1),
    )


_Run: TypeAlias = tuple[int, str | None, int]
"""Index of the scenario, adapter (None for frozen), seed."""


@dataclass(frozen=True, slots=True)
class AdaptationWork:
    """Whole runs of the robot in a worker, by scenario, adapter and seed."""

    model: WorkerModel
    datasets: Mapping[str, CocoDataset]
    adapters: tuple[str, ...]
    protocol: ClickProtocol
    max_objects: int | None
    streams: tuple[str, ...]
    store: EmbeddingStore | None

    @property
    def scenarios(self) -> Sequence[Scenario]:
        """Return the scenarios, in order."""
        return scenarios_of(self.datasets, self.max_objects, self.streams)

    def start(self) -> Callable[[Sequence[_Run]], list[tuple[_Run, InteractiveResult]]]:
        """Load the model and the adapters.

        Raises:
            AdapterError, ModelError: they cannot be loaded.
        """
        model = self.model.load()
        evaluator = AdaptationEvaluator(model, self.protocol, self.adapters, store=self.store)
        scenarios = self.scenarios

        def make(runs: Sequence[_Run]) -> list[tuple[_Run, InteractiveResult]]:
            found = []
            for number, adapter, seed in runs:
                scenario = scenarios[number]
                result = evaluator.result(_played(scenario, adapter), adapter, seed)
                found.append(((number, adapter, seed), result))
            return found

        return make


def _make_runs(
    evaluator: AdaptationEvaluator,
    elsewhere: Elsewhere,
    work: AdaptationWork,
    seeds: Sequence[int],
) -> None:
    """Let workers make all missing runs, and keep them."""
    scenarios = work.scenarios
    missing: dict[str, _Run] = {}
    for number, scenario in enumerate(scenarios):
        for seed in seeds:
            for adapter in (None, *work.adapters):
                played = _played(scenario, adapter)
                if not evaluator.has(played, adapter, seed):
                    # Several scenarios share one frozen run.
                    key = evaluator.run_name(played, adapter, seed)
                    missing.setdefault(key, (number, adapter, seed))
    for made in elsewhere.engine.run(work, [[run] for run in missing.values()]):
        for (number, adapter, seed), result in made:
            evaluator.take(_played(scenarios[number], adapter), adapter, seed, result)


def _played(scenario: Scenario, adapter: str | None) -> Scenario:
    """Return the scenario for a run; the frozen model has a simpler equivalent one."""
    return scenario.frozen if adapter is None else scenario


def _rows(
    scenarios: Sequence[Scenario],
    adapters: Sequence[str],
    seeds: Sequence[int],
    evaluator: AdaptationEvaluator,
) -> list[ScenarioResult]:
    rows = []
    for number, scenario in enumerate(scenarios):
        frozen = {seed: evaluator.result(scenario.frozen, None, seed) for seed in seeds}
        for adapter in adapters:
            runs = {s: (frozen[s], evaluator.result(scenario, adapter, s)) for s in seeds}
            # Scenarios are independent of each other, so their draws must be independent too.
            comparison = compare_runs(list(runs.values()), (0, number))
            rows.append(ScenarioResult(scenario, adapter, runs, comparison))
    return rows
