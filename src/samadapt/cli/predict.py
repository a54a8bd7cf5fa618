"""`samadapt predict`: predict one mask from a prompt, or find all objects of learned tasks."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samadapt.cli import common
from samadapt.cli.choice import ChosenModelOption, choose
from samadapt.cli.common import AdapterOption, DeviceOption, DtypeOption
from samadapt.errors import DataError, PromptError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samadapt.prompts import Box, Click, Prompt

_MASK_SUFFIX = ".png"
_OVERLAY_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def predict(
    image: Annotated[Path, typer.Argument(help="The picture.", metavar="IMAGE")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="File of the mask, a PNG of 0 and 255; with --all a COCO file (.json).",
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            "-p",
            metavar="X,Y[,0|1]",
            help="A click on the object (1, the default) or the background (0), in pixels from "
            "the top-left corner; may be given several times for one prompt.",
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", "-b", metavar="X0,Y0,X1,Y1", help="A box around the object."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="An earlier mask of the object, at the size of the picture.")
    ] = None,
    model: ChosenModelOption = None,
    adapter: AdapterOption = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADAPTER",
            help="Folder, name or Hub id of an adapter that was taught a task; with --all it may "
            "be given several times.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Find all objects of the tasks, without a prompt.")
    ] = False,
    grid: Annotated[
        int, typer.Option(metavar="N", help="With --all: search with about N x N points.")
    ] = 16,
    min_score: Annotated[
        float, typer.Option(help="With --all: leave out objects with a lower score.")
    ] = 0.0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    multimask: Annotated[
        bool,
        typer.Option(
            "--multimask/--best",
            help="Write all three candidates (mask-1.png, ...), or only the best mask.",
        ),
    ] = False,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the picture with masks and clicks drawn in.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Segment one object of a picture from clicks, a box or an earlier mask.

    A single click is ambiguous (whole, part or sub-part?). Without a task the
    best of three candidates is used for it.
    """
    if everything:
        from samadapt.cli.predict_all import check_all, check_files, predict_all, search_huge
        from samadapt.cli.predict_huge import check_huge

        prompted = bool(point or box or mask or multimask)
        check_all(task or (), prompted, out, overlay)
        check_files(out, overlay, (image, model, *(adapter or ()), *(task or ())))
        if _is_huge(image):
            check_huge(image, out, {"--overlay": overlay})
        chosen_model = choose(model, device, dtype, adapters=[*(adapter or ()), *(task or ())])
        found_by = common.load_model(chosen_model.spec, device, dtype)
        if _is_huge(image):
            search_huge(image, out, task or (), adapter or (), found_by, grid, min_score, as_json)
            common.tell_untrained(adapter or ())
            return
        predict_all(
            image, out, task or (), adapter or (), found_by, grid, min_score, overlay, as_json
        )
        common.tell_slices(image)
        common.tell_untrained(adapter or ())
        chosen_model.tell()
        return
    if len(task or ()) > 1:
        raise PromptError("a prompt takes one task: give one --task, or --all to find all objects")
    if _is_huge(image):
        from samadapt.adapters.registry import create_adapter
        from samadapt.cli.predict_all import load_tasks
        from samadapt.cli.predict_huge import check_huge, predict_huge
        from samadapt.prompts import Prompt

        check_huge(image, out, {"--mask": mask, "--multimask": multimask, "--overlay": overlay})
        common.check_outputs(("--out", out), inputs=(image, model, *(adapter or ()), *(task or ())))
        clicks, corners = [parse_point(text) for text in point or ()], parse_box(box)
        if not clicks and corners is None:
            raise PromptError("nothing to segment: give --point X,Y or --box X0,Y0,X1,Y1")
        prompt = Prompt.from_clicks(clicks, corners)
        chosen_model = choose(model, device, dtype, adapters=[*(adapter or ()), *(task or ())])
        loaded = common.load_model(chosen_model.spec, device, dtype)
        adapters = [create_adapter(spec, loaded) for spec in adapter or ()]
        adapters += load_tasks(loaded, task or ()).values() if task else ()
        several = _is_ambiguous(prompt) and not task
        predict_huge(image, out, prompt, loaded, adapters, several, as_json)
        common.tell_untrained(adapter or ())
        chosen_model.tell()
        return
    files = _targets(out, multimask)
    read = (image, mask, model, *(adapter or ()), *(task or ()))
    _check_files(files, overlay, read)
    clicks, corners = [parse_point(text) for text in point or ()], parse_box(box)
    from samadapt.data.images import read_image
    from samadapt.prompts import Prompt

    pixels = read_image(image)
    size = (pixels.shape[0], pixels.shape[1])
    if not clicks and corners is None and mask is None:
        raise PromptError("nothing to segment: give --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE")
    prompt = Prompt.from_clicks(clicks, corners, None if mask is None else _read_mask(mask, size))
    prompt.check_inside(size)
    chosen_model = choose(model, device, dtype, adapters=[*(adapter or ()), *(task or ())])
    loaded = common.load_model(chosen_model.spec, device, dtype)
    from samadapt.adapters.registry import create_adapter

    adapters = [create_adapter(spec, loaded) for spec in adapter or ()]
    if task:
        from samadapt.cli.predict_all import load_tasks

        adapters += load_tasks(loaded, task).values()
    start = time.perf_counter()
    embedding = loaded.encode(pixels)
    middle = time.perf_counter()
    found = loaded.predict(
        embedding, prompt, multimask or (_is_ambiguous(prompt) and not task), adapters
    )
    end = time.perf_counter()
    chosen = range(len(found.masks)) if multimask else [found.best]
    # Some models return a single candidate even if several were requested.
    written = list(zip(files, chosen, strict=False))
    for file, index in written:
        _write_mask(file, found.masks[index])
    if overlay is not None:
        _write_overlay(overlay, pixels, found.masks[found.best], prompt)
    common.tell_slices(image)
    common.tell_untrained(adapter or ())
    chosen_model.tell()
    _print(
        {
            "image": str(image),
            "size": [size[1], size[0]],
            "model": loaded.identity.name,
            "weights_hash": loaded.identity.weights_hash,
            "encoder_dtype": str(loaded.encoder_dtype).removeprefix("torch."),
            "adapters": [*(adapter or ()), *(task or ())],
            "encode_seconds": round(middle - start, 4),
            "predict_seconds": round(end - middle, 4),
            "masks": [_describe(f, found.masks[i], float(found.scores[i])) for f, i in written],
        },
        as_json,
    )


