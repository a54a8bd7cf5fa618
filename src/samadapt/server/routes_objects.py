"""Routes about objects: prompting and accepting one, and changing accepted ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fastapi import APIRouter

from samadapt.server.acting import Json, acted, made_before, made_by
from samadapt.server.client_sessions import ClientSession
from samadapt.server.who import Here, ImageId, Me, ObjectId
from samadapt.server.wire import (
    AcceptRequest,
    AddAllRequest,
    AddRequest,
    BoxRequest,
    ChangeRequest,
    ChooseRequest,
    ClickRequest,
    EditRequest,
    ObjectLabelRequest,
    RevisionRequest,
    SimilarRequest,
    StrokeRequest,
)
from samadapt.server.wire_answers import object_json
from samadapt.session.state import SavedObject
from samadapt.session.steps import Addition
from samadapt.store.errors import ConflictError
from samadapt.store.object_rows import is_done
from samadapt.store.records import StoredObject
from samadapt.store.session_objects import label_text, saved_object

router = APIRouter(prefix="/api")


@router.post("/images/{image_id}/click")
def click(image_id: ImageId, wanted: ClickRequest, here: Here, me: Me) -> Json:
    """Click on the object, or on the background."""
    said = wanted.x, wanted.y, wanted.positive, wanted.view
    return acted(here, me, image_id, lambda found: found.masks.click(*said))


@router.post("/images/{image_id}/box")
def box(image_id: ImageId, wanted: BoxRequest, here: Here, me: Me) -> Json:
    """Draw a box."""
    said = wanted.x0, wanted.y0, wanted.x1, wanted.y1, wanted.view
    return acted(here, me, image_id, lambda found: found.masks.box(*said))


@router.post("/images/{image_id}/stroke")
def stroke(image_id: ImageId, wanted: StrokeRequest, here: Here, me: Me) -> Json:
    """Paint pixels, or erase them."""
    return acted(here, me, image_id, lambda found: found.masks.paint(wanted.mask, wanted.positive))


@router.post("/images/{image_id}/choose")
def choose(image_id: ImageId, wanted: ChooseRequest, here: Here, me: Me) -> Json:
    """Choose another candidate as the mask of the object under way."""
    return acted(here, me, image_id, lambda found: found.session.choose(wanted.index))


@router.get("/images/{image_id}/candidates")
def candidates(image_id: ImageId, here: Here, me: Me) -> Json:
    """Return the masks of all candidates for the object under way, without strokes."""
    return here.act(
        me.client, me.person, image_id, lambda found: {"candidates": found.masks.candidates()}
    )


@router.post("/images/{image_id}/label")
def label(image_id: ImageId, wanted: ObjectLabelRequest, here: Here, me: Me) -> Json:
    """Set the label of the object under way, and of those that follow."""
    name = label_text(wanted.label)
    return acted(here, me, image_id, lambda found: found.session.label(name))


@router.post("/images/{image_id}/undo")
def undo(image_id: ImageId, here: Here, me: Me) -> Json:
    """Undo the last step of any kind."""
    return acted(here, me, image_id, here.undo)


@router.post("/images/{image_id}/redo")
def redo(image_id: ImageId, here: Here, me: Me) -> Json:
    """Redo the step that was undone last."""
    return acted(here, me, image_id, here.redo)


@router.post("/images/{image_id}/skip")
def skip(image_id: ImageId, here: Here, me: Me) -> Json:
    """Discard the object under way."""
    return acted(here, me, image_id, lambda found: found.session.skip())


@router.post("/images/{image_id}/preview")
def preview(image_id: ImageId, wanted: ClickRequest, here: Here, me: Me) -> Json:
    """Return the mask that a click would give, without clicking."""
    found = here.sessions.get(me.client, me.person, image_id)
    return {"mask": found.masks.preview(wanted.x, wanted.y, wanted.view)}


@router.post("/images/{image_id}/edit")
def edit(image_id: ImageId, wanted: EditRequest, here: Here, me: Me) -> Json:
    """Make an accepted object the object under way, to improve it."""
    return acted(here, me, image_id, lambda found: here.edit(found, wanted.object, wanted.revision))


@router.post("/images/{image_id}/accept")
def accept(image_id: ImageId, wanted: AcceptRequest, here: Here, me: Me) -> Json:
    """Accept the object under way; answers when it is saved on the disk."""
    known = made_before(here, me, image_id)
    if known is not None:
        return {"object": object_json(known), **acted(here, me, image_id, lambda found: None)}
    saved: list[int] = []

    def action(found: ClientSession) -> None:
        if wanted.shown is not None and wanted.shown != found.masks.current()[1]:
            raise ConflictError(
                "the mask is not the one that was shown (the model has learned since): look at it "
                "and accept it again"
            )
        saved.append(here.accept(found, wanted.label, wanted.keep_earlier))

    now = acted(here, me, image_id, action)
    thing = here.project.objects.get(saved[0]) if saved else made_by(here, me, image_id)
    return {"object": object_json(thing), **now}


@router.post("/images/{image_id}/objects")
def add(image_id: ImageId, wanted: AddRequest, here: Here, me: Me) -> Json:
    """Add an object from a mask: an accepted proposal, or one painted in another program."""
    known = made_before(here, me, image_id)
    if known is not None:
        return {"object": object_json(known), **acted(here, me, image_id, lambda found: None)}

    made: list[int] = []

    def action(found: ClientSession) -> None:
        new = Addition(found.masks.whole(wanted.mask), label_text(wanted.label))
        here.add(found, [new], wanted.source)
        made.append(found.session.state.last_id)

    now = acted(here, me, image_id, action)
    thing = here.project.objects.get(made[0]) if made else made_by(here, me, image_id)
    return {"object": object_json(thing), **now}


@router.post("/images/{image_id}/objects/add")
def add_all(image_id: ImageId, wanted: AddAllRequest, here: Here, me: Me) -> Json:
    """Add several objects as one step of undo; all of them, or none if one is invalid."""

    def action(found: ClientSession) -> None:
        label = label_text(wanted.label)
        new = [Addition(found.masks.whole(crop), label) for crop in wanted.masks]
        here.add(found, new, wanted.source)

    return {"accepted": len(wanted.masks), **acted(here, me, image_id, action)}


@router.post("/images/{image_id}/similar")
def similar(image_id: ImageId, wanted: SimilarRequest, here: Here, me: Me) -> Json:
    """Propose further objects like the accepted ones of a label."""
    return here.act(me.client, me.person, image_id, lambda found: here.similar(found, wanted))


@router.get("/images/{image_id}/similar")
def similar_progress(image_id: ImageId, here: Here, me: Me) -> Json:
    """Return the progress of the present search: places looked at, and places in all."""
    looked, places = here.searched(me.client, image_id)
    return {"looked": looked, "places": places}


@router.post("/objects/{object_id}")
def change(object_id: ObjectId, wanted: ChangeRequest, here: Here, me: Me) -> Json:
    """Give an object another label."""

    def action(found: ClientSession) -> None:
        thing = here.project.objects.get(object_id)
        again = is_done(thing, wanted.revision, me.person, deleted=False)
        if not (again and thing.label_id == wanted.label):
            saved = _version(thing, wanted.revision)
            found.session.relabel([saved], label_text(wanted.label))

    return _changed(here, me, object_id, action)


@router.post("/objects/{object_id}/delete")
def delete(object_id: ObjectId, wanted: RevisionRequest, here: Here, me: Me) -> Json:
    """Delete an object; undo restores it. Repeating the request changes nothing."""

    def action(found: ClientSession) -> None:
        thing = here.project.objects.get(object_id)
        if not is_done(thing, wanted.revision, me.person, deleted=True):
            found.session.delete([_version(thing, wanted.revision)])

    return _changed(here, me, object_id, action)


def _changed(here: Here, me: Me, object_id: int, action: Callable[[ClientSession], None]) -> Json:
    now = acted(here, me, here.project.objects.get(object_id).image_id, action)
    return {"object": object_json(here.project.objects.get(object_id)), **now}


def _version(thing: StoredObject, revision: int) -> SavedObject:
    """Return the version of an object that a request is based on."""
    return replace(saved_object(thing), revision=revision, rle=None, deleted=False)
