"""`samadapt annotate-all`: find all objects in all images, without a click."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samadapt.cli import common
from samadapt.cli.choice import choose
from samadapt.cli.common import AdapterOption, DeviceOption, DtypeOption
from samadapt.cli.engine_options import AddressOption, EngineOption, GpusOption, WorkersOption
from samadapt.cli.guard import PARTLY_DONE
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.adapters.base import Adapter
    from samadapt.distributed.annotate_all import AnnotatedImages
    from samadapt.distributed.images import ImageList
    from samadapt.store.projects import Project

_SUFFIX = ".json"
_FILES = (".jsonl", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".txt", ".csv", ".xml", ".zip")
"""Endings of --out that are refused as names of folders."""
_JOURNAL = ".journal"
_HIDDEN_JOURNAL = ".samadapt-annotate-all.journal"
"""Journal, in the folder of images, of a run that writes only into a project."""


def annotate_all(
    images: Annotated[
        str,
        typer.Argument(
            metavar="DIR|LIST|GLOB",
            help="A folder of images (with subfolders), a text file that lists them, or a pattern "
            "in quotes.",
        ),
    ],
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="ADAPTER",
            help="Folder, name or Hub id of an adapter that was taught a task; may be given "
            "several times. Without one all objects are searched for.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.json|DIR",
            help="A COCO file, or a new folder for shards of COCO and their index.",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="DIR|FILE|URL",
            help="Store the found objects in this project, as proposals for review.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Name, Hub id, folder or checkpoint; see `samadapt models`. Default: the model "
            "that the adapters were made for, else that of --project, else nano.",
        ),
    ] = None,
    adapter: AdapterOption = None,
    grid: Annotated[
        int, typer.Option("--grid", metavar="N", help="Search with about N x N points.")
    ] = 16,
    min_score: Annotated[
        float, typer.Option("--min-score", help="Leave out objects with a lower score.")
    ] = (0.0),
    most: Annotated[
        int,
        typer.Option("--most", metavar="N", help="Largest number of objects per image and task."),
    ] = (100),
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    gpus: GpusOption = 0.0,
    batch: Annotated[
        int, typer.Option("--batch", metavar="B", help="Images per call of a worker.")
    ] = 4,
    shard_images: Annotated[
        int, typer.Option("--shard-images", metavar="N", help="With --out DIR: images per shard.")
    ] = 10_000,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find all objects of learned tasks, or all objects, in all images of a folder.

    The same command resumes an interrupted run. Images and subfolders that cannot
    be read are named and skipped; the exit code is 3 then.
    """
    from samadapt.distributed.annotate import AnnotateWork
    from samadapt.distributed.annotate_all import annotate_all as run
    from samadapt.distributed.annotate_all import describe_run
    from samadapt.distributed.engine import make_engine
    from samadapt.distributed.images import ImageList
    from samadapt.distributed.journal import RunJournal
    from samadapt.distributed.worker_model import WorkerModel
    from samadapt.proposals.grid import ProposalOptions

    tasks, adapters = tuple(task or ()), tuple(adapter or ())
    options = ProposalOptions(points=grid, min_score=min_score, most=most, coarse=True)
    for option, number in (("--shard-images", shard_images), ("--batch", batch)):
        if number < 1:
            raise DataError(f"{option} {number}: use 1 or more")
    found = ImageList.find(images)
    read: list[str | Path | None] = [images, found.root, model, *tasks, *adapters]
    _check_output(out, project, read)
    named = (*adapters, *tasks)
    kept = None if named else _kept(project, found)
    chosen = choose(model, device, dtype, kept=kept, adapters=named, otherwise="nano")
    loaded = common.load_model(chosen.spec, device, dtype)
    labels, hashes = _check_adapters(loaded, tasks, adapters)
    work = AnnotateWork(WorkerModel.of(loaded, chosen.spec, device), tasks, adapters, options)
    where = make_engine(engine or "local", workers, gpus, address)
    opened, folder = _open_project(project, found)
    if opened is None:
        found = found.with_slices()
    else:
        from samadapt.distributed.project import with_slices

        found = with_slices(opened, folder, found)
    place = found.root / _HIDDEN_JOURNAL if out is None else _journal(out)
    try:
        with RunJournal(place, describe_run(found, work, hashes)) as journal:
            numbers = _numbers(opened, folder, found)
            known = opened.labels.all()[0] if opened is not None else ()
            with common.progress_bar("finding objects") as progress:
                done = run(found, work, where, journal, batch, progress)
            if not done.finished:
                raise DataError(f"no image could be searched: {done.failed[0][1]}")
            about = {"model": chosen.spec, "failed": [list(one) for one in done.failed]}
            put = None
            if opened is not None:
                from samadapt.distributed.project import put_proposals

                source = ", ".join((chosen.spec, *adapters, *(tasks or ("everything",))))
                names = {label.name: label.id for label in known}
                put = put_proposals(opened, source, numbers, done.results(), names)
            count = _write(out, labels, done, about, shard_images)
            journal.remove()
    finally:
        if opened is not None:
            opened.close()
    common.tell_untrained(adapters)
    chosen.tell()
    _tell(done, out, count, project, put, as_json)


