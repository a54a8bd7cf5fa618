"""The robustness benchmark's result as a table for the terminal and as a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from samadapt.benchmark.results import dump_result
from samadapt.benchmark.robustness_summary import (
    CLICK,
    METRICS,
    OBJECTS,
    RobustnessResult,
    RobustnessRow,
)
from samadapt.data.files import replacing

if TYPE_CHECKING:
    from rich.table import Table


class Cell(NamedTuple):
    """A number as people read it.

    Attributes:
        text: in per cent.
        interval: its 95 % interval, or "".
        verdict: against the frozen row: "better", "worse" or "" when that is not sure.
    """

    text: str
    interval: str
    verdict: str


def kinds_of(result: RobustnessResult) -> list[str]:
    """Names of the kinds of prompts, in order."""
    return list(result.protocol["prompts"])


def cell_of(row: RobustnessRow, key: str) -> Cell:
    """One number of one row."""
    value = row.summary[key] or 0.0
    span = row.intervals.get(key)
    change = row.changes.get(key)
    verdict = ""
    if change is not None and change[1] is not None and not change[1][0] <= 0 <= change[1][1]:
        verdict = "better" if change[0] > 0 else "worse"
    interval = "" if span is None else f"{span[0] * 100:.1f} to {span[1] * 100:.1f}"
    return Cell(f"{value * 100:.1f}", interval, verdict)


def milliseconds(row: RobustnessRow) -> str:
    """Median time of a single answer."""
    seconds = row.summary[CLICK]
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def robustness_table(result: RobustnessResult) -> Table:
    """Rows down, kinds of prompts across, one block per metric, in per cent.

    Green and red where the mean change per object from the frozen row is sure to be one.
    """
    from rich.table import Table
    from rich.text import Text

    styles = {"better": "green", "worse": "red", "": ""}
    objects = result.rows[0].summary[OBJECTS]
    title = f"{objects} objects, {result.protocol['draws']} prompts of each kind, in per cent"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for kind in kinds_of(result):
        table.add_column(Text(kind), justify="right")
    for metric in METRICS:
        table.add_row(Text(METRICS[metric].partition(",")[0], style="bold"))
        for row in result.rows:
            cells = [cell_of(row, f"{metric}@{kind}") for kind in kinds_of(result)]
            shown = [Text(cell.text, style=styles[cell.verdict]) for cell in cells]
            table.add_row(Text(f"  {row.name}", overflow="fold"), *shown)
    clicks = ", ".join(
        f"{row.name} {milliseconds(row)}" for row in result.rows if row.summary[CLICK]
    )
    if clicks:
        table.caption = Text(f"time per click: {clicks}")
        table.caption_justify = "left"
    return table


def save_robustness(path: str | os.PathLike[str], result: RobustnessResult) -> None:
    """Write the JSON file, completely or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(dump_result(result.to_dict()).encode("utf-8", "surrogatepass"))
