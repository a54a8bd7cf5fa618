"""`BaselineComparison`: a model and baselines on the same objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from samadapt.benchmark.baselines.base import Baseline
from samadapt.benchmark.baselines.run import (
    BASELINE_PACKAGES,
    PROTOCOL,
    BaselineOptions,
    run_baseline,
)
from samadapt.benchmark.environment import (
    describe_dataset,
    describe_machine,
    describe_protocol,
)
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.interactive.tables import summary_rows
from samadapt.benchmark.options import Progress
from samadapt.benchmark.results import BenchmarkResult, SkippedImage
from samadapt.benchmark.statistics import plain_intervals
from samadapt.benchmark.tables import Cell, Column, Row, Table
from samadapt.data.coco import CocoDataset
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.session.robot import ClickProtocol
from samadapt.store.embeddings import EmbeddingStore

FORMAT = "samadapt-peers-1"

_SHOWN = ("NoC20@85", "FR20@85", "IoU@1", "IoU@3", "IoU@5", "Time per click")


@dataclass(frozen=True)
class BaselineComparison(BenchmarkResult):
    """The results of several methods on the same objects, clicked by the same robot.

    Attributes:
        environment: software and machine.
        protocol: click protocol, seed, working size of the baselines, datasets.
        results: by dataset, then by method; the rows of all methods are the same objects in the
            same order.
    """

    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    results: Mapping[str, Mapping[str, InteractiveResult]] = field(repr=False)

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Return the images that could not be evaluated, of all datasets."""
        return tuple(
            skip for runs in self.results.values() for skip in next(iter(runs.values())).skipped
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = self.results.items()
        return {
            "format": FORMAT,
            "environment": dict(self.environment),
            "protocol": dict(self.protocol),
            "methods": self._methods(),
            "summary": {d: {m: dict(r.summary) for m, r in runs.items()} for d, runs in found},
            "intervals": {
                d: {m: plain_intervals(r.intervals) for m, r in runs.items()} for d, runs in found
            },
            "timing": {d: {m: dict(r.timing) for m, r in runs.items()} for d, runs in found},
            "skipped": {
                d: [skip.to_dict() for skip in next(iter(runs.values())).skipped]
                for d, runs in found
            },
            "objects": list(self._rows()),
        }

    def _methods(self) -> dict[str, Any]:
        """Describe each method: the model with its weights, a baseline with its settings."""
        runs = next(iter(self.results.values()))
        kept = ("model", "device", "encoder_dtype", "threads")
        return {
            name: {key: result.environment[key] for key in kept if key in result.environment}
            for name, result in runs.items()
        }

    def _rows(self) -> Iterator[dict[str, Any]]:
        for dataset, runs in self.results.items():
            for method, result in runs.items():
                for row in result.objects:
                    yield {"dataset": dataset, "method": method, **row.to_dict()}


def compare_baselines(
    datasets: Mapping[str, CocoDataset],
    baselines: Sequence[Baseline],
    model: SegmentationModel | None = None,
    protocol: ClickProtocol = PROTOCOL,
    options: BaselineOptions | None = None,
    *,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    store: EmbeddingStore | None = None,
) -> BaselineComparison:
    """Annotate the same objects with a model and with baselines, under one protocol.

    Args:
        datasets: by name.
        baselines: methods to compare with.
        model: answers at full size, in this process; None compares baselines only.
        protocol: of the robot's clicks, the same for all.
        options: objects of each dataset, working size and processes of the baselines.
        progress: called after every object, counted over all datasets and methods.
        command: recorded as the command line; `sys.argv` when left out.
        store: embeddings on the disk for the model; None encodes every image again.

    Raises:
        DataError: no method, no object, or as `run_baseline` and `run_interactive`.
    """
    if not baselines and model is None:
        raise DataError("nothing to compare: give at least one baseline or a model")
    chosen = options or BaselineOptions()
    counts = {name: len(chosen.objects(dataset)) for name, dataset in datasets.items()}
    total = sum(counts.values()) * (len(baselines) + (model is not None))
    before = 0
    results: dict[str, dict[str, InteractiveResult]] = {}

    def told(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, total)

    for name, dataset in datasets.items():
        runs = results[name] = {}
        if model is not None:
            runs[model.identity.name] = run_interactive(
                dataset, model, protocol, (), chosen, progress=told, command=command, store=store
            )
            before += counts[name]
        for baseline in baselines:
            runs[baseline.name] = run_baseline(
                dataset, baseline, protocol, chosen, progress=told, command=command
            )
            before += counts[name]
    return BaselineComparison(
        describe_machine(command, BASELINE_PACKAGES),
        {
            **describe_protocol(protocol),
            **chosen.to_dict(),
            "workers": chosen.workers,
            "datasets": {name: describe_dataset(d) for name, d in datasets.items()},
        },
        results,
    )


def comparison_table(comparison: BaselineComparison) -> Table:
    """Return the table: methods across, a group of measures per dataset."""
    rows: list[Row] = []
    for dataset, runs in comparison.results.items():
        results = list(runs.values())
        rows.append(Row(f"{dataset} ({len(results[0].objects)})", kind="heading"))
        for row in summary_rows(results):
            if row.label in _SHOWN:
                rows.append(Row(row.label, row.cells[: len(results)]))
            if row.label == _SHOWN[0]:
                spans = tuple(Cell(cell.interval) for cell in row.cells[: len(results)])
                rows.append(Row("95 % interval", spans))
    methods = next(iter(comparison.results.values()))
    return Table("", tuple(Column(name) for name in methods), tuple(rows))
