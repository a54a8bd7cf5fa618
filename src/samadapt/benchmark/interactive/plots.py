"""Plots of interactive results: overlap by click, clicks by object, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.plots import HALF, LOW, WIDE, Drawing, Line, Plot
from samadapt.benchmark.statistics import image_interval
from samadapt.metrics import clicks_to_reach, iou_after


class Goal(NamedTuple):
    """The IoU that an object has to reach, and the number of clicks it may take."""

    iou: float
    clicks: int


def clicks_plot(
    series: Sequence[Sequence[InteractiveResult]], goal: Goal, title: str, name: str
) -> Plot:
    """Return the learning curves: clicks per object against objects annotated so far.

    Args:
        series: one line each; the mean of several runs, such as several seeds, is drawn.
        goal: of each object.
        title: of the plot.
        name: of the plot, unique in its page.
    """
    count = max(len(run.objects) for runs in series for run in runs)
    window = min(max(3, count // 8), 50)
    drawing = Drawing(f"objects annotated (mean of the last {window})", "clicks/object", LOW)
    clicks = [
        [[clicks_to_reach(row.ious, *goal).clicks for row in run.objects] for run in runs]
        for runs in series
    ]
    lines = [Line(*running_mean(runs, window)) for runs in clicks]
    drawing.lines(lines)
    places = {place for line in lines for place in line.x}
    if len(places) == 1:
        drawing.axes.set_xlim(min(places) - 1, max(places) + 1)
    drawing.axes.set_ylim(bottom=0)
    return Plot(title, drawing.svg(name), f"clicks to IoU {goal.iou:.2f}, at most {goal.clicks}")


def running_mean(runs: Sequence[Sequence[float]], window: int) -> tuple[list[int], list[float]]:
    """Return the mean of the last `window` values, and over runs, after each value of all runs.

    Returns:
        (counts, means): number of values and mean, from the first full window on.
    """
    length = min(len(run) for run in runs)
    window = min(window, length)
    counts = list(range(window, length + 1))
    return counts, [
        float(np.mean([np.mean(run[count - window : count]) for run in runs])) for count in counts
    ]


def result_plots(results: Sequence[InteractiveResult], goal: Goal) -> list[Plot]:
    """Return all plots of one or several results."""
    most = min(int(result.protocol["max_clicks"]) for result in results)
    plots = [_iou_plot(results, most)]
    if len(results) > 1:
        title = "Clicks per object during annotation"
        plots.append(clicks_plot([[result] for result in results], goal, title, "learning"))
    return [*plots, _distribution_plot(results, goal)]


def _iou_plot(results: Sequence[InteractiveResult], max_clicks: int) -> Plot:
    """Return the mean IoU after each click, with the 95 % interval over images."""
    clicks = list(range(1, max_clicks + 1))
    lines = []
    for result in results:
        ious = [[iou_after([row.ious], k) for row in result.objects] for k in clicks]
        images = [row.image_id for row in result.objects]
        spans = [span for values in ious if (span := image_interval(values, images))]
        means = [iou_after([row.ious for row in result.objects], k) for k in clicks]
        lines.append(Line(clicks, means, spans))
    drawing = Drawing("clicks", "mean IoU", HALF if len(results) == 1 else LOW)
    drawing.lines(lines)
    for target in results[0].protocol.get("targets", ()):
        drawing.target(float(target))
    lowest = min(v for line in lines for v in (*line.y, *(low for low, _ in line.band)))
    drawing.axes.set_ylim(max(0.0, np.floor(lowest * 10) / 10 - 0.1), 1.0)
    drawing.axes.set_xlim(1, max(2, max_clicks))
    drawing.axes.set_xticks(_ticks(max_clicks))
    return Plot("Mean IoU after each click", drawing.svg("iou"))


def _distribution_plot(results: Sequence[InteractiveResult], goal: Goal) -> Plot:
    """Return the shares of objects by number of clicks, and of objects that missed the goal."""
    most = goal.clicks
    places = [*range(1, most + 1), most + 2]
    shares = []
    for result in results:
        needed = [clicks_to_reach(row.ious, *goal) for row in result.objects]
        counts = np.bincount([n.clicks - 1 if n.reached else most for n in needed], minlength=most)
        shares.append((np.pad(counts, (0, most + 1 - len(counts))) / len(needed)).tolist())
    drawing = Drawing(f"clicks to IoU {goal.iou:.2f}", "share of objects", WIDE)
    drawing.bars(places, shares)
    shown = _ticks(most)
    drawing.axes.set_xticks([*shown, places[-1]], [*(str(k) for k in shown), "never"])
    drawing.axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.0f} %")
    return Plot("Clicks needed per object", drawing.svg("noc"), is_wide=True)


def _ticks(max_clicks: int) -> list[int]:
    """Return the first click and every few more."""
    step = max(1, round(max_clicks / 5))
    return [k for k in range(1, max_clicks + 1) if k == 1 or k % step == 0]