def parse_point(text: str) -> Click:
    """A click from "x,y" or "x,y,label".

    Raises:
        PromptError: anything else.
    """
    from samadapt.prompts import Click

    parts = text.split(",")
    try:
        x, y = float(parts[0]), float(parts[1])
        label = parts[2].strip() if len(parts) == 3 else "1"
        if len(parts) > 3 or label not in ("0", "1") or not math.isfinite(x + y):
            raise ValueError(text)
    except (ValueError, IndexError):
        raise PromptError(
            f"--point {text!r}: give X,Y or X,Y,LABEL, finite, with label 1 (object) or 0 "
            "(background), such as 120,80 or 120,80,0"
        ) from None
    return Click(x, y, label == "1")


def parse_box(text: str | None) -> Box | None:
    """A box from "x0,y0,x1,y1".

    Raises:
        PromptError: anything else, or an empty box.
    """
    if text is None:
        return None
    from samadapt.prompts import Box

    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
        if not math.isfinite(x0 + y0 + x1 + y1):
            raise ValueError(text)
    except ValueError:
        raise PromptError(
            f"--box {text!r}: give four finite numbers X0,Y0,X1,Y1, such as 10,20,110,90"
        ) from None
    return Box(x0, y0, x1, y1)


def _is_huge(image: Path) -> bool:
    """Whether the picture is read in windows; False for an unreadable file, which fails later."""
    from samadapt.data.tiled.image import is_huge
    from samadapt.errors import ImageError

    try:
        return is_huge(image)
    except ImageError:
        return False


def _is_ambiguous(prompt: Prompt) -> bool:
    return len(prompt.points) == 1 and prompt.box is None and prompt.mask is None


def _targets(out: Path, multimask: bool) -> list[Path]:
    """The files to write: `out` itself, or one file per candidate."""
    if not multimask:
        return [out]
    return [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in (1, 2, 3)]


def _check_files(files: list[Path], overlay: Path | None, inputs: common.Inputs) -> None:
    if files[0].suffix.lower() != _MASK_SUFFIX:
        raise DataError(
            f"--out {files[0]}: a mask is written as PNG, give a name that ends in .png"
        )
    if overlay is not None and overlay.suffix.lower() not in _OVERLAY_SUFFIXES:
        raise DataError(f"--overlay {overlay}: give a name that ends in .png, .jpg or .webp")
    outputs = [("--out", file) for file in files]
    common.check_outputs(*outputs, ("--overlay", overlay), inputs=inputs)


def _read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read an earlier mask: black and one other value."""
    import numpy as np

    from samadapt.data.images import read_values

    values = read_values(path)
    if values.ndim == 3:
        values = values[..., :3].max(axis=2)
    if values.shape != size:
        raise PromptError(
            f"--mask {path} has {values.shape[1]} x {values.shape[0]} pixels but the picture "
            f"has {size[1]} x {size[0]} (width x height): give a mask of the same size"
        )
    if len(np.unique(values[values != 0])) > 1:
        raise PromptError(
            f"--mask {path} is no mask: give black for background and one other value for the "
            "object, saved without loss (PNG)"
        )
    found: NDArray[np.bool_] = np.not_equal(values, 0)
    return found


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    from PIL import Image

    from samadapt.data.files import save_image

    save_image(path, Image.fromarray(mask.astype("uint8") * 255), "PNG")


def _write_overlay(
    path: Path, pixels: NDArray[np.uint8], mask: NDArray[np.bool_], prompt: Prompt
) -> None:
    from samadapt.cli.drawing import draw_overlay, save_drawing

    save_drawing(path, draw_overlay(pixels, mask, prompt))


def _describe(file: Path, mask: NDArray[np.bool_], score: float) -> dict[str, Any]:
    rows, columns = mask.nonzero()
    box = None
    if rows.size:
        box = [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
    return {
        "file": str(file),
        "score": round(score, 6),
        "area": int(mask.sum()),
        "share": round(float(mask.mean()), 6),
        "box": box,
    }


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    for mask in result["masks"]:
        if mask["box"] is None:
            typer.echo(f"{mask['file']}: score {mask['score']:.3f}, empty (no object found there)")
            continue
        box = ",".join(str(value) for value in mask["box"])
        typer.echo(
            f"{mask['file']}: score {mask['score']:.3f}, area {mask['area']} pixels "
            f"({mask['share']:.1%} of the picture), box {box}"
        )
