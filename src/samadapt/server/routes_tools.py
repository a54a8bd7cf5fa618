"""Routes that change several objects, or masks by a tool; each change is one step of undo."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from samadapt.errors import SessionError
from samadapt.server.acting import Json, acted
from samadapt.server.client_sessions import ClientSession
from samadapt.server.who import Here, ImageId, Me
from samadapt.server.wire import (
    BoxRequest,
    CutRequest,
    ObjectsRequest,
    OutlineRequest,
    PolygonRequest,
    RelabelRequest,
    ToolRequest,
    VersionRequest,
)
from samadapt.session.state import SavedObject
from samadapt.store.errors import ConflictError
from samadapt.store.session_objects import label_text, saved_object

router = APIRouter(prefix="/api/images/{image_id}/objects")


@router.post("/delete")
def delete(image_id: ImageId, wanted: ObjectsRequest, here: Here, me: Me) -> Json:
    """Delete objects."""

    def action(found: ClientSession) -> None:
        if wanted.objects:
            found.session.delete(_versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


@router.post("/label")
def relabel(image_id: ImageId, wanted: RelabelRequest, here: Here, me: Me) -> Json:
    """Give objects another label."""

    def action(found: ClientSession) -> None:
        saved = _versions(here, image_id, wanted.objects)
        found.session.relabel(saved, label_text(wanted.label))

    return acted(here, me, image_id, action)


@router.post("/merge")
def merge(image_id: ImageId, wanted: ObjectsRequest, here: Here, me: Me) -> Json:
    """Merge objects into one; into the object under way if there is one."""

    def action(found: ClientSession) -> None:
        found.session.merge(_versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


@router.post("/tool")
def tool(image_id: ImageId, wanted: ToolRequest, here: Here, me: Me) -> Json:
    """Apply a mask tool."""

    def action(found: ClientSession) -> None:
        found.masks.tool(wanted.tool, _versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


@router.post("/split")
def split(image_id: ImageId, wanted: CutRequest, here: Here, me: Me) -> Json:
    """Split objects along a stroke."""

    def action(found: ClientSession) -> None:
        found.masks.split(wanted.cut, _versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


@router.post("/outline")
def outline(image_id: ImageId, wanted: OutlineRequest, here: Here, me: Me) -> Json:
    """Return the rings of an object's outline as corners (x, y); changes nothing."""

    def action(found: ClientSession) -> Json:
        saved = _one(_versions(here, image_id, wanted.objects))
        return {"rings": found.masks.rings(saved, wanted.tolerance)}

    return here.act(me.client, me.person, image_id, action)


@router.post("/polygon")
def polygon(image_id: ImageId, wanted: PolygonRequest, here: Here, me: Me) -> Json:
    """Replace the mask of an object by the area inside rings."""

    def action(found: ClientSession) -> None:
        found.masks.outline(wanted.rings, _one(_versions(here, image_id, wanted.objects)))

    return acted(here, me, image_id, action)


@router.post("/path")
def path(image_id: ImageId, wanted: BoxRequest, here: Here, me: Me) -> Json:
    """Return the path along image edges from (x0, y0) to (x1, y1); changes nothing."""
    found = here.sessions.get(me.client, me.person, image_id)
    ends = (wanted.x0, wanted.y0), (wanted.x1, wanted.y1)
    return {"path": found.masks.path(*ends, wanted.view)}


def _one(saved: Sequence[SavedObject]) -> SavedObject | None:
    """Return the only object of a request; None for the object under way."""
    if len(saved) > 1:
        raise SessionError("the outline of one object can be changed at a time: select one")
    return saved[0] if saved else None


def _versions(here: Here, image_id: int, wanted: Sequence[VersionRequest]) -> list[SavedObject]:
    """Return the objects of an image that a request names, if their revisions are the present ones.

    Raises:
        ConflictError: one was changed or deleted meanwhile, or belongs to another image.
    """
    known = {thing.id: thing for thing in here.project.objects.of_image(image_id)}
    found = []
    for one in wanted:
        thing = known.get(one.id)
        if thing is None or thing.revision != one.revision:
            who = "somebody else" if thing is None else thing.person or "somebody else"
            raise ConflictError(
                f"object {one.id} was changed by {who} meanwhile: look at it and do it again"
            )
        found.append(saved_object(thing))
    return found
