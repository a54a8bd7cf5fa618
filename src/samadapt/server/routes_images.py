"""Routes about images: the list, one image, its pixels, its mark, and who annotates it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from samadapt.errors import ImageError, SamadaptError
from samadapt.server.acting import current_json
from samadapt.server.gallery import Wanted
from samadapt.server.pictures import THUMBNAIL_SIDE
from samadapt.server.tiled_images import TILE
from samadapt.server.who import Here, ImageId, Me
from samadapt.server.wire import LARGEST_ID, MarkRequest
from samadapt.server.wire_answers import object_json
from samadapt.server.workspace import Workspace
from samadapt.store.records import Claim, StoredImage
from samadapt.store.session_objects import label_number

router = APIRouter(prefix="/api")

_MOST_CHANGED = 300
"""Most rows in an answer about changes; beyond it, sending the whole list costs no more."""


@router.get("/images")
def list_images(here: Here, me: Me) -> Response:
    """Return the list of all images.

    `images` are rows as `Gallery.rows` describes them, `taken` the names of the people who annotate
    an image now, by image, `number` the number of the last event in the log. Each of the `stacks`
    has the numbers of its slices, which are images as well.
    """
    number = here.project.journal.last_number()
    rows = here.gallery.rows(here.gallery.scan(), here.sessions.holding(me.client))
    found = {"images": rows, "taken": _taken(here, me.client), "number": number}
    # FastAPI would validate every one of up to ten thousand rows.
    body = json.dumps(found | {"stacks": here.gallery.slices.rows()})
    return Response(body, media_type="application/json")


@router.get("/changes")
def changes(
    here: Here,
    me: Me,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
    image: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
) -> dict[str, Any]:
    """Return what anybody changed after event `after`; fast while nothing has changed.

    `images` are the changed rows of the list, without the client's objects under way; null if they
    are too many: then request the list. `open` is the state of `image` if it changed: number and
    revision of its objects, and its mark. `others` are the names of other people who annotate it
    now. `proposals` is the number of all waiting proposals, `learned` the number of objects that
    the adapter has learned.
    """
    number = here.project.journal.last_number()
    claims = [claim for claim in here.project.claims.all() if claim.client != me.client]
    answer: dict[str, Any] = {
        "number": number,
        "taken": {claim.image_id: _name(claim) for claim in claims},
        "others": [_name(claim) for claim in claims if claim.image_id == image],
        "proposals": here.gallery.waiting.count(),
        "learned": here.learning.learned,
    }
    if number == after:
        return answer
    changed = here.project.journal.changed_since(after)
    if len(changed) <= _MOST_CHANGED:
        entries = here.project.images.entries(changed) if changed else []
        answer["images"] = here.gallery.rows(entries, ())
    else:
        answer["images"] = None
    answer["labels_revision"] = here.project.labels.all()[1]
    if image in changed:
        things = here.project.objects.of_image(image)
        now = here.project.images.get(image)
        answer["open"] = {
            "versions": [[thing.id, thing.revision] for thing in things],
            "mark": now.mark,
            "revision": now.revision,
        }
    return answer


@router.post("/images/{image_id}/open")
def open_image(image_id: ImageId, here: Here, me: Me) -> dict[str, Any]:
    """Open an image: claim it, and return all about it but its pixels; does not wait to encode."""
    image = here.looked_at(image_id)
    others = here.project.claims.take(me.client, image_id, me.person)
    here.encoder.look_ahead(here.gallery.ahead(image_id))
    facts = image.facts
    if facts is None:
        raise ImageError(f"{image.name} cannot be read")
    is_tiled = here.tiled.is_tiled(here.gallery.path(image))
    if is_tiled:
        here.tiled.get(here.gallery.path(image))
    current, problem = None, None
    state = here.sessions.state(me.client, image_id)
    try:
        if not state.object.is_blank:
            client = here.sessions.get(me.client, me.person, image_id)
            state = client.session.state
            current = None if state.object.is_blank else current_json(client)
    except SamadaptError as error:
        problem = str(error)
    warnings = here.gallery.warnings(image)
    if problem:
        warnings.append(problem)
    return {
        "id": image.id,
        "name": image.name,
        "width": facts.width,
        "height": facts.height,
        "version": _version(image),
        "mark": image.mark,
        "revision": image.revision,
        "tile": TILE if is_tiled else None,
        "ready": is_tiled or here.encoder.is_ready(facts),
        "objects": [object_json(o) for o in here.project.objects.of_image(image_id)],
        "current": current,
        "label": label_number(state.object.label),
        "can_undo": bool(state.undo),
        "can_redo": bool(state.redo),
        "others": [*map(_name, others)],
        "warnings": warnings,
        "change": here.project.journal.last_change(image_id),
    }


@router.get("/images/{image_id}/objects")
def list_objects(image_id: ImageId, here: Here) -> dict[str, Any]:
    """Return the present objects of an image, and its mark."""
    image = here.project.images.get(image_id)
    change = here.project.journal.last_change(image_id)
    return {
        "objects": [object_json(o) for o in here.project.objects.of_image(image_id)],
        "mark": image.mark,
        "revision": image.revision,
        "change": change,
    }


@router.get("/images/{image_id}/pixels")
def pixels(image_id: ImageId, here: Here, decoded: bool = False) -> Response:
    """Return the image without loss, or an overview of a large one; a header has its version.

    Pages ask for the `decoded` image, a PNG, if the browser cannot decode the file: it may be
    damaged, which is then stored as the image's problem, or of a kind that only the server reads.
    """
    image = here.gallery.looked_at(image_id)
    path, headers = here.gallery.path(image), {"x-samadapt-version": _version(image)}
    if here.tiled.is_tiled(path):
        return Response(here.tiled.overview(path), media_type="image/jpeg", headers=headers)
    try:
        body, kind = here.pictures.decoded(path) if decoded else here.pictures.picture(path)
    except ImageError as error:
        here.gallery.note(image_id, None, str(error))
        raise
    return Response(body, media_type=kind, headers=headers)


@router.get("/images/{image_id}/tiles/{step}/{column}/{row}")
def tile(
    image_id: ImageId,
    step: Annotated[int, Path(ge=1, le=LARGEST_ID)],
    column: Annotated[int, Path(ge=0, le=LARGEST_ID)],
    row: Annotated[int, Path(ge=0, le=LARGEST_ID)],
    here: Here,
    version: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Return a tile of a large image at every `step`-th pixel; browsers may cache a version."""
    image = here.gallery.looked_at(image_id)
    path = here.gallery.path(image)
    if not here.tiled.is_tiled(path):
        raise ImageError(f"{image.name} fits into memory: it has no tiles")
    body = here.tiled.tile(path, step, column, row)
    is_this = version == _version(image)
    kept = "private, max-age=31536000, immutable" if is_this else "no-store"
    return Response(body, media_type="image/jpeg", headers={"cache-control": kept})


