"""`samadapt benchmark interactive`: clicks, failures and overlap of a robot annotator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import common
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.common import (
    AdapterOption,
    CrowdsOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    SeedOption,
    ThreadsOption,
)
from samadapt.cli.engine_options import (
    AddressOption,
    EngineOption,
    GpusOption,
    WorkersOption,
    elsewhere,
)
from samadapt.cli.guard import Invocation
from samadapt.cli.options import (
    PROTOCOL_PANEL,
    AtFailureOption,
    DatasetOption,
    HtmlOption,
    ImagesOption,
    JsonOption,
    MasksOption,
    MaxClicksOption,
    MaxObjectsOption,
    MinAreaOption,
    SplitOption,
    StopAtOption,
    dataset_paths,
    protocol_option,
)
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.data.coco import CocoDataset


def interactive(
    ctx: typer.Context,
    images: ImagesOption = None,
    masks: MasksOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    crowds: CrowdsOption = False,
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
    min_area: MinAreaOption = 1,
    max_clicks: MaxClicksOption = 30,
    stop_at: StopAtOption = 0.90,
    mask_prompt: Annotated[
        str, protocol_option("logits|binary|none", "What goes back in of the mask before.")
    ] = "logits",
    first_click: Annotated[
        str, protocol_option("centre|random", "Where on the object.")
    ] = "centre",
    multimask_first: Annotated[
        bool,
        typer.Option(
            "--multimask-first/--single-first",
            help="Take the best of three candidates at the first click, or the one mask.",
            rich_help_panel=PROTOCOL_PANEL,
        ),
    ] = False,
    larger: Annotated[
        str, protocol_option("distance|area", "Which of two errors is the larger.")
    ] = "distance",
    ties: Annotated[
        str, protocol_option("first|random", "Which of equally good pixels.")
    ] = "first",
    padding: Annotated[
        bool,
        typer.Option(
            "--padding/--no-padding",
            help="Whether the image's border is an edge of an error region.",
            rich_help_panel=PROTOCOL_PANEL,
        ),
    ] = True,
    at_failure: AtFailureOption = "skip",
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
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    gpus: GpusOption = 0.0,
    json_path: JsonOption = None,
    html_path: HtmlOption = None,
) -> None:
    """A robot annotator clicks on real objects until their masks are good.

    Reports clicks needed (NoC), failures (FR), IoU after k clicks and time per
    click, with 95 % intervals. The defaults give all numbers.
    """
    if compare_frozen and not adapter:
        raise DataError("--compare-frozen: name the adapter to compare with --adapter")
    paths = dataset_paths(images, masks, dataset, split)
    common.check_outputs(
        ("--json", json_path), ("--html", html_path), inputs=(paths[1], model, *(adapter or ()))
    )
    from samadapt.benchmark.interactive.compare import run_compared
    from samadapt.benchmark.interactive.report import interactive_report
    from samadapt.benchmark.interactive.run import run_interactive
    from samadapt.benchmark.interactive.tables import summary_table
    from samadapt.benchmark.options import Selection
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
    data = open_dataset(*paths, crowds=crowds)
    common.set_threads(threads)
    selection = Selection(
        max_objects=max_objects,
        seed=seed,
        order=order,  # type: ignore[arg-type] # checked by Selection
        categories=_names(categories, data),
        min_area=min_area,
    )
    loaded = common.load_model(model, device, dtype)
    command = ctx.ensure_object(Invocation).command
    run = run_compared if compare_frozen else run_interactive
    where = elsewhere(engine, address, workers, gpus, loaded, model, device)
    with common.progress_bar("clicking") as progress:
        result = run(
            data,
            loaded,
            protocol,
            adapter or (),
            selection,
            progress=progress,
            command=command,
            elsewhere=where,
        )
    results = [*filter(None, [result.frozen]), result]
    deliver(
        result,
        result.skipped,
        [summary_table(results)],
        json_path,
        html_path,
        lambda: interactive_report(results, data),
    )


def _names(given: Sequence[str] | None, data: CocoDataset) -> tuple[str, ...] | None:
    """Split category names at commas that are not part of a name."""
    if not given:
        return None
    known = {category.name for category in data.categories}
    names: list[str] = []
    for text in given:
        names += [text] if text in known else [part.strip() for part in text.split(",")]
    return tuple(names)
