"""Results of the adaptation benchmark in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samadapt.benchmark.adaptation import MAIN, AdaptationResult, Average, CourseResult
from samadapt.benchmark.compare import Estimate
from samadapt.benchmark.formats import (
    UNKNOWN,
    format_change,
    format_reduction,
    format_seconds,
    format_value,
    verdict,
)
from samadapt.benchmark.summary import MEASURES, SECONDS

if TYPE_CHECKING:
    from rich.table import Table

REDUCED = tuple(measure for measure in MEASURES if measure.key in ("fr20@85", "fr30@90"))
"""The failure rates whose relative reductions are shown."""
_STYLES = {"better": "green", "worse": "red", "": ""}


@dataclass(frozen=True, slots=True)
class Line:
    """One course, or an average over courses, ready to show.

    Attributes:
        title: which course.
        visits: how many objects, all seeds together; "" for an average.
        frozen, adapted: NoC20@85.
        change: of NoC20@85, with its interval.
        verdict: of that.
        rates: FR20@85 and FR30@90, "frozen → adapted"; "" for an average.
        reductions: relative ones of FR20@85 and FR30@90, with intervals.
        seconds: per click, "frozen → adapted"; "" for an average.
        is_average: whether it is one.
    """

    title: str
    visits: str
    frozen: str
    adapted: str
    change: str
    verdict: str
    rates: tuple[str, ...]
    reductions: tuple[str, ...]
    seconds: str
    is_average: bool = False


def lines_of(result: AdaptationResult, adapter: str) -> list[Line]:
    """The courses of an adapter, each kind with its average."""
    rows = [row for row in result.rows if row.adapter == adapter]
    averages = {row.kind: row for row in result.averages if row.adapter == adapter}
    found: list[Line] = []
    for kind in dict.fromkeys(row.course.kind for row in rows):
        found += [_line(row) for row in rows if row.course.kind == kind]
        if kind in averages:
            found.append(_average_line(averages[kind]))
    return found


def adaptation_tables(result: AdaptationResult) -> Iterator[Table]:
    """One table per adapter: its courses against the frozen model, in 80 columns."""
    from rich.table import Table
    from rich.text import Text

    seeds: Sequence[int] = result.options["seeds"]
    for adapter in result.adapters:
        title = f"{adapter} against frozen, {len(seeds)} seed{'s' if len(seeds) != 1 else ''}"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        table.add_column("NoC20@85", justify="right")
        table.add_column("change (95 % interval)")
        for measure in REDUCED:
            table.add_column(f"{measure.label}\nreduced", justify="right")
        for line in lines_of(result, adapter):
            values = f"{line.frozen} → {line.adapted}" if line.frozen else ""
            table.add_row(
                Text(line.title, style="bold" if line.is_average else ""),
                values,
                Text(line.change, style=_STYLES[line.verdict]),
                *(text.partition(" (")[0] for text in line.reductions),
            )
        averages = [line for line in lines_of(result, adapter) if line.is_average]
        table.caption = Text("\n".join(map(_in_words, averages)))
        table.caption_justify = "left"
        yield table


def _line(row: CourseResult) -> Line:
    found = row.comparison
    change = found.change[MAIN.key]
    return Line(
        row.course.title,
        str(found.visits),
        format_value(MAIN, _value(found.frozen[MAIN.key])),
        format_value(MAIN, _value(found.adapted[MAIN.key])),
        _change(change),
        row.verdict,
        tuple(
            " → ".join(
                format_value(measure, _value(side[measure.key])).removesuffix(" %")
                for side in (found.frozen, found.adapted)
            )
            + " %"
            for measure in REDUCED
        ),
        tuple(format_reduction(found.reduction[measure.key]) for measure in REDUCED),
        " → ".join(format_seconds(_value(s[SECONDS])) for s in (found.frozen, found.adapted)),
    )


def _average_line(row: Average) -> Line:
    change = row.change[MAIN.key]
    reductions = [row.reduction[measure.key] for measure in REDUCED]
    return Line(
        "average" if row.kind == "sequential" else f"average, {row.kind.replace('-', ' ')}",
        "",
        "",
        "",
        _change(change and change[0]),
        "" if change is None else verdict(MAIN, change[0].interval),
        ("",) * len(REDUCED),
        tuple(format_reduction(found and found[0]) for found in reductions),
        "",
        is_average=True,
    )


def _in_words(line: Line) -> str:
    """The reductions of an average with their intervals."""
    parts = [f"{m.label} {text}" for m, text in zip(REDUCED, line.reductions, strict=True)]
    return f"{line.title}, relative reduction: {', '.join(parts)}"


def _change(change: Estimate | None) -> str:
    return UNKNOWN if change is None else format_change(MAIN, change.value, change.interval)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
