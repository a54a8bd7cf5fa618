"""`samadapt annotate`: the annotator in the browser."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import choice, common
from samadapt.cli import options as opt
from samadapt.cli.choice import ChosenModelOption
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.store.importing import Imported
    from samadapt.store.projects import Project

_MOST_TOLD = 10


def annotate(
    folder: Annotated[Path, typer.Argument(help="The folder of images.", metavar="FOLDER")],
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="Port; a free one if left out.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    model: ChosenModelOption = None,
    adapter: common.AdapterOption = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME", help="A label to begin with; several times."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="JSON|DIR",
            help="Annotations to begin with: a COCO file, or a folder of masks, labelme, YOLO or "
            "VOC. Importing the same again adds nothing, of a changed one what is new.",
        ),
    ] = None,
    crowds: common.CrowdsOption = False,
    frames: Annotated[
        bool | None,
        typer.Option(
            "--frames/--no-frames",
            help="Whether the numbered images of each folder are the frames of one stack; the "
            "project remembers it.",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="FILE|URL",
            help="Where the work is kept, if not in FOLDER/samadapt.sqlite: another file, or "
            "postgresql://user@host/name for a team.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Which project, in a database of several.")
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; other machines reach only others."),
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A further name that browsers may call this server by (behind a proxy).",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="SAMADAPT_TOKEN",
            help="Secret of this server; a new one if left out. The environment variable is not "
            "seen by others who list this machine's processes.",
        ),
    ] = None,
    cache_gb: opt.GigabytesOption = 10.0,
    device: common.DeviceOption = "auto",
    dtype: common.DtypeOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Annotate a folder of images in the browser; the model learns as you go.

    Clicks, boxes and a brush; everything is saved at once, in one file beside
    the images. With --adapter none the model stays as it is.
    """
    from samadapt.adapters.registry import default_specs
    from samadapt.server import run
    from samadapt.server.app import create_app
    from samadapt.server.security import Guard
    from samadapt.server.workspace import Workspace
    from samadapt.store.adapters_folder import adapters_folder
    from samadapt.store.codes import StoredCodes
    from samadapt.store.embeddings import EmbeddingStore
    from samadapt.store.importing import import_dataset
    from samadapt.store.projects import Project, project_file
    from samadapt.store.readers import read_annotations

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give the folder that holds the images")
    secret = run.check_token(token, host)
    store = EmbeddingStore(limit=opt.cache_bytes(cache_gb))
    where: str | Path = project or project_file(folder)
    is_file = "://" not in str(where)
    common.set_threads(threads)
    with run.listen(host, port) as listener:
        bound = int(listener.getsockname()[1])
        # A server keeps several projects apart by their folders' names.
        chosen = name if is_file else name or folder.resolve().name
        with Project.open(where, chosen) as opened:
            is_beside = is_file and Path(where).resolve().parent == folder.resolve()
            notes = _notes_about(opened, folder, is_beside)
            for note in notes:
                typer.echo(f"note: {note}", err=True)
            if frames is not None:
                opened.stacks.set_frames(frames, "")
            kept = adapters_folder(opened, folder)
            opened.images.scan(folder)
            if label:
                opened.labels.named(list(label), "")
            if annotations is not None:
                dataset = read_annotations(annotations, folder)
                _tell_import(import_dataset(opened, dataset, "", annotations.name, crowds=crowds))
            chosen_model = choice.choose(
                model,
                device,
                dtype,
                folder=folder,
                kept=kept,
                has_objects=bool(opened.objects.measured()),
                adapters=adapter or (),
            )
            loaded = common.load_model(chosen_model.spec, device, dtype)
            choice.record(kept, chosen_model.spec)
            specs = tuple(adapter or default_specs(loaded))
            workspace = Workspace(opened, folder.absolute(), loaded, store, kept, specs, notes)
            common.tell_untrained(adapter or (), is_session=True)
            chosen_model.tell()
            names = (*(() if run.is_local(host) else (host,)), *(allow_host or ()))
            codes = None if is_file else StoredCodes(opened.database, opened.id, secret)
            guard = Guard(secret, bound, names, entered=lambda code: entered(code), codes=codes)
            access = guard.access
            printed = access.new_code()

            def entered(code: str) -> None:
                nonlocal printed
                if code == printed and not as_json:  # every address is good once
                    printed = access.new_code()
                    again = run.address(host, bound, printed)
                    with suppress(OSError):  # nobody reads the terminal any more
                        typer.echo(f"a browser came in; for another one open {again}")

            def ready() -> None:
                url = run.address(host, bound, printed)
                if as_json:
                    typer.echo(json.dumps({"url": url, "port": bound, "token": secret}))
                else:
                    typer.echo(f"samadapt annotates {folder}: open {url}\nCtrl-C ends it.")
                if browser:
                    typer.launch(run.address(host, bound, access.new_code()))

            run.serve(create_app(workspace, guard), listener, ready)


def _notes_about(project: Project, folder: Path, is_beside: bool) -> list[str]:
    """Say that most annotated images are not in the folder, before its images are added.

    Args:
        project: which.
        folder: of the images.
        is_beside: whether the project's file lies in that folder: it is opened in any case.

    Raises:
        DataError: none of them is there, and neither is the project's file.
    """
    annotated, found = project.images.annotated_in(folder)
    missing = f"{annotated - found} of {annotated} annotated images of this project are not in"
    if annotated and not found and not is_beside:
        raise DataError(
            f"{missing} {folder}: {project.database.name} is the project of another folder, give "
            "the folder of its images, or another --project"
        )
    if found * 2 >= annotated:
        return []
    return [f"{missing} {folder}: is it the project of another folder?"]


def _tell_import(found: Imported) -> None:
    typer.echo(found.summary(), err=True)
    for title, some in (("left out", found.left_out), ("differs", found.differing)):
        for one in some[:_MOST_TOLD]:
            typer.echo(f"{title if one.objects else 'note'}: {one}", err=True)
        if len(some) > _MOST_TOLD:
            rest = some[_MOST_TOLD:]
            objects = sum(one.objects for one in rest)
            typer.echo(f"{title}: {len(rest)} more lines ({objects} objects)", err=True)
