"""`samadapt fit`: train an adapter on images with masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import common
from samadapt.cli import groups as grp
from samadapt.cli import options as opt
from samadapt.cli.recipe_options import RecipeOptions
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.training.fit import FitReport
    from samadapt.training.fitting.checkpoint import SkippedPicture

_RAY = "ray"


@grp.with_groups
def fit(
    *,
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="Method (see `samadapt methods`), with a variant as in METHOD:VARIANT.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the adapter; new, or to resume.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of images; may be given several times.", metavar="DIR"),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            help="COCO file, or folder of mask images; one for each --images.", metavar="JSON|DIR"
        ),
    ] = None,
    dataset: opt.DatasetsOption = None,
    split: opt.SplitOption = "train",
    crowds: common.CrowdsOption = False,
    start: Annotated[
        str | None, typer.Option(metavar="ADAPTER", help="Trained adapter to start from.")
    ] = None,
    point_matching: Annotated[
        bool, typer.Option("--point-matching", help="Use the variant that also refines outlines.")
    ] = False,
    recipe: RecipeOptions,
    run: grp.ModelOptions,
    cache: grp.CacheOptions,
    workers: grp.WorkerOptions,
    json_path: opt.JsonOption = None,
) -> None:
    """Train an adapter on images with masks; the model itself does not change.

    The same command resumes an interrupted run. With several GPUs use
    `accelerate launch -m samadapt fit ...`, or a Ray cluster.
    """
    _check_engine(workers)
    places = _places(images, masks, dataset, split)
    if point_matching:
        method = _with_variant(method, "--point-matching", "point-matching")
    read = [*(path for place in places for path in place), run.model, start]
    common.check_output_folder("--out", out, read)
    common.check_outputs(("--json", json_path), inputs=[path for _, path in places] + read[-2:])
    chosen, bound = recipe.settings(), cache.limit
    from samadapt.data.datasets import open_dataset
    from samadapt.training.fit import run_fit
    from samadapt.training.fitting.methods import fit_method
    from samadapt.training.fitting.processes import local_device

    fit_method(method.partition(":")[0]).recipe.changed(**chosen)
    data = [open_dataset(*paths, crowds=crowds) for paths in places]
    loaded = replace(run, device=local_device(run.device)).load()
    if workers.engine == _RAY:
        from samadapt.distributed.fit import FitJob, fit_on_ray
        from samadapt.distributed.worker_model import WorkerModel

        place = WorkerModel.of(loaded, run.model, run.device)
        job = FitJob(method, place, data, out, start, cache.cache, bound, chosen)
        count, gpus = workers.workers or max(1, int(workers.gpus)), workers.gpus
        report = fit_on_ray(job, loaded, count, gpus, workers.address)
        for skipped in report.skipped:
            _note_skipped(skipped)
    else:
        report = run_fit(
            method,
            loaded,
            data,
            out,
            start=start,
            cache=cache.cache,
            cache_bytes=bound,
            on_skip=_note_skipped,
            settings=chosen,
        )
    _deliver(report, json_path)


def _check_engine(given: grp.WorkerOptions) -> None:
    if given.engine not in (None, "local", _RAY):
        raise DataError(f"--engine {given.engine}: use local or ray")
    if given.engine != _RAY and given != grp.WorkerOptions(engine=given.engine):
        raise DataError(
            "--workers, --gpus and --address belong to --engine ray; on one machine use "
            "`accelerate launch -m samadapt fit ...`"
        )


def _deliver(report: FitReport, json_path: Path | None) -> None:
    values = report.values
    if json_path is not None:
        from samadapt.data.files import replacing

        with replacing(json_path) as file:
            file.write(json.dumps(values, indent=1, allow_nan=False).encode())
    if report.resumed_at >= values["steps"]:
        typer.echo(f"{report.out} holds the result of this run already")
    elif report.resumed_at:
        typer.echo(f"resumed at step {report.resumed_at} of {values['steps']}")
    count = report.adapter.parameter_count
    typer.echo(
        f"{values['prompts']} prompts in {values['images']} visits of images, "
        f"{values['seconds']:.0f} s: loss {values['loss']:.3f}, mIoU {values['miou']:.3f}, "
        f"{count} parameters"
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
        names = opt.split_names("dataset", [dataset])
        return [opt.dataset_paths(*first, name, split) for name in names]
    if len(images or ()) != len(masks or ()):
        raise DataError(
            f"{len(images or ())} --images and {len(masks or ())} --masks: give one --masks for "
            "each --images"
        )
    if not images or not masks:
        return [opt.dataset_paths(None, None, None, split)]
    return list(zip(images, masks, strict=True))


def _with_variant(method: str, option: str, variant: str) -> str:
    """The method with the variant of a command-line option."""
    from samadapt.training.fitting.methods import fit_methods

    name, _, given = method.partition(":")
    having = [known.name for known in fit_methods() if variant in known.adapter.variants]
    if name in having and given in ("", variant):
        return f"{name}:{variant}"
    raise DataError(f"{option} belongs to the method {', '.join(having)}, not to {method!r}")
