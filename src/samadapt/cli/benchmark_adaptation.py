"""`samadapt benchmark adaptation`: frozen against adapting, over datasets, adapters and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation

REPORT = "report.html"


def adaptation(
    ctx: typer.Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="NAME[,NAME]",
            help=f"${common.DATA_VARIABLE}/NAME/images and SPLIT.json; may be given several times.",
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            metavar="SPEC[,SPEC]",
            help="Adapters to compare, each on its own: method, method:variant, folder or Hub id; "
            "A+B for two at once.",
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N[,N]", help="One run each, in another order.")
    ] = "0,1,2",
    max_objects: Annotated[
        int | None,
        typer.Option("--max-objects", metavar="N", help="Of each dataset at most so many."),
    ] = None,
    streams: Annotated[
        list[str] | None,
        typer.Option(
            "--streams",
            metavar="NAME[,NAME]|all",
            help="Besides: mixed (datasets in blocks), wrong-accepts (20 % of accepted masks are "
            "bad), repeated (one object again and again).",
        ),
    ] = None,
    split: opt.SplitOption = "test",
    at_failure: opt.AtFailureOption = "skip",
    stop_at: opt.StopAtOption = 0.9,
    max_clicks: opt.MaxClicksOption = 30,
    model: common.ModelOption = "nano",
    device: common.DeviceOption = "auto",
    dtype: common.DtypeOption = "auto",
    threads: common.ThreadsOption = None,
    json_path: opt.KeptJsonOption = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write a report with learning curves."),
    ] = None,
) -> None:
    """Measure how many clicks an adapter saves while it learns from objects.

    A robot annotates every dataset object by object, once frozen and once with
    each adapter, which starts untrained. Reports NoC, failures and their
    relative reduction with 95 % intervals, per dataset and on average.
    """
    names = opt.split_names("dataset", dataset)
    specs = opt.split_names("adapter", adapter)
    numbers = opt.split_numbers("seeds", seeds, "0,1,2")
    chosen = _streams(streams)
    paths = {name: common.named_dataset(name, split) for name in names}
    read: list[str | Path] = [*(masks for _, masks in paths.values()), model]
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
    common.set_threads(threads)
    loaded = common.load_model(model, device, dtype)
    with common.progress_bar("clicking") as progress:
        result = run_adaptation(
            datasets,
            loaded,
            specs,
            numbers,
            protocol=protocol,
            max_objects=max_objects,
            streams=chosen,
            runs=None if json_path is None else json_path.with_name(f"{json_path.name}.runs"),
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
            store=EmbeddingStore(is_cyclic=True),
        )
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
    deliver(
        result,
        result.skipped,
        adaptation_tables(result),
        json_path,
        report and report / REPORT,
        lambda: adaptation_report(result),
    )


def _streams(given: Sequence[str] | None) -> list[str]:
    if not given:
        return []
    from samadapt.benchmark.adaptation.scenarios import STREAMS

    names = opt.split_names("streams", given)
    return list(STREAMS) if names == ["all"] else names
