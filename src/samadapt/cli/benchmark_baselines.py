"""`samadapt benchmark baselines`: how classical methods do under the very same clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation
from samadapt.errors import DataError

NO_MODEL = "none"


def baselines(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME[,NAME...]",
            help="Instead of --images and --masks: $SAMADAPT_DATA/NAME/images and SPLIT.json.",
        ),
    ] = None,
    images: opt.ImagesOption = None,
    masks: opt.MasksOption = None,
    split: opt.SplitOption = "test",
    crowds: common.CrowdsOption = False,
    baselines: Annotated[
        str, typer.Option("--baselines", metavar="NAME[,NAME]", help="Methods to compare with.")
    ] = "grabcut,random-walker",
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Model to compare; see `samadapt models`. none: baselines only."
        ),
    ] = "nano",
    max_objects: opt.MaxObjectsOption = None,
    seed: common.SeedOption = 0,
    max_clicks: opt.MaxClicksOption = 20,
    stop_at: opt.StopAtOption = 0.85,
    working_size: Annotated[
        int,
        typer.Option(
            "--working-size",
            metavar="PIXELS",
            help="Baselines work on images shrunk to this longest side.",
        ),
    ] = 320,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes for the baselines.")
    ] = 1,
    device: common.DeviceOption = "auto",
    dtype: common.DtypeOption = "auto",
    threads: common.ThreadsOption = None,
    json_path: opt.JsonOption = None,
) -> None:
    """Compare a model with GrabCut and random walker under the same robot clicks.

    Baselines need no weights; they see every click so far and their own mask before.
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

    chosen = create_baselines(_split(baselines))
    targets = tuple(target for target in (0.85, 0.90) if target <= stop_at)
    protocol = ClickProtocol(max_clicks=max_clicks, targets=targets, stop_at=stop_at)
    options = BaselineOptions(
        max_objects=max_objects, seed=seed, working_size=working_size, workers=workers
    )
    data = {name: open_dataset(*paths, crowds=crowds) for name, paths in places.items()}
    common.set_threads(threads)
    loaded = None if model == NO_MODEL else common.load_model(model, device, dtype)
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
    deliver(found, found.skipped, [comparison_table(found)], json_path)


def _places(
    images: Path | None, masks: Path | None, dataset: str | None, split: str
) -> dict[str, tuple[Path, Path]]:
    """The image folder and the masks of every dataset, by name."""
    if dataset is not None and not _split(dataset):
        raise DataError("--dataset names nothing: give one or more names, separated by commas")
    if dataset is None or images is not None or masks is not None:
        paths = opt.dataset_paths(images, masks, dataset, split)
        source = paths[1].resolve()
        return {source.parent.name if source.is_file() else source.name: paths}
    return {name: opt.dataset_paths(None, None, name, split) for name in _split(dataset)}


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
