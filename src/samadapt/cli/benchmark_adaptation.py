"""`samadapt benchmark adaptation`: frozen against adapting, over datasets, adapters and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import groups as grp
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation

REPORT = "report.html"


@grp.with_groups
def adaptation(
    ctx: typer.Context,
    *,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME]",
            help=f"${common.DATA_VARIABLE}/NAME/images and SPLIT.json; may be given several times.",
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC[,SPEC]",
            help="Adapters to compare, each separately: method, method:variant, folder or Hub id; "
            "A+B uses two together.",
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="N[,N]", help="Seeds of the order; one run for each.")
    ] = "0,1,2",
    max_objects: Annotated[
        int | None, typer.Option(metavar="N", help="Largest number of objects of each dataset.")
    ] = None,
    streams: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME]|all",
            help="Additional streams: mixed (datasets in blocks), wrong-accepts (20 % of accepted "
            "masks are bad), repeated (many visits of one object).",
        ),
    ] = None,
    split: opt.SplitOption = "test",
    at_failure: opt.AtFailureOption = "skip",
    stop_at: opt.StopAtOption = 0.9,
    max_clicks: opt.MaxClicksOption = 30,
    json_path: opt.KeptJsonOption = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a report with learning curves.")
    ] = None,
    run: grp.ModelOptions,
    workers: grp.WorkerOptions,
) -> None:
    """Measure the clicks that an adapter saves while it learns from objects.

    A robot annotates every dataset object by object, once with the frozen model
    and once with each adapter, which starts untrained. Reports NoC, failures and
    their relative reduction with 95 % intervals, per dataset and on average.
    """
    names = opt.split_names("dataset", dataset)
    specs = opt.split_names("adapter", adapter)
    numbers = opt.split_numbers("seeds", seeds, "0,1,2")
    chosen = _streams(streams)
    paths = {name: common.named_dataset(name, split) for name in names}
    read: list[str | Path] = [*(masks for _, masks in paths.values()), run.model]
    common.check_outputs(("--json", json_path), inputs=read)
    if report is not None:
        common.check_output_folder("--report", report, [p for pair in paths.values() for p in pair])
    from samadapt.benchmark.adaptation.report import adaptation_report, adaptation_tables
    from samadapt.benchmark.adaptation.run import run_adaptation
    from samadapt.data.datasets import open_dataset
    from samadapt.session.robot import ClickProtocol
    from samadapt.store.embeddings import EmbeddingStore

    protocol = ClickProtocol(
        max_clicks=max_clicks,
        targets=tuple(target for target in (0.85, 0.9) if target <= stop_at),
        stop_at=stop_at,
        at_failure=at_failure,  # type: ignore[arg-type] # checked by ClickProtocol
    )
    datasets = {name: open_dataset(*path) for name, path in paths.items()}
    loaded = run.load()
    with common.progress_bar("clicking") as progress:
        result = run_adaptation(
            datasets,
            loaded,
            specs,
            numbers,
            protocol=protocol,
            max_objects=max_objects,
            streams=chosen,
            runs=opt.runs_folder(json_path),
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
            store=EmbeddingStore(is_cyclic=True),
            elsewhere=workers.elsewhere(loaded, run),
        )
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
    common.tell_untrained(specs, is_session=True)
    deliver(
        result,
        result.skipped,
        adaptation_tables(result),
        grp.ReportOptions(json_path=json_path, html_path=report and report / REPORT),
        lambda: adaptation_report(result),
    )


def _streams(given: Sequence[str] | None) -> list[str]:
    if not given:
        return []
    from samadapt.benchmark.adaptation.scenarios import STREAMS

    names = opt.split_names("streams", given)
    return list(STREAMS) if names == ["all"] else names
