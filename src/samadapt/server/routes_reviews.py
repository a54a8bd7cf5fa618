"""Routes about reviews: assignees of images, states of review, and comments on places."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter

from samadapt.errors import ImageError
from samadapt.server.who import Here, ImageId, Me, ObjectId
from samadapt.server.wire_review import (
    AssignRequest,
    CommentRequest,
    ResolveRequest,
    ReviewRequest,
)
from samadapt.store.reviews import Place

router = APIRouter(prefix="/api")

Json = dict[str, Any]


@router.get("/people")
def people(here: Here) -> Json:
    """Return the names of all people who annotated, commented, or are assigned images."""
    return {"people": here.project.reviews.people()}


@router.get("/images/{image_id}/review")
def review(image_id: ImageId, here: Here) -> Json:
    """Return the state of an image's review, its assignee and its comments."""
    return _review(here, image_id)


@router.post("/images/{image_id}/review")
def set_state(image_id: ImageId, wanted: ReviewRequest, here: Here, me: Me) -> Json:
    """Mark an image for review, approve it, or send it back with a comment."""
    said = wanted.comment
    comment = None if said is None else _said(here, image_id, said)
    here.project.reviews.set_state(image_id, wanted.state, wanted.revision, me.person, comment)
    return _review(here, image_id)


@router.post("/images/{image_id}/comments")
def comment(image_id: ImageId, wanted: CommentRequest, here: Here, me: Me) -> Json:
    """Add a comment to a place in an image."""
    here.project.reviews.comment(image_id, *_said(here, image_id, wanted), me.person)
    return _review(here, image_id)


@router.post("/comments/{number}")
def resolve(number: ObjectId, wanted: ResolveRequest, here: Here, me: Me) -> Json:
    """Mark a comment as resolved, or as open."""
    return _review(here, here.project.reviews.resolve(number, wanted.resolved, me.person))


@router.post("/assign")
def assign(wanted: AssignRequest, here: Here, me: Me) -> Json:
    """Assign images to a person, or to nobody."""
    here.project.reviews.assign(wanted.images, wanted.assignee, me.person)
    return {}


def _said(here: Here, image_id: int, wanted: CommentRequest) -> tuple[str, Place]:
    """Return text and place of a comment, after reading the image's size."""
    with suppress(ImageError):  # an unreadable image can have comments as well
        here.gallery.looked_at(image_id)
    return wanted.text, (wanted.x, wanted.y)


def _review(here: Here, image_id: int) -> Json:
    now = here.project.reviews.get(image_id)
    image = here.project.images.get(image_id)
    return {
        "image": image_id,
        "state": now.state,
        "assignee": now.assignee,
        "revision": now.revision,
        "mark": {"mark": image.mark, "revision": image.revision},
        "comments": [
            {
                "number": one.number,
                "text": one.text,
                "x": one.x,
                "y": one.y,
                "person": one.person,
                "time": one.time,
                "resolved": one.resolved,
            }
            for one in here.project.reviews.comments(image_id)
        ],
    }
