"""`samadapt predict --all`: find all objects of learned tasks in a picture, without a click."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from samadapt.cli import common
from samadapt.errors import DataError, PromptError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from samadapt.adapters.base import Adapter
    from samadapt.models.base import SegmentationModel
    from samadapt.proposals.proposal import Proposal

_SUFFIX = ".json"
_OVERLAY_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_COLOURS = ((25, 200, 230), (240, 140, 20), (150, 90, 240), (60, 180, 75), (230, 60, 130))
_TINT = 0.45


def load_tasks(model: SegmentationModel, specs: Sequence[str]) -> dict[str, Adapter]:
    """Adapters by the name of their task.

    Raises:
        AdapterError: an adapter that cannot be loaded, is made for another model or has no task;
            two adapters for the same task.
    """
    from samadapt.adapters.tasks import Tasks

    tasks = Tasks(model, *specs)
    return {name: tasks[name] for name in tasks}


def check_all(tasks: Sequence[str], prompted: bool, out: Path, overlay: Path | None) -> None:
    """Check the options of a search before long work begins.

    Raises:
        PromptError: no task, or a prompt beside --all.
        DataError: a file name with a wrong ending.
    """
    if not tasks:
        raise PromptError("--all searches for objects of learned tasks: give --task ADAPTER")
    if prompted:
        raise PromptError("--all takes no --point, --box, --mask or --multimask: leave them out")
    if out.suffix.lower() != _SUFFIX:
        raise DataError(f"--out {out}: with --all give a name that ends in .json (COCO)")
    if overlay is not None and overlay.suffix.lower() not in _OVERLAY_SUFFIXES:
        raise DataError(f"--overlay {overlay}: give a name that ends in .png, .jpg or .webp")


def predict_all(
    image: Path,
    out: Path,
    tasks: Sequence[str],
    adapters: Sequence[str],
    model: SegmentationModel,
    grid: int,
    min_score: float,
    overlay: Path | None,
    as_json: bool,
) -> None:
    """Search the picture for every task, and write the objects found as a COCO file.

    Raises:
        AdapterError: see `load_tasks`.
        DataError, ImageError, PromptError: an unusable file or option.
    """
    from samadapt.adapters.registry import create_adapter
    from samadapt.data.images import read_image
    from samadapt.proposals.grid import ProposalOptions, propose

    options = ProposalOptions(points=grid, min_score=min_score)
    learned = load_tasks(model, tasks)
    others = [create_adapter(spec, model) for spec in adapters]
    pixels = read_image(image)
    start = time.perf_counter()
    embedding = model.encode(pixels)
    middle = time.perf_counter()
    found = {
        name: propose(model, embedding, [*others, adapter], options)
        for name, adapter in learned.items()
    }
    end = time.perf_counter()
    _save(out, image, pixels, found)
    if overlay is not None:
        _write_overlay(overlay, pixels, found)
    values = {
        "image": str(image),
        "size": [pixels.shape[1], pixels.shape[0]],
        "model": model.identity.name,
        "weights_hash": model.identity.weights_hash,
        "encode_seconds": round(middle - start, 4),
        "predict_seconds": round(end - middle, 4),
        "file": str(out),
        "objects": {name: len(proposals) for name, proposals in found.items()},
    }
    if as_json:
        typer.echo(json.dumps(values))
        return
    counts = ", ".join(f"{len(proposals)} x {name}" for name, proposals in found.items())
    typer.echo(f"{out}: {counts}")


def search_huge(
    image: Path,
    out: Path,
    tasks: Sequence[str],
    adapters: Sequence[str],
    model: SegmentationModel,
    grid: int,
    min_score: float,
    as_json: bool,
) -> None:
    """Search a picture larger than memory; see `predict_all`.

    Raises:
        AdapterError, DataError, ImageError, PromptError: as `predict_all`.
    """
    from samadapt.adapters.registry import create_adapter
    from samadapt.cli.predict_huge import predict_all_huge
    from samadapt.proposals.grid import ProposalOptions

    options = ProposalOptions(points=grid, min_score=min_score)
    others = [create_adapter(spec, model) for spec in adapters]
    learned = {name: [*others, one] for name, one in load_tasks(model, tasks).items()}
    predict_all_huge(image, out, learned, model, options, as_json)


def draw_objects(pixels: NDArray[np.uint8], found: Mapping[str, Sequence[Proposal]]) -> Image.Image:
    """The picture with all masks tinted and outlined, one colour per task, scores beside them.

    Args:
        pixels: (H, W, 3) uint8.
        found: proposals by task, the best first; better ones are drawn over worse ones.
    """
    import cv2
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    unit = max(pixels.shape[0], pixels.shape[1]) / 100
    canvas = np.ascontiguousarray(pixels)
    labels: list[tuple[tuple[float, float], str]] = []
    for number, (name, proposals) in enumerate(found.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for one in reversed(proposals):
            mask = one.mask
            tinted = canvas.astype(np.float32)
            tinted[mask] = (1 - _TINT) * tinted[mask] + _TINT * np.array(colour, np.float32)
            canvas = np.ascontiguousarray(tinted.round().astype(np.uint8))
            outlines, _ = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(canvas, outlines, -1, colour, max(1, round(unit / 4)), cv2.LINE_AA)
            x, y, _, _ = one.rle.box
            labels.append(((x, y), f"{name} {one.score:.2f}"))
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(9.0, 2.5 * unit))
    for place, text in labels:
        draw.text(place, text, fill=(255, 255, 255), font=font, stroke_width=2, stroke_fill="black")
    return image


def _save(
    out: Path, image: Path, pixels: NDArray[np.uint8], found: Mapping[str, Sequence[Proposal]]
) -> None:
    from samadapt.data.coco import CocoDataset
    from samadapt.data.records import CocoCategory, CocoImage, NewObject

    empty = CocoDataset(
        (CocoImage(1, image.name, pixels.shape[1], pixels.shape[0]),),
        categories=tuple(CocoCategory(number, name) for number, name in enumerate(found, 1)),
        source=str(out),
    )
    objects = [
        NewObject(1, name, one.rle, extra={"score": round(one.score, 6), "point": list(one.point)})
        for name, proposals in found.items()
        for one in proposals
    ]
    empty.with_objects(objects).save(out)


def _write_overlay(
    path: Path, pixels: NDArray[np.uint8], found: Mapping[str, Sequence[Proposal]]
) -> None:
    from samadapt.cli.drawing import save_drawing

    save_drawing(path, draw_objects(pixels, found))


def check_files(out: Path, overlay: Path | None, inputs: common.Inputs) -> None:
    """Check that the outputs can be written and overwrite no input.

    Raises:
        DataError: an output cannot be written, or is an input.
    """
    common.check_outputs(("--out", out), ("--overlay", overlay), inputs=inputs)
