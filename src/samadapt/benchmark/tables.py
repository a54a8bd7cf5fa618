"""Benchmark results in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from samadapt.benchmark.formats import labels, reduction_lines, summary_rows
from samadapt.benchmark.results import InteractiveResult
from samadapt.benchmark.summary import OBJECTS

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"better": "green", "worse": "red", "": ""}


def summary_table(results: Sequence[InteractiveResult]) -> Table:
    """The summary of one result, or of several side by side, for a rich console.

    One result comes with its 95 % intervals. With two, a last column gives the mean change per
    object from the first to the second and the 95 % interval of that: green for the better, red
    for the worse, plain where the interval holds 0. All of it fits 80 columns.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=_title(results), title_justify="left", box=None, pad_edge=False)
    single = len(results) == 1
    table.add_column("")
    if single:
        table.add_column("")
    for label in labels(results):
        table.add_column(Text(label, overflow="fold"), justify="right")
    if single:
        table.add_column(Text("95 % interval", style="dim"), style="dim")
    elif len(results) == 2:
        table.add_column("change (95 % interval)")
    for row in summary_rows(results):
        cells = [Text(row.label, style="bold"), *(Text(value) for value in row.values)]
        if single:
            cells.insert(1, Text(row.meaning))
            cells.append(Text(row.intervals[0]))
        elif len(results) == 2:
            cells.append(Text(row.change, style=_STYLES[row.verdict]))
        table.add_row(*cells)
    if lines := reduction_lines(results):
        table.caption = Text("\n".join(lines))
        table.caption_justify = "left"
    return table


def _title(results: Sequence[InteractiveResult]) -> str:
    counts = sorted({int(result.summary[OBJECTS] or 0) for result in results})
    images = sorted({len({row.image_id for row in result.objects}) for result in results})
    objects = " / ".join(str(count) for count in counts)
    return f"{objects} objects in {' / '.join(str(count) for count in images)} images"
