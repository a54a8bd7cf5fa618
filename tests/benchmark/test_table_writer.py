"""One table, three ways to show it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from test_report import Page

from samadapt.benchmark.formats import format_seconds, percent, verdict_of
from samadapt.benchmark.report import Report, render_report
from samadapt.benchmark.tables import Cell, Column, Row, Table, markdown_table, terminal_table

TABLE = Table(
    "Two groups",
    (Column("plain"), Column("change", terminal_intervals=True), Column("wide", in_terminal=False)),
    (
        Row("first", kind="heading", meaning="of two"),
        Row("a|b", (Cell("1", "0 to 2"), Cell("+1", "+0 to +2", "better"), Cell("w"))),
        Row("mean", (Cell(), Cell("-1", verdict="worse"), Cell()), kind="average"),
    ),
    corner="who",
    notes=("A note.",),
    caption=("A caption.",),
)


def test_terminal_leaves_out_wide_columns_and_most_intervals() -> None:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(terminal_table(TABLE))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert [line.split() for line in lines] == [
        ["Two", "groups"],
        ["plain", "change"],
        ["first"],
        ["a|b", "1", "+1", "(+0", "to", "+2)"],
        ["mean", "-1"],
        ["A", "caption."],
    ]
    assert lines[3].startswith("  a|b"), "rows of a group are indented"


def test_markdown_has_all_columns_and_intervals() -> None:
    assert markdown_table(TABLE) == (
        "| who | plain | change | wide |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| **first** |  |  |  |\n"
        "| a\\|b | 1 (0 to 2) | +1 (+0 to +2) | w |\n"
        "| **mean** |  | -1 |  |\n"
    )


def test_html_has_all_columns_and_the_notes() -> None:
    environment = {"date": "today", "samadapt": "1"}
    report = Report(benchmark="toy", title="T", environment=environment, tables=(TABLE,))
    page = Page(render_report(report))
    assert "who plain change wide" in page.words
    assert "first of two" in page.words
    assert "A note." in page.words
    assert "A caption." not in page.words
    assert len(page.all("small")) == 2
    assert len(page.all("td", "better")) == len(page.all("td", "worse")) == 1
    assert [row["class"] for row in page.all("tr") if "class" in row] == [
        "heading",
        "plain",
        "average",
    ]


@pytest.mark.parametrize(
    ("span", "higher", "expected"),
    [
        ((0.1, 0.2), True, "better"),
        ((0.1, 0.2), False, "worse"),
        ((-0.2, -0.1), False, "better"),
        ((-0.1, 0.1), True, ""),
        ((0.0, 0.1), True, ""),
        (None, True, ""),
    ],
)
def test_verdicts(span: tuple[float, float] | None, higher: bool, expected: str) -> None:
    assert verdict_of(span, higher) == expected


def test_numbers() -> None:
    assert (format_seconds(0.0421), format_seconds(1.5)) == ("42 ms", "1.50 s")
    assert percent(0.5, (0.25, 0.755)) == Cell("50.0", "25.0 to 75.5")
    assert percent(None, (0.1, 0.2)) == Cell()
