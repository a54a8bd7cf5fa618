"""The HTML report of the robustness benchmark: tables and the router's plots in one file."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from samadapt.benchmark.rendering import render
from samadapt.benchmark.robustness_plots import (
    NAMES,
    alphas_by_kind,
    alphas_by_quality,
    has_alphas,
)
from samadapt.benchmark.robustness_summary import METRICS, RobustnessResult
from samadapt.benchmark.robustness_tables import cell_of, kinds_of, milliseconds
from samadapt.data.files import replacing


class _Plot(NamedTuple):
    title: str
    svg: Any


def write_robustness_report(path: str | os.PathLike[str], result: RobustnessResult) -> None:
    """Write the report; completely or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    text = render_robustness_report(result)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def render_robustness_report(result: RobustnessResult) -> str:
    """The report as text."""
    kinds = kinds_of(result)
    tables = [
        (title, [(row.name, [cell_of(row, f"{m}@{k}") for k in kinds]) for row in result.rows])
        for m, title in METRICS.items()
    ]
    return render(
        "robustness.html",
        result=result,
        kinds=kinds,
        tables=tables,
        clicks=[(row.name, milliseconds(row)) for row in result.rows],
        names=NAMES,
        plots=_plots(result, kinds),
        facts=[("Environment", result.environment), ("Options", result.protocol)],
    )


def _plots(result: RobustnessResult, kinds: list[str]) -> list[_Plot]:
    """For every row with a router: alpha by kind of prompt, and by how good the box was."""
    from markupsafe import Markup

    found = []
    for number, row in enumerate(result.rows):
        if not has_alphas(row.objects):
            continue
        drawn = (
            ("alpha by kind of prompt", alphas_by_kind(row.objects, kinds, f"kind{number}")),
            ("alpha by quality of the box", alphas_by_quality(row.objects, f"box{number}")),
        )
        for title, svg in drawn:
            if svg is not None:
                # Markup is text that is not escaped again: these plots are our own.
                found.append(_Plot(f"{row.name}: {title}", Markup(svg)))  # noqa: S704
    return found
