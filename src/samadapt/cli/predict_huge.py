"""`samadapt predict` on an image larger than memory: read in windows, written as COCO."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from samadapt.cli import common
from samadapt.errors import DataError, PromptError

if TYPE_CHECKING:
    from samadapt.data.rle import Rle
    from samadapt.models.base import SegmentationModel
    from samadapt.models.seams import Seams
    from samadapt.prompts import Prompt
    from samadapt.proposals.grid import ProposalOptions


def check_huge(image: Path, out: Path, refused: Mapping[str, object]) -> None:
    """Check the options before long work begins.

    Args:
        image: the image.
        out: file of the masks.
        refused: options that are not supported for a huge image, with their values.

    Raises:
        DataError, PromptError: an unsupported option.
    """
    if out.suffix.lower() != ".json":
        raise DataError(
            f"--out {out}: {image} is too large for a mask in pixels, give a name that ends in "
            ".json (COCO)"
        )
    for name, value in refused.items():
        if value:
            raise PromptError(f"{name} does not apply to the huge image {image}: leave it out")


def predict_huge(
    image: Path,
    out: Path,
    prompt: Prompt,
    model: SegmentationModel,
    adapters: Sequence[Seams],
    multimask: bool,
    as_json: bool,
) -> None:
    """Answer one prompt, and write the mask as a COCO file.

    Raises:
        DataError, ImageError, PromptError: a file or an option that cannot be used.
    """
    from samadapt.data.tiled import TiledImage
    from samadapt.proposals.huge import predict_in_window

    with TiledImage.open(image) as tiled:
        _tell(tiled)
        prompt.check_inside(tiled.size)
        start = time.perf_counter()
        found = predict_in_window(model, tiled, prompt, adapters, multimask=multimask)
        seconds = time.perf_counter() - start
        _save(out, image, tiled.size, [("object", found.rle, found.score)])
        values = {
            "image": str(image),
            "size": [tiled.size[1], tiled.size[0]],
            "model": model.identity.name,
            "file": str(out),
            "seconds": round(seconds, 4),
            "score": round(found.score, 6),
            "area": found.rle.area,
            "box": list(found.rle.box),
            "window": list(found.window),
            "scale": found.scale,
            "refined": found.refined,
        }
    text = f"{out}: score {found.score:.3f}, area {found.rle.area} pixels"
    typer.echo(json.dumps(values) if as_json else text)


def predict_all_huge(
    image: Path,
    out: Path,
    tasks: Mapping[str, Sequence[Seams]],
    model: SegmentationModel,
    options: ProposalOptions,
    as_json: bool,
) -> None:
    """Search the image window by window for every task, and write a COCO file.

    Args:
        image: the image.
        out: the file.
        tasks: the adapters to search with, by the name of the task.
        model: the model.
        options: how each window is searched.
        as_json: print JSON.

    Raises:
        DataError, ImageError: a file that cannot be used.
    """
    from samadapt.data.tiled import TiledImage
    from samadapt.proposals.windows import propose_in_windows

    objects, counts = [], {}
    with TiledImage.open(image) as tiled:
        _tell(tiled)
        for name, adapters in tasks.items():
            with common.progress_bar(f"searching for {name}") as progress:
                found = propose_in_windows(model, tiled, adapters, options, progress=progress)
            counts[name] = len(found)
            objects += [(name, one.rle, one.score) for one in found]
        _save(out, image, tiled.size, objects)
        size = tiled.size
    values = {
        "image": str(image),
        "size": [size[1], size[0]],
        "model": model.identity.name,
        "file": str(out),
        "objects": counts,
    }
    text = f"{out}: " + ", ".join(f"{count} x {name}" for name, count in counts.items())
    typer.echo(json.dumps(values) if as_json else text)


def _tell(tiled: Any) -> None:
    for finding in tiled.findings:
        typer.echo(f"note: {finding}", err=True)


def _save(
    out: Path, image: Path, size: tuple[int, int], objects: Sequence[tuple[str, Rle, float]]
) -> None:
    from samadapt.data.coco import CocoDataset
    from samadapt.data.records import CocoImage, NewObject

    record = CocoImage(1, image.name, size[1], size[0])
    new = [NewObject(1, name, rle, extra={"score": score}) for name, rle, score in objects]
    CocoDataset((record,)).with_objects(new).save(out)
