"""`samadapt benchmark interactive`: clicks, failures and overlap of a robot annotator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import common
from samadapt.cli import groups as grp
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.benchmark.interactive.result import InteractiveResult
    from samadapt.benchmark.options import Progress
    from samadapt.data.coco import CocoDataset
    from samadapt.models.seams import Seams


@grp.with_groups
def interactive(
    ctx: typer.Context,
    *,
    source: grp.DataOptions,
    adapter: common.AdapterOption = None,
    max_objects: opt.MaxObjectsOption = None,
    seed: common.SeedOption = 0,
    order: Annotated[
        str, typer.Option(metavar="random|file|image", help="Order of visits.")
    ] = "random",
    categories: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME]", help="Only these categories; may be given several times."
        ),
    ] = None,
    min_area: opt.MinAreaOption = 1,
    max_clicks: opt.MaxClicksOption = 30,
    stop_at: opt.StopAtOption = 0.90,
    mask_prompt: Annotated[
        str, opt.protocol_option("logits|binary|none", "Form of the last mask in the next prompt.")
    ] = "logits",
    first_click: Annotated[
        str, opt.protocol_option("centre|random", "Position of the first click on the object.")
    ] = "centre",
    multimask_first: Annotated[
        bool,
        typer.Option(
            "--multimask-first/--single-first",
            help="Use the best of three candidates at the first click, or a single mask.",
            rich_help_panel=opt.PROTOCOL_PANEL,
        ),
    ] = False,
    larger: Annotated[
        str,
        opt.protocol_option(
            "distance|area", "Measure by which the larger of two errors is chosen."
        ),
    ] = "distance",
    ties: Annotated[
        str, opt.protocol_option("first|random", "Choice among equally good pixels.")
    ] = "first",
    padding: Annotated[
        bool,
        typer.Option(
            "--padding/--no-padding",
            help="Whether the image's border is an edge of an error region.",
            rich_help_panel=opt.PROTOCOL_PANEL,
        ),
    ] = True,
    at_failure: opt.AtFailureOption = "skip",
    compare_frozen: Annotated[
        bool,
        typer.Option(
            "--compare-frozen",
            help="With --adapter: run the same objects without it too, and show the changes.",
        ),
    ] = False,
    run: grp.ModelOptions,
    workers: grp.WorkerOptions,
    outputs: grp.ReportOptions,
) -> None:
    """Let a robot annotator click on real objects until their masks are good.

    Reports clicks needed (NoC), failures (FR), IoU after k clicks and time per
    click, with 95 % intervals. The default limits allow all measures.
    """
    if compare_frozen and not adapter:
        raise DataError("--compare-frozen: name the adapter to compare with --adapter")
    outputs.check((source.paths()[1], run.model, *(adapter or ())))
    from samadapt.benchmark.interactive.compare import run_compared
    from samadapt.benchmark.interactive.report import interactive_report
    from samadapt.benchmark.interactive.run import run_interactive
    from samadapt.benchmark.interactive.tables import summary_table
    from samadapt.benchmark.options import Selection
    from samadapt.session.robot import ClickProtocol
    from samadapt.store.embeddings import EmbeddingStore

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
    data = source.open()
    selection = Selection(
        max_objects=max_objects,
        seed=seed,
        order=order,  # type: ignore[arg-type] # checked by Selection
        categories=_names(categories, data),
        min_area=min_area,
    )
    loaded = run.load()
    where = workers.elsewhere(loaded, run)
    command = ctx.ensure_object(Invocation).command
    store = EmbeddingStore(is_cyclic=True)

    def evaluate(adapters: Sequence[str | Seams], told: Progress | None) -> InteractiveResult:
        return run_interactive(
            data,
            loaded,
            protocol,
            adapters,
            selection,
            progress=told,
            command=command,
            store=store,
            elsewhere=where,
        )

    with common.progress_bar("clicking") as progress:
        if adapter and compare_frozen:
            result = run_compared(evaluate, adapter, progress)
        else:
            result = evaluate(adapter or (), progress)
    results = [*filter(None, [result.frozen]), result]
    common.tell_untrained(adapter or (), is_session=True)
    deliver(
        result,
        result.skipped,
        [summary_table(results)],
        outputs,
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
