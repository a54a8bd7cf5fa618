"""`samadapt fit`: train an adapter on images with masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samadapt.cli import common
from samadapt.cli import options as opt
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.training.fit import FitReport
    from samadapt.training.fitting.checkpoint import SkippedPicture

_RECIPE = "Recipe (the method's own values where left out)"
_NONE = "all"


def fit(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="A method, as `samadapt methods` lists them; a variant as in METHOD:VARIANT.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the adapter; new, or to resume.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images", help="Folder of images; may be given several times.", metavar="DIR"
        ),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            "--masks",
            help="COCO file, or folder of mask images; one for each --images.",
            metavar="JSON|DIR",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME[,NAME...]",
            help="Instead of --images and --masks: $SAMADAPT_DATA/NAME/images and SPLIT.json.",
        ),
    ] = None,
    split: opt.SplitOption = "train",
    crowds: common.CrowdsOption = False,
    model: common.ModelOption = "nano",
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="ADAPTER", help="Go on from this adapter."),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option("--category", metavar="NAME", help="Learn from objects of this one alone."),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option("--shots", metavar="N", help="Learn from so many of them; else from all."),
    ] = None,
    point_matching: Annotated[
        bool,
        typer.Option("--point-matching", help="The variant that refines outlines as well."),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            rich_help_panel=_RECIPE,
            help="Steps in all, however many images there are.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", rich_help_panel=_RECIPE, help="Visits of each image.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", rich_help_panel=_RECIPE, help="Of AdamW.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", rich_help_panel=_RECIPE, help="Of AdamW.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="KIND[,KIND...]",
            rich_help_panel=_RECIPE,
            help="Kinds of prompts: box, noisy, box0.4, 1p, edge, 3p, ...",
        ),
    ] = None,
    prompts_per_object: Annotated[
        str | None,
        typer.Option(
            "--prompts-per-object",
            metavar="N|all",
            rich_help_panel=_RECIPE,
            help="How many of these kinds an object gets per visit.",
        ),
    ] = None,
    objects_per_image: Annotated[
        str | None,
        typer.Option(
            "--objects-per-image",
            metavar="N|all",
            rich_help_panel=_RECIPE,
            help="At most so many per visit.",
        ),
    ] = None,
    images_per_step: Annotated[
        int | None,
        typer.Option("--images-per-step", rich_help_panel=_RECIPE, help="Images per step."),
    ] = None,
    max_objects: Annotated[
        int | None,
        typer.Option(
            "--max-objects", metavar="N", rich_help_panel=_RECIPE, help="Use at most so many."
        ),
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option(
            "--min-area", metavar="PIXELS", rich_help_panel=_RECIPE, help="Leave out smaller ones."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Same seed, same result.", rich_help_panel=_RECIPE)
    ] = None,
    cache: opt.CacheOption = None,
    cache_gb: opt.GigabytesOption = 10.0,
    device: common.DeviceOption = "auto",
    dtype: common.DtypeOption = "auto",
    threads: common.ThreadsOption = None,
    json_path: opt.JsonOption = None,
) -> None:
    """Train an adapter on images with masks; the model itself stays as it is.

    A run that was interrupted goes on with the same command. With several GPUs
    use `accelerate launch -m samadapt fit ...`.
    """
    places = _places(images, masks, dataset, split)
    if point_matching:
        method = _with_variant(method, "--point-matching", "point-matching")
    bound = opt.cache_bytes(cache_gb)
    read = [*(path for place in places for path in place), model, start]
    common.check_output_folder("--out", out, read)
    common.check_outputs(("--json", json_path), inputs=[path for _, path in places] + read[-2:])
    settings: dict[str, Any] = {
        "category": category,
        "shots": shots,
        "steps": steps,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "prompts": None if prompts is None else tuple(_split(prompts)),
        "images_per_step": images_per_step,
        "max_objects": max_objects,
        "min_area": min_area,
        "seed": seed,
    }
    chosen = {name: value for name, value in settings.items() if value is not None}
    for name, text in (
        ("prompts_per_object", prompts_per_object),
        ("objects_per_image", objects_per_image),
    ):
        if text is not None:
            chosen[name] = _count(name, text)
    from samadapt.data.datasets import open_dataset
    from samadapt.training.fit import run_fit
    from samadapt.training.fitting.methods import fit_method
    from samadapt.training.fitting.processes import local_device

    fit_method(method.partition(":")[0]).recipe.changed(**chosen)
    data = [open_dataset(*paths, crowds=crowds) for paths in places]
    common.set_threads(threads)
    loaded = common.load_model(model, local_device(device), dtype)
    report = run_fit(
        method,
        loaded,
        data,
        out,
        start=start,
        cache=cache,
        cache_bytes=bound,
        on_skip=_note_skipped,
        settings=chosen,
    )
    _deliver(report, json_path)


def _deliver(report: FitReport, json_path: Path | None) -> None:
    values = report.values
    if json_path is not None:
        from samadapt.data.files import replacing

        with replacing(json_path) as file:
            file.write(json.dumps(values, indent=1, allow_nan=False).encode())
    if report.resumed_at >= values["steps"]:
        typer.echo(f"{report.out} holds the result of this very run already")
    elif report.resumed_at:
        typer.echo(f"went on at step {report.resumed_at} of {values['steps']}")
    count = report.adapter.parameter_count
    typer.echo(
        f"{values['prompts']} prompts on {values['images']} images in {values['seconds']:.0f} s: "
        f"loss {values['loss']:.3f}, mIoU {values['miou']:.3f}, {count} parameters"
    )
    if report.skipped:
        typer.echo(f"{len(report.skipped)} images could not be used", err=True)
    typer.echo(f"wrote {report.out}")
    if json_path is not None:
        typer.echo(f"wrote {json_path}")


def _note_skipped(skipped: SkippedPicture) -> None:
    reason = " ".join(skipped.reason.splitlines())
    common.progress_console().print(f"skipped: {reason}", markup=False, soft_wrap=True)


def _places(
    images: list[Path] | None, masks: list[Path] | None, dataset: str | None, split: str
) -> list[tuple[Path, Path]]:
    """The image folder and the masks of every dataset."""
    if dataset is not None:
        first = images[0] if images else None, masks[0] if masks else None
        names = _split(dataset)
        if not names:
            raise DataError("--dataset names nothing: give one or more names, with commas")
        return [opt.dataset_paths(*first, name, split) for name in names]
    if len(images or ()) != len(masks or ()):
        raise DataError(
            f"{len(images or ())} --images and {len(masks or ())} --masks: give one for the other"
        )
    if not images or not masks:
        return [opt.dataset_paths(None, None, None, split)]
    return list(zip(images, masks, strict=True))


def _with_variant(method: str, option: str, variant: str) -> str:
    """The method with a variant that has an option of its own."""
    from samadapt.training.fitting.methods import fit_methods

    name, _, given = method.partition(":")
    having = [known.name for known in fit_methods() if variant in known.adapter.variants]
    if name in having and given in ("", variant):
        return f"{name}:{variant}"
    raise DataError(f"{option} belongs to the method {', '.join(having)}, not to {method!r}")


def _count(name: str, text: str) -> int | None:
    if text == _NONE:
        return None
    if not text.isdecimal():
        raise DataError(f"--{name.replace('_', '-')} {text}: give a number or {_NONE!r}")
    return int(text)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
