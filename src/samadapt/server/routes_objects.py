"""Routes about objects: clicking one, accepting it, and those that are there."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.server.sittings import Sitting
from samadapt.server.who import Here, ImageId, Me, ObjectId
from samadapt.server.wire import (
    AcceptRequest,
    AddRequest,
    BoxRequest,
    ChangeRequest,
    ChooseRequest,
    ClickRequest,
    EditRequest,
    RevisionRequest,
    SimilarRequest,
    crop_of,
    current_json,
    object_json,
    proposal_crop,
)
from samadapt.store.errors import ConflictError
from samadapt.store.objects import NewMask

router = APIRouter(prefix="/api")


def _now(sitting: Sitting) -> dict[str, Any]:
    return current_json(sitting.session, sitting.edited)


@router.post("/images/{image_id}/click")
def click(image_id: ImageId, wanted: ClickRequest, here: Here, me: Me) -> dict[str, Any]:
    """Click on the object, or on the background."""

    def action(sitting: Sitting) -> dict[str, Any]:
        sitting.session.click(wanted.x, wanted.y, wanted.positive)
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/box")
def box(image_id: ImageId, wanted: BoxRequest, here: Here, me: Me) -> dict[str, Any]:
    """Draw a box."""

    def action(sitting: Sitting) -> dict[str, Any]:
        sitting.session.box(wanted.x0, wanted.y0, wanted.x1, wanted.y1)
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/choose")
def choose(image_id: ImageId, wanted: ChooseRequest, here: Here, me: Me) -> dict[str, Any]:
    """Show another candidate."""

    def action(sitting: Sitting) -> dict[str, Any]:
        sitting.session.choose(wanted.index)
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/undo")
def undo(image_id: ImageId, here: Here, me: Me) -> dict[str, Any]:
    """Take the last action on the object back."""

    def action(sitting: Sitting) -> dict[str, Any]:
        sitting.session.undo()
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/redo")
def redo(image_id: ImageId, here: Here, me: Me) -> dict[str, Any]:
    """Do it again."""

    def action(sitting: Sitting) -> dict[str, Any]:
        sitting.session.redo()
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/skip")
def skip(image_id: ImageId, here: Here, me: Me) -> dict[str, Any]:
    """Give the object under way up."""

    def action(sitting: Sitting) -> dict[str, Any]:
        here.skip(sitting)
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/preview")
def preview(image_id: ImageId, wanted: ClickRequest, here: Here, me: Me) -> dict[str, Any]:
    """What a click there would give; nothing happens."""
    return {"mask": crop_of(here.preview(me.client, me.person, image_id, wanted.x, wanted.y))}


@router.post("/images/{image_id}/edit")
def edit(image_id: ImageId, wanted: EditRequest, here: Here, me: Me) -> dict[str, Any]:
    """Take an object up again to improve it."""

    def action(sitting: Sitting) -> dict[str, Any]:
        here.edit(sitting, wanted.object, wanted.revision)
        return _now(sitting)

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/accept")
def accept(image_id: ImageId, wanted: AcceptRequest, here: Here, me: Me) -> dict[str, Any]:
    """Accept the object under way; answered when it is on the disk."""
    known = here.project.objects.find_key(wanted.key, image_id)
    if known is not None:  # the answer to the first request was lost
        return {"object": object_json(known)}

    def action(sitting: Sitting) -> dict[str, Any]:
        size = sitting.session.image_size
        mask = None if wanted.mask is None else wanted.mask.mask(size)
        edited = None if wanted.edited is None else (wanted.edited.object, wanted.edited.revision)
        saved = here.accept(sitting, wanted.key, wanted.label, mask, edited)
        return {"object": object_json(saved)}

    return here.act(me.client, me.person, image_id, action)


@router.post("/images/{image_id}/objects")
def add(image_id: ImageId, wanted: AddRequest, here: Here, me: Me) -> dict[str, Any]:
    """Add an object that was painted, or proposed and accepted."""
    image = here.gallery.looked_at(image_id)
    facts = image.facts
    if facts is None:
        raise SessionError(f"{image.name} was not looked at yet: open it first")
    mask = wanted.mask.mask((facts.height, facts.width))
    if not mask.any():
        raise SessionError("the mask is empty: paint something first")
    new = NewMask(
        image_id,
        Rle.from_mask(mask),
        wanted.label,
        "similar" if wanted.source == "similar" else "brush",
        wanted.key,
        content_hash=facts.content_hash,
    )
    return {"object": object_json(here.project.objects.add(new, me.person))}


@router.post("/images/{image_id}/similar")
def similar(image_id: ImageId, wanted: SimilarRequest, here: Here, me: Me) -> dict[str, Any]:
    """Propose further objects like the accepted ones."""

    def action(sitting: Sitting) -> dict[str, Any]:
        size = sitting.session.image_size
        rejected = [Rle.from_mask(crop.mask(size)) for crop in wanted.rejected]
        found = here.similar(sitting, wanted.label, wanted.most, rejected, wanted.tried)
        return {
            "proposals": [
                {"mask": proposal_crop(p), "likeness": round(p.score, 3)} for p in found.proposals
            ],
            "tried": [list(place) for place in found.tried],
            "more": found.more,
            "looked": found.looked,
            "places": found.places,
        }

    return here.act(me.client, me.person, image_id, action)


@router.get("/images/{image_id}/similar")
def similar_progress(image_id: ImageId, here: Here, me: Me) -> dict[str, Any]:
    """How many of how many places the search that is going on has looked at."""
    looked, places = here.searched(me.client, image_id)
    return {"looked": looked, "places": places}


@router.post("/objects/{object_id}")
def change(object_id: ObjectId, wanted: ChangeRequest, here: Here, me: Me) -> dict[str, Any]:
    """Give an object another label, or another mask."""
    now = here.project.objects.get(object_id)
    rle = None
    if wanted.mask is not None:
        mask = wanted.mask.mask((now.height, now.width))
        if not mask.any():
            raise ConflictError("the mask is empty: delete the object instead")
        rle = Rle.from_mask(mask)
    thing = here.project.objects.change(object_id, wanted.revision, me.person, wanted.label, rle)
    return {"object": object_json(thing)}


@router.post("/objects/{object_id}/delete")
def delete(object_id: ObjectId, wanted: RevisionRequest, here: Here, me: Me) -> dict[str, Any]:
    """Delete an object; it can be brought back."""
    thing = here.project.objects.delete(object_id, wanted.revision, me.person)
    return {"object": object_json(thing)}


@router.post("/objects/{object_id}/restore")
def restore(object_id: ObjectId, wanted: RevisionRequest, here: Here, me: Me) -> dict[str, Any]:
    """Bring a deleted object back."""
    thing = here.project.objects.restore(object_id, wanted.revision, me.person)
    return {"object": object_json(thing)}
