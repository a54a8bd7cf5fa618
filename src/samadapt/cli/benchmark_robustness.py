"""`samadapt benchmark robustness`: how much worse masks get when prompts do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import common
from samadapt.cli.benchmark import dataset_paths, note_skipped
from samadapt.cli.common import DeviceOption, DtypeOption, ModelOption, SeedOption, ThreadsOption
from samadapt.cli.guard import Invocation
from samadapt.cli.options import (
    DatasetOption,
    DrawsOption,
    ImagesOption,
    JsonOption,
    MasksOption,
    MaxObjectsOption,
    SplitOption,
)

if TYPE_CHECKING:
    from samadapt.benchmark.robustness_summary import RobustnessResult


def robustness(
    ctx: typer.Context,
    images: ImagesOption = None,
    masks: MasksOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    model: ModelOption = "nano",
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            metavar="SPEC",
            help="Name, folder or Hub id of an adapter, A+B for several at once; each one given "
            "is a row of its own.",
        ),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen/--no-frozen", help="Show the model alone as well.")
    ] = True,
    max_objects: MaxObjectsOption = None,
    draws: DrawsOption = 20,
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            metavar="KIND[,KIND...]",
            help="Kinds of prompts: box, box0.4 (noise of 0.4), 3p (3 clicks), ...",
        ),
    ] = "box,box0.2,box0.4,box0.6,1p,3p,5p,10p",
    min_area: Annotated[
        int, typer.Option("--min-area", metavar="PIXELS", help="Leave out smaller objects.")
    ] = 1,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    json_path: JsonOption = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report with plots.")
    ] = None,
) -> None:
    """Exact and noisy boxes and 1 to 10 clicks for real objects, many of each kind.

    Reports overlap (mIoU), overlap of boundaries (mBIoU) and stability (mSF) for
    each kind of prompt, with 95 % intervals, and the time per click.
    """
    paths = dataset_paths(images, masks, dataset, split)
    common.check_outputs(
        ("--json", json_path), ("--html", html_path), inputs=(paths[1], model, *(adapter or ()))
    )
    from samadapt.benchmark.robustness import RobustnessOptions, run_robustness
    from samadapt.data.datasets import open_dataset
    from samadapt.training.prompt_sampling import kinds

    options = RobustnessOptions(
        kinds=kinds(name.strip() for name in prompts.split(",") if name.strip()),
        draws=draws,
        max_objects=max_objects,
        seed=seed,
        min_area=min_area,
        frozen=frozen,
    )
    data = open_dataset(*paths)
    common.set_threads(threads)
    loaded = common.load_model(model, device, dtype)
    with common.progress_bar("prompting") as progress:
        result = run_robustness(
            data,
            loaded,
            adapter or (),
            options,
            progress=progress,
            on_skip=note_skipped,
            command=ctx.ensure_object(Invocation).command,
        )
    _deliver(result, json_path, html_path)


def _deliver(result: RobustnessResult, json_path: Path | None, html_path: Path | None) -> None:
    """Files first: a result must not be lost because nobody reads the table."""
    from rich.console import Console

    from samadapt.benchmark.robustness_report import write_robustness_report
    from samadapt.benchmark.robustness_tables import robustness_table, save_robustness

    if json_path is not None:
        save_robustness(json_path, result)
    if html_path is not None:
        write_robustness_report(html_path, result)
    Console().print(robustness_table(result))
    if result.skipped:
        missing = sum(len(skip.annotation_ids) for skip in result.skipped)
        typer.echo(f"{len(result.skipped)} images with {missing} objects were skipped", err=True)
    for path in (json_path, html_path):
        if path is not None:
            typer.echo(f"wrote {path}")
