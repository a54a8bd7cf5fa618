"""Plots as SVG, with the colours of the surrounding page.

The page has the legend too: lines use the colours `--series-1`, `--series-2`, ... and differ in
their dashes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from samadapt.benchmark.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    **{f"#0{n + 3}0{n + 3}0{n + 3}": f"var(--series-{n})" for n in range(1, 7)},
}
"""Placeholder colours, with the page's variables that replace them."""

_INK, _MUTED, _LINE, *_SERIES = _COLOURS
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))

HALF, LOW, WIDE, SQUARE = (5.6, 3.5), (5.6, 2.4), (11.8, 2.2), (5.6, 3.2)
"""Sizes of a figure in inches: half the page's width, the same but lower, full width, higher."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of a report.

    Attributes:
        title: shown above the plot.
        svg: the plot.
        note: shown after the title.
        is_wide: whether it is as wide as the page.
    """

    title: str
    svg: str = field(repr=False)
    note: str = ""
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot, with an optional band around it (low and high of each point)."""

    x: Sequence[float]
    y: Sequence[float]
    band: Sequence[Interval] = ()


class Drawing:
    """A figure with axis labels, to draw on.

    Args:
        x, y: the labels.
        size: in inches.
    """

    def __init__(self, x: str, y: str, size: tuple[float, float]) -> None:
        self._figure, self.axes = _axes(x, y, size)

    def lines(self, lines: Sequence[Line], markers: bool = False) -> None:
        """Draw lines, each in its colour and dashes; a line of one point is drawn as a point."""
        for index, line in enumerate(lines):
            colour, dash = _SERIES[index % len(_SERIES)], _DASHES[index % len(_DASHES)]
            if line.band:
                self.axes.fill_between(
                    line.x, *np.transpose(line.band), color=colour, alpha=0.15, linewidth=0
                )
            marker = "o" if markers or len(line.x) == 1 else None
            self.axes.plot(line.x, line.y, color=colour, linestyle=dash, marker=marker, linewidth=2)

    def bars(self, x: Sequence[float], heights: Sequence[Sequence[float]]) -> None:
        """Draw bars beside each other, one series per colour."""
        width = 0.8 / len(heights)
        for index, values in enumerate(heights):
            places = np.array(x) - 0.4 + width * (index + 0.5)
            self.axes.bar(places, values, width, color=_SERIES[index % len(_SERIES)])

    def target(self, value: float) -> None:
        """Draw a thin horizontal line."""
        self.axes.axhline(value, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 3)))

    def svg(self, name: str) -> str:
        """Return the plot as one `<svg>` element."""
        return _svg(self._figure, name)


def _axes(x: str, y: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return a figure that `pyplot` does not keep in its global list."""
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
    """Return the figure as one `<svg>` element, with ids that are unique in a page."""
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
