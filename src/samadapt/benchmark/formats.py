"""How the numbers of a summary are shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from samadapt.benchmark.compare import FAILURES, Estimate, compare_frozen
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


def labels(results: Sequence[InteractiveResult]) -> list[str]:
    """What to call results side by side: where some adapt, the others are frozen."""
    adapts = [bool(result.environment.get("adapters")) for result in results]
    return [
        f"{result.name}, frozen" if any(adapts) and not own else result.name
        for result, own in zip(results, adapts, strict=True)
    ]


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
            tuple(format_seconds(value) for value in seconds),
            tuple(f"{format_seconds(s[0])} to {format_seconds(s[1])}" if s else "" for s in spans),
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
        format_change(measure, change, span),
        verdict(measure, span),
    )


def reduction_lines(results: Sequence[InteractiveResult]) -> list[str]:
    """With two results: by how much the second fails on fewer objects, relative to the first."""
    if len(results) != 2:
        return []
    first, second = (result.protocol for result in results)
    if any(first[key] != second[key] for key in ("max_clicks", "stop_at")):
        return []
    if not set(results[0].curves) & set(results[1].curves):
        return []
    found = compare_frozen(results[0], results[1]).reduction
    return [
        f"relative reduction of {measure.label}: {format_reduction(found[measure.key])}"
        for measure in FAILURES
        if found[measure.key] is not None
    ]


def format_reduction(reduction: Estimate | None) -> str:
    """A relative reduction with its interval, such as "48.1 % (40.2 to 55.0)"."""
    if reduction is None:
        return UNKNOWN
    text = f"{reduction.value * 100:.1f} %"
    if reduction.interval is None:
        return text
    low, high = reduction.interval
    return f"{text} ({low * 100:.1f} to {high * 100:.1f})"


def verdict(measure: Measure, span: Interval | None) -> str:
    """What a change's interval says: "better", "worse", or "" when it holds 0."""
    if span is None or span[0] <= 0 <= span[1]:
        return ""
    return "better" if (span[0] > 0) == measure.is_higher_better else "worse"


def format_change(measure: Measure, change: float, span: Interval | None) -> str:
    """A change with its interval, such as "-1.20 (-1.50 to -0.90)"."""
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


def format_seconds(value: float | int | None) -> str:
    """Milliseconds below a second."""
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
