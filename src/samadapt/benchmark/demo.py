"""The demo: the main job on real pictures, offline, in a minute or two.

The robot annotator clicks its way through 48 objects in photographs, microscopy and astronomy
that scikit-image installs; the reference masks are part of this package. It does so twice, with
the model frozen and with an adapter that learns, image after image and in the same order.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samadapt.benchmark.compare import run_compared
from samadapt.benchmark.interactive import PROTOCOL, Progress, run_interactive
from samadapt.benchmark.report import write_report
from samadapt.benchmark.results import InteractiveResult
from samadapt.data.coco import CocoDataset
from samadapt.data.datasets import open_dataset
from samadapt.errors import DataError, SamadaptError

if TYPE_CHECKING:
    from rich.console import Console

    from samadapt.models.base import SegmentationModel

REPORT = "report.html"
RESULT = "frozen.json"
ADAPTED = "adapted.json"


def demo_dataset() -> CocoDataset:
    """The demo's images, where scikit-image installed them, with their reference masks.

    Raises:
        DataError: this scikit-image does not carry the images.
    """
    folder = Path(str(resources.files("skimage") / "data"))
    with resources.as_file(resources.files("samadapt.benchmark") / "demo_data") as data:
        dataset = open_dataset(folder, data / "objects.json")
    try:
        dataset.check_images()
    except DataError as error:
        raise DataError(
            f"this scikit-image lacks a picture of the demo ({error}): "
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

    Objects come image by image, as people work, in an order that depends on the seed alone.

    Returns:
        The frozen model's result, and the adapter's unless it is None.

    Raises:
        AdapterError: an unknown adapter, or one made for another model.
    """
    dataset = demo_dataset()
    options: dict[str, Any] = {
        "seed": seed,
        "order": "image",
        "max_objects": max_objects,
        "progress": progress,
    }
    if adapter is None:
        return [run_interactive(dataset, model, PROTOCOL, **options)]
    adapted = run_compared(dataset, model, PROTOCOL, [adapter], **options)
    return [*filter(None, [adapted.frozen]), adapted]


def run_demo(
    out: Path,
    model: SegmentationModel,
    seed: int,
    max_objects: int | None,
    console: Console,
    adapter: str | None = None,
) -> int:
    """Run the demo, print its table, leave JSON results and an HTML report in `out`.

    Args:
        out: folder; made if it is not there.
        model: annotates with the robot.
        seed: of the order of objects.
        max_objects: at most so many; None for all.
        console: where the table goes.
        adapter: learns beside the frozen model; None shows the frozen model alone.

    Returns:
        0; mistakes come as `SamadaptError`.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from samadapt.benchmark.tables import summary_table

    _prepare(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{model.identity.name} annotates", total=max_objects)
        results = demo_results(
            model,
            seed,
            max_objects,
            lambda done, all_: bar.update(task, completed=done, total=all_),
            adapter,
        )
    for name, result in zip((RESULT, ADAPTED), results, strict=False):
        result.save(out / name)
    write_report(out / REPORT, results, demo_dataset(), title="samadapt demo", max_pictures=60)
    console.print(summary_table(results))
    console.print(f"Pictures of every object and click: {out / REPORT}")
    return 0


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamadaptError(
            f"cannot make the folder {out} ({error.strerror}): choose another with --out"
        ) from None
