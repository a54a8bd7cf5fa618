"""The HTML report of one interactive result, or of several side by side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from samadapt.benchmark.interactive.pictures import crop_around, draw
from samadapt.benchmark.interactive.plots import Goal, result_plots
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.interactive.tables import labels, summary_rows, summary_table
from samadapt.benchmark.report import AnnotatedObject, Card, Gallery, Report
from samadapt.benchmark.tables import Row
from samadapt.data.coco import CocoDataset
from samadapt.errors import DataError
from samadapt.metrics import clicks_to_reach

Part = tuple[str, Sequence[Hashable]]
"""Title of a group of objects, and their keys."""

_MOST_FIRST, _MOST_WORST = 40, 12
"""Numbers of objects with pictures: the first ones in the order of visits, and the worst others."""
_TILES = ("NoC20@90", "FR20@90", "IoU@1", "Time per click")


def interactive_report(
    results: Sequence[InteractiveResult],
    dataset: CocoDataset | None = None,
    title: str | None = None,
    parts: Sequence[Part] | None = None,
) -> Report:
    """Return the report of one result, or of several on the same data side by side.

    Args:
        results: in the order in which they are shown; for two results the change from the first
            to the second is shown too.
        dataset: of the images and reference masks; None leaves the pictures out.
        title: heading; the dataset's name when left out.
        parts: titles of groups of objects with pictures, and the objects' keys; the first ones and
            the worst of the others if left out.

    Raises:
        DataError: no result.
        ImageError: an image that cannot be read any more.
    """
    if not results:
        raise DataError("no result to report: give at least one")
    names = labels(results)
    goal = _goal(results)
    parts = _chosen(results) if parts is None else parts
    tiles = [row for row in summary_rows(results) if row.label in _TILES]
    return Report(
        benchmark="interactive",
        title=title or _title(results[0]),
        environment=results[-1].environment,
        headlines=(_headline(results, goal),),
        warnings=tuple(_warnings(results)),
        tiles=tuple(Row(r.label, r.cells[: len(results)], r.meaning) for r in tiles),
        tables=(summary_table(results),),
        legend=tuple(names),
        plots=tuple(result_plots(results, goal)),
        gallery=None if dataset is None else _gallery(results, dataset, parts, goal),
        facts=tuple(
            fact
            for name, result in zip(names, results, strict=True)
            for fact in (
                (f"{name}: environment", result.environment),
                (f"{name}: protocol", {**result.protocol, "time": result.timing}),
            )
        ),
    )


def _title(result: InteractiveResult) -> str:
    source = Path(str(result.protocol.get("dataset", {}).get("masks", "")))
    name = source.parent.name if source.suffix == ".json" else source.name
    return name or source.stem or "Interactive benchmark"


def _goal(results: Sequence[InteractiveResult]) -> Goal:
    """Return IoU 0.90 within 20 clicks, or less if a run had smaller limits."""
    protocols = [result.protocol for result in results]
    return Goal(
        min([0.90, *(float(protocol["stop_at"]) for protocol in protocols)]),
        min([20, *(int(protocol["max_clicks"]) for protocol in protocols)]),
    )


def _headline(results: Sequence[InteractiveResult], goal: Goal) -> str:
    """Return the most important finding as one sentence."""
    needed = [[clicks_to_reach(row.ious, *goal) for row in result.objects] for result in results]
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


def _warnings(results: Sequence[InteractiveResult]) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for name, result in zip(labels(results), results, strict=True):
        if count := len(result.skipped):
            by = f" by {name}" if len(results) > 1 else ""
            text = f"{count} image{'s' if count > 1 else ''} could not be evaluated{by}."
            found.append((text, tuple(skip.reason for skip in result.skipped[:5])))
    return found


def _chosen(results: Sequence[InteractiveResult]) -> list[Part]:
    """Return the first objects, and the worst of the others."""
    rows = results[-1].objects
    first, rest = rows[:_MOST_FIRST], rows[_MOST_FIRST:]
    worst = sorted(rest, key=lambda row: (row.ious[-1], -len(row.clicks)))[:_MOST_WORST]
    title = "All objects" if not rest else f"The first {len(first)} objects of {len(rows)}"
    return [
        (f"{title}, in the order of visits", [row.key for row in first]),
        (f"The {len(worst)} hardest of the others", [row.key for row in worst]),
    ]


def _gallery(
    results: Sequence[InteractiveResult],
    dataset: CocoDataset,
    parts: Sequence[Part],
    goal: Goal,
) -> Gallery:
    cards = _cards(results, dataset, {key for _, keys in parts for key in keys}, goal)
    shown = [(title, tuple(cards[key] for key in keys)) for title, keys in parts if keys]
    return Gallery(tuple(shown), goal.iou)


def _cards(
    results: Sequence[InteractiveResult], dataset: CocoDataset, keys: set[Hashable], goal: Goal
) -> dict[Hashable, Card]:
    """Return cards by object; each image is read once."""
    names = labels(results) if len(results) > 1 else [""]
    found: list[dict[Hashable, ObjectResult]] = [
        {row.key: row for row in result.objects if row.key in keys} for result in results
    ]
    numbers = {row.key: number for number, row in enumerate(results[-1].objects, 1)}
    images: dict[Any, list[ObjectResult]] = {}
    for row in found[-1].values():
        images.setdefault(row.image_id, []).append(row)
    cards: dict[Hashable, Card] = {}
    for image_id, rows in images.items():
        pixels = dataset.read_image(image_id)
        for row in rows:
            runs = [
                (name, by_key[row.key])
                for name, by_key in zip(names, found, strict=True)
                if row.key in by_key
            ]
            reference = dataset.mask(row.annotation_id)
            crop = crop_around(reference, [run for _, run in runs])
            cards[row.key] = Card(
                numbers[row.key],
                row.image,
                row.category,
                row.annotation_id,
                tuple(
                    AnnotatedObject(
                        name,
                        len(run.clicks),
                        run.ious[-1],
                        clicks_to_reach(run.ious, goal.iou, len(run.ious)).reached,
                        draw(pixels, reference, run, crop),
                    )
                    for name, run in runs
                ),
            )
    return cards
