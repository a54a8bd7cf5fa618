"""`samadapt benchmark task`: learning one category from a few masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import groups as grp
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation
from samadapt.errors import DataError

_ALL = "all"


@grp.with_groups
def task(
    ctx: typer.Context,
    *,
    images: opt.ImagesOption = None,
    crowds: common.CrowdsOption = False,
    train: Annotated[
        Path | None, typer.Option(help="COCO file of masks to learn from.", metavar="JSON")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="COCO file of masks to measure on.", metavar="JSON")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Instead: ${common.DATA_VARIABLE}/NAME/images, train.json and test.json.",
        ),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME]",
            help="Categories, each a separate task; may be given several times. Default: all.",
        ),
    ] = None,
    shots: Annotated[
        str, typer.Option(metavar="N[,N]|all", help="Numbers of training masks.")
    ] = "1,4,16,64,all",
    methods: Annotated[
        str | None, typer.Option(metavar="NAME[,NAME]", help="Rows of the table; default: all.")
    ] = None,
    max_objects: Annotated[
        int | None, typer.Option(metavar="N", help="Largest number of test objects per category.")
    ] = None,
    max_images: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Largest number of images per task to search without a prompt; 0 for none.",
        ),
    ] = 50,
    grid: Annotated[int, typer.Option(metavar="N", help="Search with about N x N points.")] = 8,
    draws: opt.DrawsOption = 3,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Training steps of every fit, for a quick look.")
    ] = None,
    seed: common.SeedOption = 0,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="Trainings of each kind, with different masks.")
    ] = 1,
    transfer_images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Measure the same adapters on other images.")
    ] = None,
    transfer_masks: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Their masks.")
    ] = None,
    json_path: opt.KeptJsonOption = None,
    html_path: opt.HtmlOption = None,
    run: grp.ModelOptions,
    workers: grp.WorkerOptions,
    cache: grp.CacheOptions,
) -> None:
    """Teach a task from 1, 4, 16, ... masks and measure it on other images.

    Compares the frozen model and all methods that can be fitted, with one point,
    a noisy box and no prompt. Reports mIoU, mBIoU, AP and trained parameters.
    """
    paths = _paths(images, train, test, dataset)
    if (transfer_images is None) != (transfer_masks is None):
        raise DataError("give both --transfer-images and --transfer-masks, or neither")
    bound = cache.limit
    outputs = grp.ReportOptions(json_path=json_path, html_path=html_path)
    outputs.check((*paths[1:], transfer_masks, run.model))
    from samadapt.benchmark.task.options import TaskOptions, all_rows
    from samadapt.benchmark.task.report import task_report, task_tables
    from samadapt.benchmark.task.run import run_task
    from samadapt.data.datasets import open_dataset

    options = TaskOptions(
        categories=tuple(opt.split_names("category", category)) if category else None,
        shots=_shots(shots),
        methods=tuple(opt.split_names("methods", [methods])) if methods else all_rows(),
        draws=draws,
        max_objects=max_objects,
        max_images=max_images,
        grid=grid,
        seed=seed,
        seeds=seeds,
        settings=None if steps is None else {"steps": steps},
    )
    learned, measured = (open_dataset(paths[0], path, crowds=crowds) for path in paths[1:3])
    other = None
    if transfer_images is not None and transfer_masks is not None:
        other = open_dataset(transfer_images, transfer_masks, crowds=crowds)
    loaded = run.load()
    with common.progress_bar("teaching") as progress:
        result = run_task(
            learned,
            measured,
            loaded,
            options,
            transfer=other,
            work=opt.runs_folder(json_path),
            cache=cache.cache,
            cache_bytes=bound,
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
            elsewhere=workers.elsewhere(loaded, run),
        )
    deliver(result, (), task_tables(result), outputs, lambda: task_report(result))


def _paths(
    images: Path | None, train: Path | None, test: Path | None, dataset: str | None
) -> tuple[Path, Path, Path]:
    if dataset is not None:
        if images is not None or train is not None or test is not None:
            raise DataError("give --dataset, or --images with --train and --test, not both")
        folder, learned = common.named_dataset(dataset, "train", "--images, --train and --test")
        return folder, learned, common.named_dataset(dataset, "test")[1]
    if images is None or train is None or test is None:
        raise DataError("no data: give --images, --train and --test, or --dataset NAME")
    return images, train, test


def _shots(text: str) -> tuple[int | None, ...]:
    try:
        return tuple(None if part.strip() == _ALL else int(part) for part in text.split(","))
    except ValueError:
        raise DataError(
            f"--shots {text}: give whole numbers or {_ALL!r}, with commas between them, such as "
            "1,16,all"
        ) from None
