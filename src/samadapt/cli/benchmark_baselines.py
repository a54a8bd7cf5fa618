"""`samadapt benchmark baselines`: classical methods under the same robot clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import groups as grp
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation

NO_MODEL = "none"


@grp.with_groups
def baselines(
    ctx: typer.Context,
    *,
    dataset: opt.DatasetsOption = None,
    images: opt.ImagesOption = None,
    masks: opt.MasksOption = None,
    split: opt.SplitOption = "test",
    crowds: common.CrowdsOption = False,
    baselines: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Methods to compare with.")
    ] = "grabcut,random-walker",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Model to compare; see `samadapt models`. none for baselines only.",
        ),
    ] = "nano",
    max_objects: opt.MaxObjectsOption = None,
    seed: common.SeedOption = 0,
    max_clicks: opt.MaxClicksOption = 20,
    stop_at: opt.StopAtOption = 0.85,
    working_size: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", help="Baselines work on images shrunk to this longest side."
        ),
    ] = 320,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes for the baselines.")] = 1,
    json_path: opt.JsonOption = None,
    machine: grp.MachineOptions,
) -> None:
    """Compare a model with GrabCut and random walker under the same robot clicks.

    Baselines need no weights; their input is every click so far and their last mask.
    Reports clicks needed (NoC), failures (FR), IoU after k clicks and time per click.
    """
    places = _places(images, masks, dataset, split)
    common.check_outputs(
        ("--json", json_path), inputs=[*(path for _, path in places.values()), model]
    )
    from samadapt.benchmark.baselines.comparison import compare_baselines, comparison_table
    from samadapt.benchmark.baselines.registry import create_baselines
    from samadapt.benchmark.baselines.run import BaselineOptions
    from samadapt.data.datasets import open_dataset
    from samadapt.session.robot import ClickProtocol
    from samadapt.store.embeddings import EmbeddingStore

    chosen = create_baselines([name for name in map(str.strip, baselines.split(",")) if name])
    targets = tuple(target for target in (0.85, 0.90) if target <= stop_at)
    protocol = ClickProtocol(max_clicks=max_clicks, targets=targets, stop_at=stop_at)
    options = BaselineOptions(
        max_objects=max_objects, seed=seed, working_size=working_size, workers=workers
    )
    data = {name: open_dataset(*paths, crowds=crowds) for name, paths in places.items()}
    loaded = None if model == NO_MODEL else machine.load_named(model)
    with common.progress_bar("clicking") as progress:
        found = compare_baselines(
            data,
            chosen,
            loaded,
            protocol,
            options,
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
            store=EmbeddingStore(is_cyclic=True),
        )
    outputs = grp.ReportOptions(json_path=json_path)
    deliver(found, found.skipped, [comparison_table(found)], outputs)


def _places(
    images: Path | None, masks: Path | None, dataset: str | None, split: str
) -> dict[str, tuple[Path, Path]]:
    """The image folder and the masks of every dataset, by name."""
    if dataset is None or images is not None or masks is not None:
        paths = opt.dataset_paths(images, masks, dataset, split)
        source = paths[1].resolve()
        return {source.parent.name if source.is_file() else source.name: paths}
    return {
        name: opt.dataset_paths(None, None, name, split)
        for name in opt.split_names("dataset", [dataset])
    }
