"""Formatting of numbers for reports."""

from __future__ import annotations

from samadapt.benchmark.statistics import Interval
from samadapt.benchmark.tables import UNKNOWN, Cell, Verdict


def format_seconds(value: float | int | None) -> str:
    """Format a time; below a second in milliseconds."""
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def seconds_cell(value: float | int | None, span: Interval | None = None) -> Cell:
    """Return a time with its interval."""
    return Cell(format_seconds(value), " to ".join(map(format_seconds, span)) if span else "")


def percent(value: float | None, span: Interval | None = None, verdict: Verdict = "") -> Cell:
    """Return a share in per cent, without the unit, with its interval."""
    if value is None:
        return Cell()
    interval = " to ".join(f"{100 * end:.1f}" for end in span) if span else ""
    return Cell(f"{100 * value:.1f}", interval, verdict)


def verdict_of(span: Interval | None, higher_is_better: bool) -> Verdict:
    """Return "better" or "worse" by the interval of a change; "" if it contains 0."""
    if span is None or span[0] <= 0 <= span[1]:
        return ""
    return "better" if (span[0] > 0) == higher_is_better else "worse"
