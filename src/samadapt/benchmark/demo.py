"""The demo: the main job on real pictures, offline, in a minute or two.

The robot annotator clicks its way through 48 objects in photographs, microscopy and astronomy
that scikit-image installs; the reference masks are part of this package.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

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


def demo_result(
    model: SegmentationModel,
    seed: int = 0,
    max_objects: int | None = None,
    progress: Progress | None = None,
) -> InteractiveResult:
    """Annotate the demo's objects with the standard protocol."""
    return run_interactive(
        demo_dataset(), model, PROTOCOL, seed=seed, max_objects=max_objects, progress=progress
    )


def run_demo(
    out: Path, model: SegmentationModel, seed: int, max_objects: int | None, console: Console
) -> int:
    """Run the demo, print its table, leave a JSON result and an HTML report in `out`.

    Returns:
        0; mistakes come as `SamadaptError`.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from samadapt.benchmark.tables import summary_table

    _prepare(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{model.identity.name} annotates", total=max_objects)
        result = demo_result(
            model,
            seed,
            max_objects,
            lambda done, all_: bar.update(task, completed=done, total=all_),
        )
    result.save(out / RESULT)
    write_report(out / REPORT, [result], demo_dataset(), title="samadapt demo", max_pictures=60)
    console.print(summary_table([result]))
    console.print(f"Pictures of every object and click: {out / REPORT}")
    return 0


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamadaptError(
            f"cannot make the folder {out} ({error.strerror}): choose another with --out"
        ) from None
