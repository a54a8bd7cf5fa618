"""How the numbers of a summary are shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from samadapt.benchmark.results import InteractiveResult
from samadapt.benchmark.summary import MEASURES, SECONDS, Interval, Measure, difference

UNKNOWN = "–"  # noqa: RUF001 - an en dash is what a table shows for "nothing"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a summary table, ready to show.

    Attributes:
        label: such as "NoC20@90".
        meaning: in words.
        values: one per result.
        intervals: 95 % interval per result, "" where there is none.
        change: between two results, "" otherwise.
        verdict: "better", "worse" or "" when the change's interval holds 0.
    """

    label: str
    meaning: str
    values: tuple[str, ...]
    intervals: tuple[str, ...]
    change: str = ""
    verdict: str = ""


def summary_rows(results: Sequence[InteractiveResult]) -> list[Row]:
    """The summary table of one or several results; with two, the change from first to second."""
    rows = [_measure_row(measure, results) for measure in MEASURES]
    seconds = [result.summary[SECONDS] for result in results]
    spans = [result.intervals.get(SECONDS) for result in results]
    return [
        *rows,
        Row(
            "Time per click",
            "click to mask, learning included",
            tuple(_seconds(value) for value in seconds),
            tuple(f"{_seconds(s[0])} to {_seconds(s[1])}" if s else "" for s in spans),
        ),
    ]


def format_value(measure: Measure, value: float | int | None) -> str:
    """A summary's number with its unit."""
    if value is None:
        return UNKNOWN
    if measure.kind == "fr":
        return f"{value * 100:.1f} %"
    return f"{value:.2f}" if measure.kind == "noc" else f"{value:.3f}"


def _measure_row(measure: Measure, results: Sequence[InteractiveResult]) -> Row:
    values = [result.summary[measure.key] for result in results]
    spans = [result.intervals.get(measure.key) for result in results]
    row = Row(
        measure.label,
        measure.meaning,
        tuple(format_value(measure, value) for value in values),
        tuple(_interval(measure, span) for span in spans),
    )
    if len(results) != 2 or None in values:
        return row
    found = difference(measure, results[0].curves, results[1].curves)
    if found is None:
        return row
    change, span = found
    return Row(
        row.label,
        row.meaning,
        row.values,
        row.intervals,
        _change(measure, change, span),
        _verdict(measure, span),
    )


def _verdict(measure: Measure, span: Interval | None) -> str:
    if span is None or span[0] <= 0 <= span[1]:
        return ""
    return "better" if (span[0] > 0) == measure.is_higher_better else "worse"


def _change(measure: Measure, change: float, span: Interval | None) -> str:
    text = _signed(measure, change)
    return text if span is None else f"{text} ({_signed(measure, span[0], span[1])})"


def _signed(measure: Measure, *values: float) -> str:
    factor, places, unit = {"noc": (1, 2, ""), "fr": (100, 1, " pp"), "iou": (1, 3, "")}[
        measure.kind
    ]
    return " to ".join(f"{value * factor:+.{places}f}" for value in values) + unit


def _interval(measure: Measure, span: Interval | None) -> str:
    if span is None:
        return ""
    low, high = (format_value(measure, value) for value in span)
    return f"{low.removesuffix(' %')} to {high}"


def _seconds(value: float | int | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
