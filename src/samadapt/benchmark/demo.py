"""The demo: annotation of real images with and without adaptation, offline, in a few minutes.

The robot annotator does what a person would: one kind of image after the other, 40 galaxies, some
coins, and at last objects in six photographs, all in images that scikit-image installs; the
reference masks are part of this package. It does so twice, with the frozen model and with an
adapter that learns, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from itertools import takewhile
from pathlib import Path

from samadapt.benchmark.interactive.compare import run_compared
from samadapt.benchmark.interactive.report import Part, interactive_report
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.interactive.run import PROTOCOL, run_interactive
from samadapt.benchmark.options import Progress, Selection
from samadapt.benchmark.report import write_report
from samadapt.data.coco import CocoDataset
from samadapt.data.datasets import open_dataset
from samadapt.errors import DataError, SamadaptError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams

REPORT = "report.html"
RESULT = "frozen.json"
ADAPTED = "adapted.json"
SECONDS_PER_CLICK = 3.0
"""Time of a person's click, for the minutes that are saved: an assumption, and named as such."""
_FEW = 10


def demo_dataset() -> CocoDataset:
    """Return the demo's images, which scikit-image installs, with their reference masks.

    Raises:
        DataError: the installed scikit-image lacks one of the images.
    """
    folder = Path(str(resources.files("skimage") / "data"))
    with resources.as_file(resources.files("samadapt.benchmark") / "demo_data") as data:
        dataset = open_dataset(folder, data / "objects.json")
    try:
        dataset.check_images()
    except DataError as error:
        raise DataError(
            f"the installed scikit-image lacks an image of the demo ({error}): "
            "install the version in constraints.txt"
        ) from None
    return dataset


def demo_results(
    model: SegmentationModel,
    seed: int = 0,
    max_objects: int | None = None,
    progress: Progress | None = None,
    adapter: str | None = None,
) -> list[InteractiveResult]:
    """Annotate the demo's objects with the standard protocol.

    Objects are visited image by image, in an order that depends on the seed alone.

    Returns:
        The frozen model's result, and the adapter's unless it is None.

    Raises:
        AdapterError: an unknown adapter, or one made for another model.
    """
    dataset = demo_dataset()
    selection = Selection(seed=seed, order="file", max_objects=max_objects)

    def run(adapters: Sequence[str | Seams], told: Progress | None) -> InteractiveResult:
        return run_interactive(dataset, model, PROTOCOL, adapters, selection, progress=told)

    if adapter is None:
        return [run((), progress)]
    adapted = run_compared(run, [adapter], progress)
    return [*filter(None, [adapted.frozen]), adapted]


def run_demo(
    out: Path,
    model: SegmentationModel,
    seed: int = 0,
    max_objects: int | None = None,
    adapter: str | None = None,
    progress: Progress | None = None,
) -> list[InteractiveResult]:
    """Run the demo, write JSON results and an HTML report to `out`, and return the results.

    Args:
        out: folder; created if it is missing.
        model: answers the robot's clicks.
        seed: of the order of objects.
        max_objects: largest number of objects; None for all.
        adapter: compared with the frozen model; None runs the frozen model alone.
        progress: called after every object.

    Raises:
        SamadaptError: the folder cannot be created or written to, or as `demo_results`.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamadaptError(
            f"cannot create the folder {out} ({error.strerror}): choose another with --out"
        ) from None
    results = demo_results(model, seed, max_objects, progress, adapter)
    for name, result in zip((RESULT, ADAPTED), results, strict=False):
        result.save(out / name)
    report = interactive_report(results, demo_dataset(), "samadapt demo", _pictured(results[-1]))
    told = (*report.headlines, *savings(results))
    write_report(out / REPORT, replace(report, headlines=told))
    return results


def savings(results: Sequence[InteractiveResult]) -> list[str]:
    """Return sentences on what adaptation saved; none without an adapter.

    They give the clicks on all objects, and on the first and the last ten of the first kind.
    """
    if len(results) < 2:
        return []
    clicks = [[len(row.clicks) for row in result.objects] for result in results]
    frozen, adapting = map(sum, clicks)
    saved = frozen - adapting
    minutes = abs(saved) * SECONDS_PER_CLICK / 60
    told = [
        f"Clicks in all: {frozen} with the frozen model, {adapting} while adapting: {abs(saved)} "
        f"{'more' if saved < 0 else 'fewer'} ({-saved / frozen:+.0%}), or {minutes:.1f} minutes at "
        f"{SECONDS_PER_CLICK:g} seconds a click."
    ]
    first = _first_kind(results[-1])
    if len(first) >= 2 * _FEW:
        pairs = [
            " → ".join(f"{sum(run[part]) / _FEW:.1f}" for run in clicks)
            for part in (slice(_FEW), slice(len(first) - _FEW, len(first)))
        ]
        told.append(
            f"The first {_FEW} of {len(first)} {first[0].category} objects: {pairs[0]} clicks each "
            f"(frozen → adapting); the last {_FEW}: {pairs[1]}."
        )
    return told


def _first_kind(result: InteractiveResult) -> list[ObjectResult]:
    """Return the objects of the image that comes first."""
    rows = result.objects
    return list(takewhile(lambda row: row.image_id == rows[0].image_id, rows))


def _pictured(result: InteractiveResult) -> list[Part]:
    """Return the objects with pictures: first and last ten of the first kind, and the others."""
    kind = _first_kind(result)
    keys = [row.key for row in result.objects]
    if len(kind) < 2 * _FEW:
        return [("All objects, in the order of visits", keys)]
    what = f"{_FEW} of {len(kind)} {kind[0].category} objects"
    return [
        (f"The first {what}", keys[:_FEW]),
        (f"The last {what}", keys[len(kind) - _FEW : len(kind)]),
        ("Other kinds of images", keys[len(kind) :]),
    ]
