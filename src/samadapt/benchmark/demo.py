"""The demo: annotation of real images with and without adaptation, offline, in a minute or two.

The robot annotator annotates 48 objects in photographs, microscopy and astronomy images that
scikit-image installs; the reference masks are part of this package. It does so twice, with the
frozen model and with an adapter that learns, image after image and in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from samadapt.benchmark.interactive.compare import run_compared
from samadapt.benchmark.interactive.report import interactive_report
from samadapt.benchmark.interactive.result import InteractiveResult
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
    selection = Selection(seed=seed, order="image", max_objects=max_objects)

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
    report = interactive_report(results, demo_dataset(), "samadapt demo", max_pictures=60)
    write_report(out / REPORT, report)
    return results
