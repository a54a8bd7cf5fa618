"""Routes that change several objects at once, and masks by a tool; each is one step of undo."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from samadapt.server.acting import Json, acted
from samadapt.server.client_sessions import ClientSession
from samadapt.server.who import Here, ImageId, Me
from samadapt.server.wire import (
    CutRequest,
    ObjectsRequest,
    RelabelRequest,
    ToolRequest,
    VersionRequest,
)
from samadapt.session.state import SavedObject
from samadapt.store.errors import ConflictError
from samadapt.store.session_objects import saved_object

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
    label = None if wanted.label is None else str(wanted.label)

    def action(found: ClientSession) -> None:
        found.session.relabel(_versions(here, image_id, wanted.objects), label)

    return acted(here, me, image_id, action)


@router.post("/merge")
def merge(image_id: ImageId, wanted: ObjectsRequest, here: Here, me: Me) -> Json:
    """Make objects one; the object under way takes them in if there is one."""

    def action(found: ClientSession) -> None:
        found.session.merge(_versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


@router.post("/tool")
def tool(image_id: ImageId, wanted: ToolRequest, here: Here, me: Me) -> Json:
    """Apply a mask tool."""

    def action(found: ClientSession) -> None:
        found.session.apply(wanted.tool, _versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


@router.post("/split")
def split(image_id: ImageId, wanted: CutRequest, here: Here, me: Me) -> Json:
    """Split objects along a stroke."""

    def action(found: ClientSession) -> None:
        cut = wanted.cut.mask(found.session.image_size)
        found.session.split(cut, _versions(here, image_id, wanted.objects))

    return acted(here, me, image_id, action)


def _versions(here: Here, image_id: int, wanted: Sequence[VersionRequest]) -> list[SavedObject]:
    """The objects of an image that a request names, in the versions that it is based on.

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
