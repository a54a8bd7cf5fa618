"""`samadapt benchmark ...`: measure a model on real objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import common
from samadapt.cli.benchmark_adaptation import adaptation
from samadapt.cli.common import (
    DATA_VARIABLE,
    AdapterOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    SeedOption,
    ThreadsOption,
)
from samadapt.cli.guard import Invocation
from samadapt.cli.options import (
    DatasetOption,
    ImagesOption,
    JsonOption,
    MasksOption,
    MaxObjectsOption,
    SplitOption,
)
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.benchmark.results import InteractiveResult, SkippedImage
    from samadapt.data.coco import CocoDataset

_PROTOCOL = "Click protocol"

benchmark_app = typer.Typer(help="Measure a model on images with reference masks.")


@benchmark_app.callback(invoke_without_command=True)
def group(ctx: typer.Context) -> None:
    """Measure a model on images with reference masks."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


benchmark_app.command()(adaptation)


@benchmark_app.command()
def interactive(
    ctx: typer.Context,
    images: ImagesOption = None,
    masks: MasksOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    model: ModelOption = "nano",
    adapter: AdapterOption = None,
    max_objects: MaxObjectsOption = None,
    seed: SeedOption = 0,
    order: Annotated[
        str,
        typer.Option(
            "--order", metavar="random|file|image", help="In which order to visit objects."
        ),
    ] = "random",
    categories: Annotated[
        list[str] | None,
        typer.Option(
            "--categories", metavar="NAME[,NAME]", help="Only these; may be given several times."
        ),
    ] = None,
    min_area: Annotated[
        int, typer.Option("--min-area", metavar="PIXELS", help="Leave out smaller objects.")
    ] = 1,
    max_clicks: Annotated[
        int, typer.Option("--max-clicks", help="Clicks per object.", rich_help_panel=_PROTOCOL)
    ] = 30,
    stop_at: Annotated[
        float,
        typer.Option(
            "--stop-at", help="IoU at which the robot is content.", rich_help_panel=_PROTOCOL
        ),
    ] = 0.90,
    mask_prompt: Annotated[
        str,
        typer.Option(
            "--mask-prompt",
            metavar="logits|binary|none",
            help="What goes back in of the mask before.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = "logits",
    first_click: Annotated[
        str,
        typer.Option(
            "--first-click",
            metavar="centre|random",
            help="Where on the object.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = "centre",
    multimask_first: Annotated[
        bool,
        typer.Option(
            "--multimask-first/--single-first",
            help="Take the best of three candidates at the first click, or the one mask.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = False,
    larger: Annotated[
        str,
        typer.Option(
            "--larger",
            metavar="distance|area",
            help="Which of two errors is the larger.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = "distance",
    ties: Annotated[
        str,
        typer.Option(
            "--ties",
            metavar="first|random",
            help="Which of equally good pixels.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = "first",
    padding: Annotated[
        bool,
        typer.Option(
            "--padding/--no-padding",
            help="Whether the image's border is an edge of an error region.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = True,
    at_failure: Annotated[
        str,
        typer.Option(
            "--at-failure",
            metavar="skip|accept",
            help="What happens to an object that never gets good enough.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = "skip",
    compare_frozen: Annotated[
        bool,
        typer.Option(
            "--compare-frozen",
            help="With --adapter: do the same objects without it too, and show what it changes.",
        ),
    ] = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    json_path: JsonOption = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report with pictures.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="The JSON of an earlier run (say, without an adapter), to show side by side.",
        ),
    ] = None,
) -> None:
    """A robot annotator clicks on real objects until their masks are good.

    Reports clicks needed (NoC), failures (FR), IoU after k clicks and time per
    click, with 95 % intervals. The defaults give all numbers.
    """
    if compare_frozen and not adapter:
        raise DataError("--compare-frozen: name the adapter to compare with --adapter")
    if compare_frozen and against is not None:
        raise DataError("--compare-frozen and --against: give one or the other")
    paths = dataset_paths(images, masks, dataset, split)
    read = (paths[1], against, model, *(adapter or ()))
    common.check_outputs(("--json", json_path), ("--html", html_path), inputs=read)
    from samadapt.benchmark.compare import run_compared
    from samadapt.benchmark.interactive import run_interactive
    from samadapt.benchmark.results import InteractiveResult
    from samadapt.data.datasets import open_dataset
    from samadapt.session.robot import ClickProtocol

    protocol = ClickProtocol(
        max_clicks=max_clicks,
        stop_at=stop_at,
        padding=padding,
        ties=ties,  # type: ignore[arg-type] # checked by ClickProtocol
        larger=larger,  # type: ignore[arg-type]
        mask_prompt=mask_prompt,  # type: ignore[arg-type]
        first_click=first_click,  # type: ignore[arg-type]
        multimask_first=multimask_first,
        at_failure=at_failure,  # type: ignore[arg-type]
    )
    before = [] if against is None else [InteractiveResult.load(against)]
    data = open_dataset(*paths)
    common.set_threads(threads)
    loaded = common.load_model(model, device, dtype)
    work = run_compared if compare_frozen else run_interactive
    with common.progress_bar("clicking") as progress:
        result = work(
            data,
            loaded,
            protocol,
            adapter or (),
            max_objects=max_objects,
            seed=seed,
            order=order,  # type: ignore[arg-type] # checked by run_interactive
            categories=_names(categories, data),
            min_area=min_area,
            progress=progress,
            on_skip=note_skipped,
            command=ctx.ensure_object(Invocation).command,
        )
    if result.frozen is not None:
        before = [result.frozen]
    _deliver([*before, result], data, json_path, html_path)


def _deliver(
    results: Sequence[InteractiveResult],
    data: CocoDataset,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Files first: a result must not be lost because nobody reads the table."""
    from rich.console import Console

    from samadapt.benchmark.report import write_report
    from samadapt.benchmark.tables import summary_table

    result = results[-1]
    if json_path is not None:
        result.save(json_path)
    if html_path is not None:
        write_report(html_path, results, data)
    Console().print(summary_table(results))
    if result.skipped:
        missing = sum(len(skip.annotation_ids) for skip in result.skipped)
        images = len(result.skipped)
        verb = "image with {} objects was" if images == 1 else "images with {} objects were"
        typer.echo(f"{images} {verb.format(missing)} skipped", err=True)
    for path in (json_path, html_path):
        if path is not None:
            typer.echo(f"wrote {path}")


def note_skipped(skipped: SkippedImage) -> None:
    """Say in one line that an image was skipped, and why."""
    reason = " ".join(skipped.reason.splitlines())
    common.progress_console().print(f"skipped: {reason}", markup=False, soft_wrap=True)


def dataset_paths(
    images: Path | None, masks: Path | None, dataset: str | None, split: str
) -> tuple[Path, Path]:
    """The image folder and the masks, given directly or by the name of a dataset."""
    if dataset is None:
        if images is None or masks is None:
            raise DataError(
                "no data: give --images DIR and --masks JSON|DIR, or --dataset NAME with the "
                f"folder of datasets in {DATA_VARIABLE}"
            )
        return images, masks
    if images is not None or masks is not None:
        raise DataError("--dataset stands for --images and --masks: give one or the other")
    return common.named_dataset(dataset, split)


def _names(given: Sequence[str] | None, data: CocoDataset) -> list[str] | None:
    """Category names; a comma separates two of them unless it is part of a name."""
    if not given:
        return None
    known = {category.name for category in data.categories}
    names: list[str] = []
    for text in given:
        names += [text] if text in known else [part.strip() for part in text.split(",")]
    return names