def _journal(out: Path) -> Path:
    """The journal, beside the output, from which a killed run is resumed."""
    return out.with_name(out.name + _JOURNAL)


def _check_output(out: Path | None, project: str | None, inputs: common.Inputs) -> None:
    """Check the outputs before long work begins."""
    if out is None:
        if project is None:
            raise DataError("no output: give --out FILE.json, --out DIR or --project")
        return
    if out.suffix.lower() == _SUFFIX:
        common.check_outputs(
            ("--out", out), inputs=[i for i in inputs if not Path(str(i)).is_dir()]
        )
        if out.exists():
            raise DataError(f"--out {out} exists already: give another name, or delete it first")
        return
    if out.suffix.lower() in _FILES:
        raise DataError(f"--out {out}: give a name that ends in .json (COCO), or a new folder")
    common.check_output_folder("--out", out, inputs)
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"--out {out} exists and is not an empty folder: give a new one")
    if not out.absolute().parent.is_dir():
        raise DataError(f"--out {out}: the folder {out.absolute().parent} does not exist, make it")


def _check_adapters(
    model: Any, tasks: Sequence[str], adapters: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Labels of the objects to find, and hashes of the adapters and the model."""
    from samadapt.distributed.annotate import ImageAnnotator
    from samadapt.models.hashing import hash_tensors

    annotator = ImageAnnotator(model, tasks, adapters)

    def weights(one: Adapter) -> str:
        return hash_tensors({n: t.detach().cpu() for n, t in one.state_dict().items()})

    hashes = {"model": model.identity.weights_hash}
    hashes |= {name: weights(one) for name, one in annotator.named_adapters.items()}
    return annotator.labels, hashes


def _kept(project: str | None, images: ImageList) -> Path | None:
    """Where what was learned for the project is, if that is there already."""
    from samadapt.store.adapters_folder import adapters_folder
    from samadapt.store.projects import Project

    place = None if project is None else common.project_place(project)
    if place is None or (isinstance(place, Path) and not place.is_file()):
        return None
    with Project.open(place, create=False) as opened:
        return adapters_folder(opened, images.root)


def _open_project(project: str | None, images: ImageList) -> tuple[Project | None, Path]:
    """The project and its folder of images."""
    if project is None:
        return None, images.root
    from samadapt.store.projects import Project

    place = common.project_place(project)
    opened = Project.open(place, create=Path(project).is_dir())
    return opened, place.parent if isinstance(place, Path) else images.root


def _numbers(project: Project | None, folder: Path, images: ImageList) -> dict[str, int]:
    if project is None:
        return {}
    from samadapt.distributed.project import project_images

    return project_images(project, folder, images)


def _write(
    out: Path | None,
    labels: Sequence[str],
    done: AnnotatedImages,
    about: Mapping[str, Any],
    shard_images: int,
) -> int:
    """Write the COCO file or the shards; returns the number of objects."""
    from samadapt.data.files import remove_unfinished
    from samadapt.distributed.annotate_output import write_coco, write_shards

    if out is None:
        return sum(len(found.objects) for _, found in done.results())
    remove_unfinished(out)  # no other run has the journal of this output
    if out.suffix.lower() == _SUFFIX:
        return write_coco(out, labels, done.results())
    return write_shards(out, labels, done.results(), about, shard_images)


def _tell(
    done: AnnotatedImages,
    out: Path | None,
    count: int,
    project: str | None,
    put: int | None,
    as_json: bool,
) -> None:
    if as_json:
        values = {
            "images": len(done.finished),
            "known": done.known,
            "objects": count,
            "file": None if out is None else str(out),
            "project": project,
            "failed": [{"image": name, "reason": reason} for name, reason in done.failed],
        }
        typer.echo(json.dumps(values))
    else:
        before = f", {done.known} of them by an earlier run" if done.known else ""
        typer.echo(f"{count} objects on {len(done.finished)} images{before}")
        if out is not None:
            typer.echo(f"wrote {out}")
        if put is not None:
            typer.echo(f"{put} proposals wait for review in {project}")
        common.tell_left_out([f"{name}: {reason}" for name, reason in done.failed])
    if done.failed:
        raise typer.Exit(PARTLY_DONE)
