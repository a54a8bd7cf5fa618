"""The table and the HTML report of the robustness benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.formats import format_seconds, percent, verdict_of
from samadapt.benchmark.plots import SQUARE, Drawing, Line, Plot
from samadapt.benchmark.report import Report
from samadapt.benchmark.robustness.result import (
    CLICK,
    METRICS,
    OBJECTS,
    RobustnessResult,
    RobustnessRow,
    RobustObject,
)
from samadapt.benchmark.tables import Cell, Column, Row, Table

_LINES = ("alpha 1, moved features", "alpha 2, plain features")
_BINS = 8
_FEWEST = 5
"""Smallest number of prompts in a bin that is drawn."""


def robustness_table(result: RobustnessResult) -> Table:
    """Return the table: adapters down, kinds of prompts across, a group per metric, in per cent."""
    kinds = result.protocol["prompts"]
    rows: list[Row] = []
    for metric, meaning in METRICS.items():
        label, _, words = meaning.partition(", ")
        rows.append(Row(label, meaning=words, kind="heading"))
        rows += [
            Row(row.name, tuple(_cell(row, f"{metric}@{kind}") for kind in kinds))
            for row in result.rows
        ]
    times = [
        f"{r.name} {format_seconds(r.summary[CLICK])}" for r in result.rows if r.summary[CLICK]
    ]
    caption = (f"time per click: {', '.join(times)}",) if times else ()
    objects = result.rows[0].summary[OBJECTS]
    return Table(
        f"{objects} objects, {result.protocol['draws']} prompts of each kind, in per cent",
        tuple(Column(kind) for kind in kinds),
        tuple(rows),
        notes=tuple(f"{line} (median of single answers, close-ups included)" for line in caption),
        caption=caption,
    )


def robustness_report(result: RobustnessResult) -> Report:
    """Return the report: the table, and the plots of routers."""
    return Report(
        benchmark="robustness",
        title=f"Sloppy prompts: {result.environment['model']['name']}",
        environment=result.environment,
        note="All rows answered the same prompts. Colours mark mean changes per object from the "
        "frozen model whose 95 % bootstrap interval over images does not contain 0.",
        tables=(robustness_table(result),),
        legend=_LINES,
        plots_title="Router weights by quality of the prompts",
        plots=tuple(_plots(result)),
        facts=(("Environment", result.environment), ("Options", result.protocol)),
    )


def _cell(row: RobustnessRow, key: str) -> Cell:
    _, span = row.changes.get(key, (0.0, None))
    return percent(row.summary[key], row.intervals.get(key), verdict_of(span, True))


def _plots(result: RobustnessResult) -> list[Plot]:
    """Return the plots of every row with a router."""
    found = []
    for number, row in enumerate(result.rows):
        if any(a.alphas for thing in row.objects for a in thing.answers.values()):
            kinds = result.protocol["prompts"]
            svg = _alphas_by_kind(row.objects, kinds).svg(f"kind{number}")
            found.append(Plot(f"{row.name}: alpha by kind of prompt", svg))
            by_quality = _alphas_by_quality(row.objects)
            if by_quality is not None:
                svg = by_quality.svg(f"box{number}")
                found.append(Plot(f"{row.name}: alpha by quality of the box", svg))
    return found


def _alphas_by_kind(objects: Sequence[RobustObject], kinds: Sequence[str]) -> Drawing:
    """Draw the mean alpha per kind of prompt, with the middle half of all prompts as a band."""
    places = range(len(kinds))
    values = [_alphas(objects, kind) for kind in kinds]
    bands = [np.quantile(v, [0.25, 0.75], axis=0) for v in values]
    lines = [
        Line(
            places,
            [float(v[:, index].mean()) for v in values],
            [(float(low[index]), float(high[index])) for low, high in bands],
        )
        for index in (0, 1)
    ]
    drawing = Drawing("kind of prompt", "alpha", SQUARE)
    drawing.lines(lines, markers=True)
    drawing.axes.set_xticks(list(places), list(kinds))
    return drawing


def _alphas_by_quality(objects: Sequence[RobustObject]) -> Drawing | None:
    """Draw the mean alpha against the IoU of the given box with the exact one; None without."""
    from matplotlib.ticker import MaxNLocator

    pairs = [
        (quality, *alpha)
        for thing in objects
        for answers in thing.answers.values()
        for quality, alpha in zip(answers.quality, answers.alphas, strict=False)
    ]
    table = np.array(pairs).reshape(-1, 3)
    if not len(table):
        return None
    edges = np.linspace(min(table[:, 0].min(), 0.9), 1.0, _BINS + 1)
    bins = [table[(table[:, 0] >= low) & (table[:, 0] <= high)] for low, high in pairwise(edges)]
    kept = [b.mean(axis=0) for b in bins if len(b) >= min(_FEWEST, len(table))]
    means = np.array(kept).reshape(-1, 3)
    drawing = Drawing("IoU of the given box with the exact box", "alpha", SQUARE)
    drawing.axes.xaxis.set_major_locator(MaxNLocator())
    x, *columns = means.T.tolist()
    drawing.lines([Line(x, y) for y in columns], markers=True)
    return drawing


def _alphas(objects: Sequence[RobustObject], kind: str) -> NDArray[np.float64]:
    """Return (N, 2) of all draws of all objects."""
    return np.array([pair for thing in objects for pair in thing.answers[kind].alphas])
