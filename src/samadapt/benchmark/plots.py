"""Plots of benchmark results as SVG that takes its colours from the page it stands in.

The page also says which line is which: lines are in the colours `--series-1`, `--series-2`, ...
and differ in their dashes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from samadapt.benchmark.results import InteractiveResult
from samadapt.metrics import bootstrap_interval, clicks_to_reach, iou_after

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--series-1)",
    "#050505": "var(--series-2)",
    "#060606": "var(--series-3)",
    "#070707": "var(--series-4)",
    "#080808": "var(--series-5)",
    "#090909": "var(--series-6)",
}
"""Stand-ins that no plot needs as real colours, and the page's variables they become."""

_INK, _MUTED, _LINE, *_SERIES = _COLOURS
_HALF, _LOW, _WIDE = (5.6, 3.5), (5.6, 2.4), (11.8, 2.2)
"""Sizes of a figure, in inches: half the page wide, the same but lower, all of the page wide."""

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))


def clicks_versus_iou(results: Sequence[InteractiveResult], max_clicks: int) -> str:
    """Mean IoU after each click, with the 95 % interval over images, as SVG."""
    figure, axes = _axes("clicks", "mean IoU", _HALF if len(results) == 1 else _LOW)
    clicks = list(range(1, max_clicks + 1))
    lowest = 1.0
    for index, result in enumerate(results):
        curves = [row.ious for row in result.objects]
        groups = [row.image_id for row in result.objects]
        means = [iou_after(curves, k) for k in clicks]
        colour = _colour(index)
        lowest = min(lowest, *means)
        if len(set(groups)) > 1:
            spans = [
                bootstrap_interval([iou_after([c], k) for c in curves], groups=groups)
                for k in clicks
            ]
            lowest = min(lowest, *(low for low, _ in spans))
            axes.fill_between(clicks, *np.transpose(spans), color=colour, alpha=0.15, linewidth=0)
        axes.plot(clicks, means, color=colour, linestyle=_dash(index), linewidth=2)
    targets = [float(target) for target in results[0].protocol.get("targets", ())]
    for target in targets:
        axes.axhline(target, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set_ylim(max(0.0, math.floor(lowest * 10) / 10 - 0.1), 1.0)
    axes.set_xlim(1, max(2, max_clicks))
    axes.set_xticks(_ticks(max_clicks))
    return _svg(figure, "iou")


def clicks_distribution(
    results: Sequence[InteractiveResult], target: float, max_clicks: int
) -> str:
    """How many objects needed 1, 2, ... clicks to reach `target`, and how many never did."""
    figure, axes = _axes(f"clicks to IoU {target:.2f}", "share of objects", _WIDE)
    width = 0.8 / len(results)
    places = [*range(1, max_clicks + 1), max_clicks + 2]
    for index, result in enumerate(results):
        counts = np.zeros(max_clicks + 1)
        for row in result.objects:
            needed = clicks_to_reach(row.ious, target, max_clicks)
            counts[needed.clicks - 1 if needed.reached else max_clicks] += 1
        axes.bar(
            np.array(places) - 0.4 + width * (index + 0.5),
            counts / len(result.objects),
            width,
            color=_colour(index),
        )
    shown = _ticks(max_clicks)
    axes.set_xticks([*shown, places[-1]], [*(str(k) for k in shown), "never"])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.0f} %")
    return _svg(figure, "noc")


def learning_curve(results: Sequence[InteractiveResult], target: float, max_clicks: int) -> str:
    """Clicks per object against objects annotated so far, one line per result."""
    return learning_curves([[result] for result in results], target, max_clicks)


def learning_curves(
    series: Sequence[Sequence[InteractiveResult]],
    target: float,
    max_clicks: int,
    name: str = "learning",
) -> str:
    """Clicks per object against objects annotated so far, running means, as SVG.

    Args:
        series: one line each; of several runs, as with several seeds, the mean is drawn.
        target: the IoU to reach.
        max_clicks: counted for an object that does not reach it.
        name: of the plot, unique in its page.
    """
    count = max(len(run.objects) for runs in series for run in runs)
    window = min(max(3, count // 8), 50)
    figure, axes = _axes(f"objects annotated (mean of the last {window})", "clicks/object", _LOW)
    for index, runs in enumerate(series):
        clicks = [
            [clicks_to_reach(row.ious, target, max_clicks).clicks for row in run.objects]
            for run in runs
        ]
        seen, means = running_mean(clicks, window)
        axes.plot(seen, means, color=_colour(index), linestyle=_dash(index), linewidth=2)
    axes.set_ylim(bottom=0)
    return _svg(figure, name)


def running_mean(runs: Sequence[Sequence[float]], window: int) -> tuple[list[int], list[float]]:
    """Mean of the last `window` values, and over runs, after each value that all runs have.

    Returns:
        (counts, means): after so many values, from the first full window on.
    """
    length = min(len(run) for run in runs)
    window = min(window, length)
    counts = list(range(window, length + 1))
    return counts, [
        float(np.mean([np.mean(run[count - window : count]) for run in runs])) for count in counts
    ]


def _ticks(max_clicks: int) -> list[int]:
    """The first click and every few more."""
    step = max(1, round(max_clicks / 5))
    return [k for k in range(1, max_clicks + 1) if k == 1 or k % step == 0]


def _colour(index: int) -> str:
    """The stand-in for the colour of a line."""
    return _SERIES[index % len(_SERIES)]


def _dash(index: int) -> str | tuple[int, tuple[float, ...]]:
    """Lines differ in dashes as well, for those who do not see the colours."""
    return _DASHES[index % len(_DASHES)]


def _axes(x: str, y: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of its own: `pyplot` would keep it in a global list."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    axes.tick_params(colors=_MUTED, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)
    return figure, axes


def _svg(figure: Figure, prefix: str) -> str:
    """The figure as one `<svg>` element that can stand in a page beside others."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", text, count=1)
    for stand_in, variable in _COLOURS.items():
        text = text.replace(stand_in, variable)
    return text
