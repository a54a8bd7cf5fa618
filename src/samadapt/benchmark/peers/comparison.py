"""`PeerComparison`: peers and a model on the same objects, as a value, a file and a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from samadapt.benchmark.environment import describe_machine
from samadapt.benchmark.formats import summary_rows
from samadapt.benchmark.interactive import Progress, describe_dataset, run_interactive
from samadapt.benchmark.peers.base import Peer
from samadapt.benchmark.peers.canvas import WORKING_SIZE
from samadapt.benchmark.peers.describe import PEER_PACKAGES, describe_protocol
from samadapt.benchmark.peers.run import PROTOCOL, check_options, run_peer
from samadapt.benchmark.results import InteractiveResult, SkippedImage, dump_result
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.session.robot import ClickProtocol

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "samadapt-peers-1"

_SHOWN = ("NoC20@85", "FR20@85", "IoU@1", "IoU@3", "IoU@5", "Time per click")


@dataclass(frozen=True, slots=True)
class PeerComparison:
    """What several methods made of the same objects, clicked by the same robot.

    Attributes:
        environment: software and machine.
        protocol: click protocol, seed, working size of the peers, datasets.
        results: by dataset, then by method; the rows of all methods are the same objects in the
            same order.
    """

    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    results: Mapping[str, Mapping[str, InteractiveResult]] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = self.results.items()
        return {
            "format": FORMAT,
            "environment": dict(self.environment),
            "protocol": dict(self.protocol),
            "methods": self._methods(),
            "summary": {d: {m: dict(r.summary) for m, r in runs.items()} for d, runs in found},
            "intervals": {
                d: {
                    m: {k: list(v) if v else None for k, v in r.intervals.items()}
                    for m, r in runs.items()
                }
                for d, runs in found
            },
            "timing": {d: {m: dict(r.timing) for m, r in runs.items()} for d, runs in found},
            "skipped": {
                d: [skip.to_dict() for skip in next(iter(runs.values())).skipped]
                for d, runs in found
            },
            "objects": list(self._rows()),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, completely or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        with replacing(path) as file:
            file.write(dump_result(self.to_dict()).encode("utf-8", "surrogatepass"))

    def _methods(self) -> dict[str, Any]:
        """What each method is: the model with its weights, a peer with its settings."""
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


def compare_peers(
    datasets: Mapping[str, CocoDataset],
    peers: Sequence[Peer],
    model: SegmentationModel | None = None,
    protocol: ClickProtocol = PROTOCOL,
    *,
    max_objects: int | None = None,
    seed: int = 0,
    working_size: int = WORKING_SIZE,
    workers: int = 1,
    progress: Progress | None = None,
    on_skip: Callable[[SkippedImage], None] | None = None,
    command: Sequence[str] | None = None,
) -> PeerComparison:
    """Annotate the same objects with a model and with peers, under one protocol.

    Args:
        datasets: by name.
        peers: methods to compare with.
        model: answers at full size, in this process; None compares peers only.
        protocol: how the robot clicks, the same for all.
        max_objects: of each dataset; None for all.
        seed: of the order of objects, and of the robot's own random choices.
        working_size: longest side in pixels that the peers work at.
        workers: processes for the peers.
        progress: told after every object, counted over all datasets and methods.
        on_skip: told once of every image that cannot be used.
        command: what to record as the command line; `sys.argv` when left out.

    Raises:
        DataError: no method, no object, or as `run_peer` and `run_interactive`.
    """
    if not peers and model is None:
        raise DataError("nothing to compare: give at least one peer or a model")
    check_options(seed, working_size, workers)
    counts = [len(d.objects(max_objects=max_objects, seed=seed)) for d in datasets.values()]
    steps = _Steps(progress, sum(counts) * (len(peers) + (model is not None)))
    results: dict[str, dict[str, InteractiveResult]] = {}
    for name, dataset in datasets.items():
        told = on_skip
        runs = results[name] = {}
        if model is not None:
            runs[model.identity.name] = run_interactive(
                dataset,
                model,
                protocol,
                max_objects=max_objects,
                seed=seed,
                progress=steps.next(),
                on_skip=told,
                command=command,
            )
            told = None
        for peer in peers:
            runs[peer.name] = run_peer(
                dataset,
                peer,
                protocol,
                max_objects=max_objects,
                seed=seed,
                working_size=working_size,
                workers=workers,
                progress=steps.next(),
                on_skip=told,
                command=command,
            )
            told = None
    return PeerComparison(
        describe_machine(command, PEER_PACKAGES),
        {
            **describe_protocol(protocol, max_objects, seed, working_size),
            "workers": workers,
            "datasets": {name: describe_dataset(d) for name, d in datasets.items()},
        },
        results,
    )


def comparison_table(comparison: PeerComparison) -> Table:
    """Datasets down, methods across, for a rich console."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("")
    for name in next(iter(comparison.results.values())):
        table.add_column(Text(name, overflow="fold"), justify="right")
    for dataset, runs in comparison.results.items():
        results = list(runs.values())
        title = f"{dataset} ({len(results[0].objects)})"
        for row in summary_rows(results):
            if row.label not in _SHOWN:
                continue
            table.add_row(Text(title, style="bold"), row.label, *map(Text, row.values))
            if row.label == _SHOWN[0]:
                table.add_row("", Text("95 % interval", style="dim"), *map(_dim, row.intervals))
            title = ""
        table.add_section()
    return table


class _Steps:
    """One count of objects over several runs."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._before = 0

    def next(self) -> Progress | None:
        """What to tell the next run to tell."""
        if self._progress is None:
            return None
        tell, start = self._progress, self._before

        def step(done: int, total: int) -> None:
            self._before = start + total
            tell(start + done, self._total)

        return step


def _dim(text: str) -> Any:
    from rich.text import Text

    return Text(text, style="dim")
