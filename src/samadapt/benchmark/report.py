"""The HTML report: one file with everything in it, to look at, to keep and to send."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from samadapt.benchmark.formats import labels, reduction_lines, summary_rows
from samadapt.benchmark.pictures import Picture, crop_around, draw
from samadapt.benchmark.plots import clicks_distribution, clicks_versus_iou, learning_curve
from samadapt.benchmark.rendering import render
from samadapt.benchmark.results import InteractiveResult, ObjectResult
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.errors import DataError
from samadapt.metrics import clicks_to_reach

_TILES = ("NoC20@90", "FR20@90", "IoU@1", "Time per click")


class Goal(NamedTuple):
    """What an object has to reach, and within how many clicks, to count as done."""

    iou: float
    clicks: int


@dataclass(frozen=True, slots=True)
class Shot:
    """One object as one run annotated it, with what to say about it."""

    name: str
    clicks: int
    iou: float
    reached: bool
    picture: Picture


@dataclass(frozen=True, slots=True)
class Card:
    """One object, with a shot per run."""

    number: int
    image: str
    category: str
    annotation_id: Any
    shots: tuple[Shot, ...]


def write_report(
    path: str | os.PathLike[str],
    results: Sequence[InteractiveResult],
    dataset: CocoDataset | None = None,
    *,
    title: str | None = None,
    max_pictures: int = 40,
    max_worst: int = 12,
) -> None:
    """Write the report of one result, or of several on the same data side by side.

    Args:
        path: the HTML file; written completely or not at all.
        results: in the order in which to show them; with two, the change from the first to the
            second is shown.
        dataset: where the images and reference masks are; None leaves the pictures out.
        title: heading; the dataset's name when left out.
        max_pictures: so many objects are shown, the first ones in the order of visits.
        max_worst: so many more are shown: those that the last result did worst on.

    Raises:
        DataError: no result, or the file cannot be written.
        ImageError: an image that cannot be read any more.
    """
    text = render_report(results, dataset, title, max_pictures, max_worst)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def render_report(
    results: Sequence[InteractiveResult],
    dataset: CocoDataset | None = None,
    title: str | None = None,
    max_pictures: int = 40,
    max_worst: int = 12,
) -> str:
    """The report as text; see `write_report`."""
    from markupsafe import Markup

    if not results:
        raise DataError("no result to report: give at least one")
    rows = summary_rows(results)
    goal = _goal(results)
    most = min(int(result.protocol["max_clicks"]) for result in results)
    plots = {
        "iou": clicks_versus_iou(results, most),
        "noc": clicks_distribution(results, goal.iou, goal.clicks),
    }
    if len(results) > 1:
        plots["learning"] = learning_curve(results, goal.iou, goal.clicks)
    first, worst = _chosen(results, max_pictures, max_worst)
    cards = _cards(results, dataset, [*first, *worst], goal) if dataset is not None else {}
    return render(
        "report.html",
        title=title or _title(results[0]),
        headline=_headline(results, goal),
        goal=goal,
        results=results,
        rows=rows,
        reductions=reduction_lines(results),
        tiles=[row for row in rows if row.label in _TILES],
        # Markup is text that is not escaped again: these plots are our own.
        plots={name: Markup(plot) for name, plot in plots.items()},  # noqa: S704
        first=[cards[key] for key in first if key in cards],
        worst=[cards[key] for key in worst if key in cards],
        total=len(results[0].objects),
        names=labels(results),
        facts=[
            (name, _facts(result)) for name, result in zip(labels(results), results, strict=True)
        ],
    )


def _title(result: InteractiveResult) -> str:
    source = Path(str(result.protocol.get("dataset", {}).get("masks", "")))
    name = source.parent.name if source.suffix == ".json" else source.name
    return name or source.stem or "Interactive benchmark"


def _goal(results: Sequence[InteractiveResult]) -> Goal:
    """IoU 0.90 within 20 clicks, or as much of that as all runs went for."""
    protocols = [result.protocol for result in results]
    return Goal(
        min([0.90, *(float(protocol["stop_at"]) for protocol in protocols)]),
        min([20, *(int(protocol["max_clicks"]) for protocol in protocols)]),
    )


def _headline(results: Sequence[InteractiveResult], goal: Goal) -> str:
    """The most important finding as one sentence."""
    needed = [
        [clicks_to_reach(row.ious, goal.iou, goal.clicks) for row in result.objects]
        for result in results
    ]
    clicks = [sum(n.clicks for n in found) / len(found) for found in needed]
    share = 100 * sum(n.reached for n in needed[-1]) / len(needed[-1])
    names = labels(results)
    text = (
        f"{names[-1]} reaches IoU {goal.iou:.2f} on {share:.0f} % of {len(needed[-1])} "
        f"objects within {goal.clicks} clicks, with {clicks[-1]:.1f} clicks per object"
    )
    if len(results) == 2:
        change = 100 * (clicks[1] / clicks[0] - 1)
        text += f"; {names[0]} needs {clicks[0]:.1f} ({change:+.0f} %)"
    return text + "."


def _chosen(
    results: Sequence[InteractiveResult], max_pictures: int, max_worst: int
) -> tuple[list[Hashable], list[Hashable]]:
    """Keys of the first objects and of the worst of the others."""
    rows = results[-1].objects
    first = [row.key for row in rows[:max_pictures]]
    rest = sorted(rows[max_pictures:], key=lambda row: (row.ious[-1], -len(row.clicks)))
    return first, [row.key for row in rest[:max_worst]]


def _cards(
    results: Sequence[InteractiveResult],
    dataset: CocoDataset,
    keys: Sequence[Hashable],
    goal: Goal,
) -> dict[Hashable, Card]:
    """Cards by object; each image is read once."""
    wanted = set(keys)
    found: list[dict[Hashable, ObjectResult]] = [
        {row.key: row for row in result.objects if row.key in wanted} for result in results
    ]
    numbers = {row.key: number for number, row in enumerate(results[-1].objects, 1)}
    by_image: dict[Any, list[ObjectResult]] = {}
    for row in found[-1].values():
        by_image.setdefault(row.image_id, []).append(row)
    cards: dict[Hashable, Card] = {}
    for image_id, group in by_image.items():
        pixels = dataset.read_image(image_id)
        for row in group:
            shown = [
                (name, rows[row.key])
                for name, rows in zip(labels(results), found, strict=True)
                if row.key in rows
            ]
            reference = dataset.mask(row.annotation_id)
            crop = crop_around(reference, [other for _, other in shown])
            shots = tuple(
                _shot(name, other, draw(pixels, reference, other, crop), goal)
                for name, other in shown
            )
            cards[row.key] = Card(
                numbers[row.key], row.image, row.category, row.annotation_id, shots
            )
    return cards


def _shot(name: str, row: ObjectResult, picture: Picture, goal: Goal) -> Shot:
    reached = clicks_to_reach(row.ious, goal.iou, len(row.ious)).reached
    return Shot(name, len(row.clicks), row.ious[-1], reached, picture)


def _facts(result: InteractiveResult) -> Mapping[str, Mapping[str, str]]:
    """Everything needed to run it again, as text."""
    return {
        "Environment": _flat(result.environment),
        "Protocol": _flat(result.protocol),
        "Time": _flat(result.timing),
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name} ")
        elif key == "adapters":
            flat[name] = ", ".join(str(adapter["spec"]) for adapter in value) or "none"
        elif isinstance(value, list | tuple):
            flat[name] = " ".join(str(item) for item in value)
        else:
            flat[name] = str(value)
    return flat
