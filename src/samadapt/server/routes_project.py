"""Routes about the project: settings, learning, import and export."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from samadapt.errors import BusyError, DataError, SamadaptError
from samadapt.server.security import IMPORT_AT_START
from samadapt.server.unpacking import unpacked
from samadapt.server.who import Here, Me
from samadapt.server.wire import AdapterRequest, ImportedRequest, NameRequest
from samadapt.server.workspace import Workspace
from samadapt.store.export import ALL_FORMATS, FORMATS, ONE_FILE, check_format, export_project
from samadapt.store.import_undo import do_again, take_back
from samadapt.store.importing import import_dataset
from samadapt.store.labels import COLOURS
from samadapt.store.readers import read_annotations

router = APIRouter(prefix="/api")

_BLOCK = 1 << 16
_MOST_TOLD = 20
_LONGEST_LINE = 300
_MOST_CONTAINERS = 2_000_000
"""Most lists and objects of a file; an empty one takes thirty times the memory of its text."""


@router.get("/project")
def project(here: Here) -> dict[str, Any]:
    """Return what the page needs at its start: name, model, labels, export formats, notes."""
    labels, revision = here.project.labels.all()
    formats = ALL_FORMATS if here.gallery.slices.stacks else tuple(FORMATS)
    return {
        "id": here.id,
        "name": here.folder.name,
        "folder": str(here.folder),
        "project": here.project.database.name,
        "model": str(here.model.identity.name),
        "labels": [label.model_dump() for label in labels],
        "labels_revision": revision,
        "colours": list(COLOURS),
        "formats": [{"name": name, "one_file": name in ONE_FILE} for name in formats],
        "notes": [*here.notes, *here.learning.notes],
    }


@router.get("/learning")
def learning(here: Here) -> dict[str, Any]:
    """Return the state of learning, as `Learning.summary` describes it."""
    return here.learning.summary()


@router.post("/learning/reset")
def reset(here: Here) -> dict[str, Any]:
    """Forget what was learned; a copy stays in the folder of adapters."""
    with here.changing_adapters() as adapters:
        adapters.reset()
    return here.learning.summary()


@router.post("/learning/snapshot")
def snapshot(wanted: NameRequest, here: Here) -> dict[str, Any]:
    """Save a snapshot of what was learned."""
    place = here.learning.snapshot(wanted.name)
    return {**here.learning.summary(), "saved": str(place)}


@router.post("/learning/adapter")
def adapter(wanted: AdapterRequest, here: Here) -> dict[str, Any]:
    """Use another adapter."""
    with here.changing_adapters() as adapters:
        adapters.choose(wanted.adapter)
    return here.learning.summary()


@router.post("/import")
async def import_file(
    request: Request,
    here: Here,
    me: Me,
    name: Annotated[str, Query(min_length=1, max_length=200)] = "file.json",
    crowds: bool = False,
) -> dict[str, Any]:
    """Add the objects of a COCO file, or of a zip archive in any known format, to the images of
    the same names; one file at a time.
    """
    with tempfile.TemporaryDirectory(prefix="samadapt-") as folder:
        path = Path(folder) / "import.json"
        await _receive(request.stream(), path, name)
        if not here.importing.acquire(blocking=False):
            raise BusyError("another file is being imported: try again when it is done")
        try:
            return await run_in_threadpool(_import, here, path, name, me.person, crowds)
        finally:
            here.imported = (0, 0)
            here.importing.release()


@router.get("/import")
def import_progress(here: Here) -> dict[str, Any]:
    """Return the progress of the present import: images done, and images in all."""
    done, images = here.imported
    return {"running": here.importing.locked(), "done": done, "images": images}


@router.post("/import/undo")
def undo_import(wanted: ImportedRequest, here: Here, me: Me) -> dict[str, Any]:
    """Undo an import as one step; objects that were changed since stay."""
    return {"objects": take_back(here.project, wanted.objects, me.person, wanted.revision)}


@router.post("/import/redo")
def redo_import(wanted: ImportedRequest, here: Here, me: Me) -> dict[str, Any]:
    """Restore the objects of an import that was undone."""
    return {"objects": do_again(here.project, wanted.objects, me.person, wanted.revision)}


@router.get("/export")
def export(
    here: Here,
    format: Annotated[str, Query(max_length=30)] = "coco",
    done_only: bool = False,
    approved_only: bool = False,
    untouched: bool = False,
    simplify: Annotated[float, Query(ge=0, le=100)] = 0.0,
) -> StreamingResponse:
    """Return all objects as a file (COCO) or a zip archive (all other formats).

    Objects that cannot be written are listed in the file's "info", or in `left-out.txt` of the
    archive. The header "x-samadapt-summary" holds, as percent-encoded JSON, what was written and
    what was left out.
    """
    check_format(format, simplify, ALL_FORMATS)
    folder = Path(tempfile.mkdtemp(prefix="samadapt-"))
    try:
        out = folder / ("annotations.json" if format in ONE_FILE else format)
        found = export_project(
            here.project,
            here.folder,
            format,
            out,
            done_only=done_only,
            approved_only=approved_only,
            untouched=untouched,
            tolerance=simplify,
        )
        if format not in ONE_FILE:
            if found.left_out:
                text = "".join(f"{line}\n" for line in found.left_out)
                (out / "left-out.txt").write_text(text, encoding="utf-8")
            out = Path(shutil.make_archive(str(out), "zip", out))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    summary = {
        "written": found.summary(),
        "left_out": [line[:_LONGEST_LINE] for line in found.left_out[:_MOST_TOLD]],
        "left_out_count": len(found.left_out),
    }
    headers = {
        "content-disposition": f'attachment; filename="{out.name}"',
        "x-samadapt-left-out": str(len(found.left_out)),
        "x-samadapt-summary": quote(json.dumps(summary)),
    }
    kind = "application/json" if format in ONE_FILE else "application/zip"
    return StreamingResponse(_sent(out, folder), media_type=kind, headers=headers)


def _sent(path: Path, folder: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _receive(stream: AsyncIterator[bytes], path: Path, name: str) -> None:
    containers = 0
    with path.open("wb") as file:
        async for block in stream:
            containers += block.count(b"[") + block.count(b"{")
            if containers > _MOST_CONTAINERS:
                raise DataError(
                    f"{name} has more than {_MOST_CONTAINERS} lists and objects: {IMPORT_AT_START}"
                )
            await run_in_threadpool(file.write, block)


def _import(here: Workspace, path: Path, name: str, person: str, crowds: bool) -> dict[str, Any]:
    def told(text: object) -> str:
        inside = str(text).replace(f"{path.parent / 'files'}/", "")
        return inside.replace(str(path.parent / "files"), name).replace(str(path), name)

    def note(done: int, images: int) -> None:
        here.imported = done, images

    try:
        dataset = read_annotations(unpacked(path, name, path.parent / "files"), here.folder)
        origin = Path(name).name
        found = import_dataset(here.project, dataset, person, origin, crowds=crowds, progress=note)
    except SamadaptError as error:
        raise DataError(told(error)) from None
    return {
        "added": found.added,
        "known": found.known,
        "summary": found.summary(),
        "left_out": [told(one) for one in found.left_out[:_MOST_TOLD]],
        "left_out_count": found.left_out_count,
        "differing": [told(one) for one in found.differing[:_MOST_TOLD]],
        "differing_count": len(found.differing),
        "crowds": found.crowds,
        "objects": list(found.objects),
    }
