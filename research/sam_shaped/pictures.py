"""A picture per claim: `python -m research.sam_shaped.pictures --results R --out docs/images`.

Draws what `research.sam_shaped.claims` has measured: `papers-prompts-noise.svg` (Stable-SAM),
`papers-router.svg` (its router), `papers-clicks.svg` (Schön et al.) and `papers-tasks.svg`
(Kim et al.). A claim that has not been measured gets no picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from research.sam_shaped.claim_tables import row_name
from research.sam_shaped.plan import KINDS, PHOTOGRAPHS
from samadapt.data.files import replacing

Groups: TypeAlias = Mapping[str, Sequence[float]]
"""Heights of the bars of each series, one per place."""

SAM, STABLE_SAM = (79.5, 48.8, 43.3, 78.7), (None, 82.3, 76.9, 84.0)
"""mIoU of box, noisy box, one and three points in the Stable-SAM paper (arXiv 2311.15776)."""
_COLOURS = ("#8a8f98", "#2f6db5", "#d9822b", "#3d9a57", "#8b5fbf", "#b5443c", "#4f9da6")


def noise(results: Path, nano: Path) -> Figure | None:
    """MIoU by kind of prompt: the paper, the base with and without adapter, and nano."""
    frozen = _rows(results, "stable") or _rows(results, "brittle")
    if not frozen:
        return None
    groups: dict[str, Sequence[float]] = {
        "SAM, in the paper": SAM,
        "Stable-SAM, in the paper": [np.nan if v is None else v for v in STABLE_SAM],
    }
    groups |= {f"base, {name}": values for name, values in frozen.items()}
    rows = _rows(nano, "stable") or _rows(nano, "brittle")
    groups |= {f"nano, {name}": values for name, values in rows.items() if name == "frozen"}
    figure, axes = _figure("mIoU in per cent")
    _bars(axes, KINDS, groups)
    return figure


def router(results: Path, nano: Path) -> Figure | None:
    """alpha1 of the router against the IoU of the drawn box with the true one."""
    found = [_read(results / f"stable-{name}.json") for name in PHOTOGRAPHS]
    quality, alpha = [], []
    for result in found:
        for one in (result or {}).get("objects", ()):
            for kind, drawn in one["box_iou"].items():
                pairs = one["alphas"].get(kind, ())
                quality += drawn[: len(pairs)]
                alpha += [pair[0] for pair in pairs][: len(drawn)]
    if not alpha:
        return None
    figure, axes = _figure("alpha1, weight of the moved features")
    axes.scatter(quality, alpha, s=9, color=_COLOURS[1], alpha=0.6, linewidths=0)
    axes.set_xlabel("IoU of the drawn box with the exact one")
    return figure


def clicks(results: Path, nano: Path) -> Figure | None:
    """NoC20@85 by domain: frozen, the paper's rule and our default."""
    result = _read(results / "online.json")
    if result is None:
        return None
    names = list(dict.fromkeys(one["dataset"] for one in result["results"]))
    groups: dict[str, list[float]] = {}
    for one in result["results"]:
        for label, part in (("frozen", "frozen"), (one["adapter"], "adapted")):
            values = groups.setdefault(label, [np.nan] * len(names))
            values[names.index(one["dataset"])] = one[part]["noc20@85"]["value"]
    figure, axes = _figure("clicks to an IoU of 0.85, at most 20")
    _bars(axes, names, groups)
    return figure


def tasks(results: Path, nano: Path) -> Figure | None:
    """MIoU of one point by method, taught from most masks, for every task."""
    names, groups = list[str](), dict[str, dict[str, float]]()
    for path in sorted(results.glob("prompts-*.json")):
        result = _read(path) or {}
        shots = max(result["summary"], key=int)
        name = path.stem.removeprefix("prompts-").replace("_", " ")
        names.append(f"{name}\n{shots} masks")
        for method, summary in result["summary"][shots].items():
            groups.setdefault(method, {})[names[-1]] = 100 * summary["miou@1p"]
    if not names:
        return None
    figure, axes = _figure("mIoU of one point, in per cent")
    _bars(axes, names, {m: [v.get(n, np.nan) for n in names] for m, v in groups.items()})
    return figure


PICTURES: Mapping[str, Callable[[Path, Path], Figure | None]] = {
    "papers-prompts-noise": noise,
    "papers-router": router,
    "papers-clicks": clicks,
    "papers-tasks": tasks,
}
"""By file name, without its ending."""


def _rows(results: Path, table: str) -> dict[str, list[float]]:
    """Mean mIoU over the photographs by row, for each of `KINDS`, in per cent."""
    found: dict[str, list[list[float]]] = {}
    for name in PHOTOGRAPHS:
        for row in (_read(results / f"{table}-{name}.json") or {}).get("rows", ()):
            values = [100 * row["summary"][f"miou@{kind}"] for kind in KINDS]
            found.setdefault(row_name(row["name"]), []).append(values)
    return {name: list(np.mean(values, axis=0)) for name, values in found.items()}


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_bytes()) if path.exists() else None


def _figure(label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_ylabel(label)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure, axes


def _bars(axes: Axes, places: Sequence[str], groups: Groups) -> None:
    """Bars beside each other, a series per colour, with a legend."""
    width = 0.82 / len(groups)
    for number, (name, heights) in enumerate(groups.items()):
        left = np.arange(len(places)) - 0.41 + width * (number + 0.5)
        colour = _COLOURS[number % len(_COLOURS)]
        axes.bar(left, np.array(heights, np.float64), width * 0.92, color=colour, label=name)
    axes.set_xticks(range(len(places)), list(places))
    axes.legend(frameon=False, fontsize=8, ncols=min(3, len(groups)), loc="lower center",
                bbox_to_anchor=(0.5, 1.0))  # fmt: skip


def main() -> None:
    """Draw all pictures that have results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="as for the tables")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for name, draw in PICTURES.items():
        figure = draw(given.results / "sam-shaped", given.results / "nano")
        if figure is not None:
            with replacing(given.out / f"{name}.svg") as file:
                figure.savefig(file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