@router.get("/images/{image_id}/thumbnail")
def thumbnail(image_id: ImageId, here: Here) -> Response:
    """Return a small JPEG of an image."""
    image = here.gallery.looked_at(image_id)
    path = here.gallery.path(image)
    if here.tiled.is_tiled(path):
        if image.problem:
            raise ImageError(image.problem)
        body, kind = here.tiled.thumbnail(path, THUMBNAIL_SIDE), "image/jpeg"
    else:
        body, kind = here.pictures.thumbnail(path)
    return Response(body, media_type=kind, headers={"cache-control": "private, max-age=3600"})


@router.post("/images/{image_id}/mark")
def mark(image_id: ImageId, wanted: MarkRequest, here: Here, me: Me) -> dict[str, Any]:
    """Mark an image as done, skipped or neither."""
    image = here.project.images.mark(image_id, wanted.mark, wanted.revision, me.person)
    return {"mark": image.mark, "revision": image.revision}


@router.get("/next")
def next_image(
    here: Here,
    me: Me,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
    step: Annotated[int, Query(ge=-1, le=1)] = 1,
    unfinished: bool = False,
    review: bool = False,
) -> dict[str, Any]:
    """Return the number of the next (unfinished, or waiting for review) image; null at the end."""
    wanted: Wanted = "review" if review else "unfinished" if unfinished else "any"
    direction = -1 if step < 0 else 1
    return {"image": here.gallery.next_image(me.client, me.person, after, direction, wanted)}


@router.post("/here/{image_id}")
def still_here(image_id: ImageId, here: Here, me: Me) -> dict[str, Any]:
    """Renew the claim of an image, and return what others do; pages call it every few seconds."""
    image = here.project.images.get(image_id)
    others = here.project.claims.take(me.client, image_id, me.person)
    return {
        "others": [*map(_name, others)],
        "taken": _taken(here, me.client),
        "change": here.project.journal.last_change(image_id),
        "ready": here.encoder.is_ready(image.facts),
        "active": here.learning.is_adapted,
    }


@router.post("/leave")
def leave(here: Here, me: Me) -> dict[str, Any]:
    """Release the client's claim of an image, as its page was closed."""
    here.project.claims.release(me.client)
    return {}


def _version(image: StoredImage) -> str:
    facts = image.facts
    return "" if facts is None else f"{facts.modified:x}-{facts.file_size:x}"


def _taken(here: Workspace, client: str) -> dict[int, str]:
    claims = here.project.claims.all()
    return {claim.image_id: _name(claim) for claim in claims if claim.client != client}


def _name(claim: Claim) -> str:
    return claim.person or "somebody"
