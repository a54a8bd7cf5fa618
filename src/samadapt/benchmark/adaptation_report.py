"""The HTML report of the adaptation benchmark: tables and learning curves in one file."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from samadapt.benchmark.adaptation import AdaptationResult, CourseResult
from samadapt.benchmark.adaptation_tables import REDUCED, lines_of
from samadapt.benchmark.formats import format_reduction
from samadapt.benchmark.plots import learning_curves
from samadapt.benchmark.rendering import render
from samadapt.data.files import replacing


class _Plot(NamedTuple):
    title: str
    target: float
    clicks: int
    svg: Any


def write_adaptation_report(path: str | os.PathLike[str], result: AdaptationResult) -> None:
    """Write the report; completely or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    text = render_adaptation_report(result)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def render_adaptation_report(result: AdaptationResult) -> str:
    """The report as text."""
    return render(
        "adaptation.html",
        result=result,
        headlines=_headlines(result),
        reduced=[measure.label for measure in REDUCED],
        tables=[(adapter, lines_of(result, adapter)) for adapter in result.adapters],
        names=["frozen", *result.adapters],
        plots=_plots(result),
        facts=[("Environment", result.environment), ("Options", result.options)],
    )


def _headlines(result: AdaptationResult) -> list[str]:
    """The most important finding per adapter, where several datasets give an average."""
    lines = []
    for row in result.averages:
        if row.kind != "sequential":
            continue
        reduced = {measure.label: row.reduction[measure.key] for measure in REDUCED}
        parts = [
            f"{label} by {format_reduction(found[0])}" for label, found in reduced.items() if found
        ]
        if parts:
            lines.append(f"{row.adapter} reduces {' and '.join(parts)} on average over datasets.")
    return lines


def _plots(result: AdaptationResult) -> list[_Plot]:
    """A learning curve per course: the frozen model, then every adapter; the mean over seeds."""
    from markupsafe import Markup

    target = min(0.85, float(result.options["stop_at"]))
    clicks = min(20, int(result.options["max_clicks"]))
    courses: dict[int, list[CourseResult]] = {}
    for row in result.rows:
        courses.setdefault(id(row.course), []).append(row)
    plots = []
    for number, rows in enumerate(courses.values()):
        series = [[frozen for frozen, _ in rows[0].runs.values()]]
        series += [[adapted for _, adapted in row.runs.values()] for row in rows]
        svg = learning_curves(series, target, clicks, f"course{number}")
        # Markup is text that is not escaped again: these plots are our own.
        plots.append(_Plot(rows[0].course.title, target, clicks, Markup(svg)))  # noqa: S704
    return plots
