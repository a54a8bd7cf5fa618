"""`samadapt benchmark adaptation`: frozen against adapting, over datasets, adapters and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli.common import DATA_VARIABLE, DeviceOption, DtypeOption, ModelOption, ThreadsOption
from samadapt.cli.guard import Invocation
from samadapt.errors import DataError

REPORT = "report.html"


def adaptation(
    ctx: typer.Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="NAME[,NAME]",
            help=f"${DATA_VARIABLE}/NAME/images and SPLIT.json; may be given several times.",
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
    split: Annotated[str, typer.Option("--split", help="Which file of a dataset.")] = "test",
    at_failure: Annotated[
        str,
        typer.Option(
            "--at-failure",
            metavar="skip|accept",
            help="What happens to an object that never gets good enough.",
        ),
    ] = "skip",
    stop_at: Annotated[
        float,
        typer.Option(
            "--stop-at",
            metavar="IOU",
            help="IoU at which the robot accepts a mask: 0.9 shows all measures, 0.85 only those "
            "for 0.85, with masks as good as that to learn from.",
        ),
    ] = 0.9,
    max_clicks: Annotated[
        int, typer.Option("--max-clicks", metavar="N", help="Clicks per object at most.")
    ] = 30,
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write everything as JSON; finished runs go to a folder beside it, FILE.runs, and "
            "are not run again.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write a report with learning curves."),
    ] = None,
) -> None:
    """See how much fewer clicks objects need while an adapter learns from them.

    A robot annotates every dataset object by object, once frozen and once with
    each adapter, which starts untrained. Reports NoC, failures and their
    relative reduction with 95 % intervals, per dataset and on average.
    """
    names = _names("dataset", dataset)
    specs = _names("adapter", adapter)
    numbers = _numbers(seeds)
    chosen = _streams(streams)
    paths = {name: common.named_dataset(name, split) for name in names}
    read: list[str | Path] = [*(masks for _, masks in paths.values()), model]
    common.check_outputs(("--json", json_path), inputs=read)
    if report is not None:
        common.check_output_folder("--report", report, [p for pair in paths.values() for p in pair])
    from rich.console import Console

    from samadapt.benchmark.adaptation import run_adaptation
    from samadapt.benchmark.adaptation_report import write_adaptation_report
    from samadapt.benchmark.adaptation_tables import adaptation_tables
    from samadapt.data.datasets import open_dataset
    from samadapt.session.robot import ClickProtocol

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
            cells=None if json_path is None else json_path.with_name(f"{json_path.name}.runs"),
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
        )
    # Files first: a result must not be lost because nobody reads the table.
    if json_path is not None:
        result.save(json_path)
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        write_adaptation_report(report / REPORT, result)
    console = Console()
    for table in adaptation_tables(result):
        console.print(table)
    for path in (json_path, report and report / REPORT):
        if path is not None:
            typer.echo(f"wrote {path}")


def _names(option: str, given: Sequence[str] | None) -> list[str]:
    names = [part.strip() for text in given or () for part in text.split(",")]
    if not names or not all(names):
        raise DataError(f"no {option}: give --{option} NAME, or several with commas between them")
    return names


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise DataError(
            f"--seeds {text}: give whole numbers with commas between them, such as 0,1,2"
        ) from None


def _streams(given: Sequence[str] | None) -> list[str]:
    if not given:
        return []
    from samadapt.benchmark.courses import STREAMS

    names = _names("streams", given)
    return list(STREAMS) if names == ["all"] else names
