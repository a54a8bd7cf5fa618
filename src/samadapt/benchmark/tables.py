"""`Table`: one table of a benchmark, for the terminal, the HTML report and Markdown documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import rich.table
    from rich.text import Text

UNKNOWN = "–"  # noqa: RUF001 - an en dash stands for a missing value
Verdict: TypeAlias = Literal["better", "worse", ""]
RowKind: TypeAlias = Literal["plain", "measure", "heading", "average"]

_STYLES: Mapping[str, str] = {"better": "green", "worse": "red", "": ""}


@dataclass(frozen=True, slots=True)
class Cell:
    """A formatted number.

    Attributes:
        text: the number with its unit.
        interval: its 95 % interval, or "".
        verdict: "better" or "worse" where a change is beyond its interval.
    """

    text: str = ""
    interval: str = ""
    verdict: Verdict = ""

    @property
    def full(self) -> str:
        """Return the number with its interval, such as "-1.20 (-1.50 to -0.90)"."""
        return f"{self.text} ({self.interval})" if self.interval else self.text


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers.

    Attributes:
        title: its heading.
        in_terminal: False leaves the column out in the terminal, which has 80 characters.
        terminal_intervals: whether the terminal shows the intervals of its cells.
        key: number of the column's line in a plot; 0 for none.
    """

    title: str
    in_terminal: bool = True
    terminal_intervals: bool = False
    key: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        label: its heading.
        cells: one per column; none for a heading.
        meaning: explanation of the label.
        kind: "measure" for a row whose label is a measure's name, "heading" for a row that begins
            a group, "average" for a row that summarises others.
    """

    label: str
    cells: tuple[Cell, ...] = ()
    meaning: str = ""
    kind: RowKind = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: above the table.
        columns: columns after the labels.
        rows: from top to bottom.
        corner: heading of the labels.
        notes: sentences below the table.
        caption: lines below the table in the terminal alone, which has no room for intervals.
        show_meaning: whether the terminal shows the explanations of labels.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    corner: str = ""
    notes: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    show_meaning: bool = False


def terminal_table(table: Table) -> rich.table.Table:
    """Return the table for a rich console."""
    import rich.table
    from rich.text import Text

    shown = rich.table.Table(title=table.title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("")
    if table.show_meaning:
        shown.add_column("")
    kept = [index for index, column in enumerate(table.columns) if column.in_terminal]
    for column in (table.columns[index] for index in kept):
        justify: Literal["left", "right"] = "left" if column.terminal_intervals else "right"
        shown.add_column(Text(column.title, overflow="fold"), justify=justify)
    is_grouped = any(row.kind == "heading" for row in table.rows)
    for row in table.rows:
        indent = "  " if is_grouped and row.kind != "heading" else ""
        style = "" if row.kind == "plain" else "bold"
        cells = [Text(indent + row.label, style=style, overflow="fold")]
        if table.show_meaning:
            cells.append(Text(row.meaning))
        if row.cells:
            cells += [_text(row.cells[index], table.columns[index]) for index in kept]
        shown.add_row(*cells)
    if table.caption:
        shown.caption = Text("\n".join(table.caption))
        shown.caption_justify = "left"
    return shown


def markdown_table(table: Table) -> str:
    """Return the table as Markdown, with the intervals in brackets and without title and notes."""
    lines = [
        [table.corner, *(column.title for column in table.columns)],
        ["---", *("---:" for _ in table.columns)],
    ]
    for row in table.rows:
        label = f"**{row.label}**" if row.kind in ("heading", "average") else row.label
        cells = row.cells or (Cell(),) * len(table.columns)
        lines.append([label, *(cell.full for cell in cells)])
    return "\n".join(f"| {' | '.join(_escaped(line))} |" for line in lines) + "\n"


def _text(cell: Cell, column: Column) -> Text:
    from rich.text import Text

    text = cell.full if column.terminal_intervals else cell.text
    return Text(text, style=_STYLES[cell.verdict])


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]
