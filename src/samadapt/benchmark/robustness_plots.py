"""What the router does as prompts get worse, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.plots import _axes, _colour, _dash, _svg
from samadapt.benchmark.robustness_summary import RobustObject

_SIZE = (5.6, 3.2)
_BINS = 8
_FEWEST = 5
"""Prompts in a bin below which it is not drawn."""

NAMES = ("alpha 1, moved features", "alpha 2, plain features")


def has_alphas(objects: Sequence[RobustObject]) -> bool:
    """Whether a router spoke for these objects."""
    return any(a.alphas for thing in objects for a in thing.answers.values())


def alphas_by_kind(objects: Sequence[RobustObject], kinds: Sequence[str], name: str) -> str:
    """Mean alpha per kind of prompt, with the middle half of all prompts as a band, as SVG."""
    figure, axes = _axes("kind of prompt", "alpha", _SIZE)
    places = range(len(kinds))
    values = [_alphas(objects, kind) for kind in kinds]
    for index in (0, 1):
        means = [float(v[:, index].mean()) for v in values]
        low = [float(np.quantile(v[:, index], 0.25)) for v in values]
        high = [float(np.quantile(v[:, index], 0.75)) for v in values]
        axes.fill_between(places, low, high, color=_colour(index), alpha=0.15, linewidth=0)
        axes.plot(
            places, means, color=_colour(index), linestyle=_dash(index), marker="o", linewidth=2
        )
    axes.set_xticks(list(places), list(kinds))
    return _svg(figure, name)


def alphas_by_quality(objects: Sequence[RobustObject], name: str) -> str | None:
    """Mean alpha against the IoU of the given box with the exact one, as SVG; None without any."""
    pairs = [
        (quality, *alpha)
        for thing in objects
        for answers in thing.answers.values()
        for quality, alpha in zip(answers.quality, answers.alphas, strict=False)
    ]
    if not pairs:
        return None
    from matplotlib.ticker import MaxNLocator

    table = np.array(pairs)
    edges = np.linspace(min(table[:, 0].min(), 0.9), 1.0, _BINS + 1)
    chosen = [table[(table[:, 0] >= low) & (table[:, 0] <= high)] for low, high in pairwise(edges)]
    kept = [part for part in chosen if len(part) >= min(_FEWEST, len(table))]
    figure, axes = _axes("IoU of the given box with the exact box", "alpha", _SIZE)
    axes.xaxis.set_major_locator(MaxNLocator())
    qualities = [float(part[:, 0].mean()) for part in kept]
    for index in (1, 2):
        means = [float(part[:, index].mean()) for part in kept]
        axes.plot(
            qualities,
            means,
            color=_colour(index - 1),
            linestyle=_dash(index - 1),
            marker="o",
            linewidth=2,
        )
    return _svg(figure, name)


def _alphas(objects: Sequence[RobustObject], kind: str) -> NDArray[np.float64]:
    """(N, 2) of all draws of all objects."""
    return np.array([pair for thing in objects for pair in thing.answers[kind].alphas])
