"""The task benchmark's result as a table for the terminal, as a page, and as a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from samadapt.benchmark.rendering import render
from samadapt.benchmark.results import dump_result
from samadapt.benchmark.task import TEST, TRANSFER, TaskResult
from samadapt.benchmark.task_summary import MAIN
from samadapt.data.files import replacing

if TYPE_CHECKING:
    from rich.table import Table

_TITLES = {TEST: "", TRANSFER: "other data, same adapters: "}


def task_table(result: TaskResult, place: str = TEST) -> Table:
    """Methods down and measures across, one block per number of shots, in per cent."""
    from rich.table import Table
    from rich.text import Text

    count = len(result.protocol["categories"])
    kind = "category" if count == 1 else "categories"
    title = f"{_TITLES[place]}mean over {count} {kind}, in per cent"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", *MAIN, "parameters", "fit"):
        table.add_column(Text(name), justify="right" if name else "left")
    for shots, rows in result.table(place).items():
        table.add_row(Text(f"{shots} shots", style="bold"))
        for method, row in rows.items():
            table.add_row(Text(f"  {method}"), *cells_of(row))
    return table


def cells_of(row: dict[str, Any]) -> list[str]:
    """The numbers of a row as people read them."""
    cells = ["" if row[key] is None else f"{100 * row[key]:.1f}" for key in MAIN]
    fitted = row["parameters"] > 0
    return [
        *cells,
        f"{row['parameters']:,}" if fitted else "",
        f"{row['fit_seconds']:.0f} s" if fitted else "",
    ]


def save_task(path: str | os.PathLike[str], result: TaskResult) -> None:
    """Write the JSON file, completely or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(dump_result(result.to_dict()).encode("utf-8", "surrogatepass"))


def write_task_report(path: str | os.PathLike[str], result: TaskResult) -> None:
    """Write the page; completely or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    text = render_task_report(result)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def render_task_report(result: TaskResult) -> str:
    """The page as text."""
    tables = [
        (
            f"{_TITLES[place]}{shots} shots",
            [(m, cells_of(row), _spans(row)) for m, row in rows.items()],
        )
        for place in (TEST, TRANSFER)
        for shots, rows in result.table(place).items()
    ]
    return render(
        "task.html",
        result=result,
        columns=MAIN,
        tables=tables,
        facts=[("Environment", result.environment), ("Options", _options(result))],
    )


def _spans(row: dict[str, Any]) -> list[str]:
    spans = [row["intervals"][key] for key in MAIN]
    texts = [f"{100 * span[0]:.1f} to {100 * span[1]:.1f}" if span else "" for span in spans]
    return [*texts, "", ""]


def _options(result: TaskResult) -> dict[str, Any]:
    """Without the lists of everything that was measured, which the JSON file has."""
    return {k: v for k, v in result.protocol.items() if k not in ("measured", "datasets")}
