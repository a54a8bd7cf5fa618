"""Events of a project other than clicks, one class per kind, and their JSON.

Clicks and accepted masks are events of a session (`samadapt.session.events`). Both kinds are in
the same log, in the order in which they happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictStr, ValidationError

from samadapt.store.errors import StoreError

Mark = Literal["", "done", "skipped"]
ReviewState = Literal["", "review", "approved", "returned"]
"""State of an image's review: none, waiting, approved, or returned for more work."""
Source = Literal["clicks", "brush", "similar", "import", "label-studio"]


Value = StrictBool | StrictFloat | StrictStr
"""Value of an attribute."""


class Attribute(BaseModel):
    """An attribute of the objects of a label: a text, number, choice or flag."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["text", "number", "choice", "flag"] = "text"
    choices: tuple[str, ...] = ()


class Label(BaseModel):
    """A class of objects: a number that never changes, its name and its colour "#rrggbb"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    colour: str
    attributes: tuple[Attribute, ...] = ()


class ProjectEvent(BaseModel):
    """Base of all events of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]


class ImagesAdded(ProjectEvent):
    """Files were found in the folder: (number, name) each."""

    kind: ClassVar[str] = "images added"
    images: tuple[tuple[int, str], ...]


class ImageMarked(ProjectEvent):
    """An image was marked as "done" or "skipped", or its mark was removed ("")."""

    kind: ClassVar[str] = "image marked"
    image: int
    mark: Mark
    revision: int


class LabelsSet(ProjectEvent):
    """The list of labels was replaced."""

    kind: ClassVar[str] = "labels set"
    labels: tuple[Label, ...]
    revision: int


class ObjectAdded(ProjectEvent):
    """An object was added, with its mask as COCO's compressed run lengths.

    Attributes:
        object: its number, never reused.
        key: idempotency key of its request; repeating the request adds nothing.
        image: number of its image.
        label: number of its label, if it has one.
        height, width, counts: the mask.
        source: origin of the object.
        content_hash: of the pixels that it was drawn on, if known.
        prompts: number of its clicks, boxes and strokes.
        adapted: whether an adapted model was used for it.
    """

    kind: ClassVar[str] = "object added"
    object: int
    key: str
    image: int
    label: int | None
    height: int
    width: int
    counts: str
    source: Source
    content_hash: str | None = None
    prompts: int | None = None
    adapted: bool = False


class ObjectChanged(ProjectEvent):
    """An object got another mask or label; `revision` counts its versions from 1.

    `prompts` is its present number of prompts; None if none was added.
    """

    kind: ClassVar[str] = "object changed"
    object: int
    revision: int
    label: int | None
    counts: str
    prompts: int | None = None


class ObjectDeleted(ProjectEvent):
    """An object was deleted; it can be restored."""

    kind: ClassVar[str] = "object deleted"
    object: int
    revision: int


class ObjectRestored(ProjectEvent):
    """A deleted object was restored."""

    kind: ClassVar[str] = "object restored"
    object: int
    revision: int


class EditBegan(ProjectEvent):
    """The following clicks in the session `stream` edit an existing object.

    Only earlier versions wrote it; now it is an event of the session (`Reopened`).
    """

    kind: ClassVar[str] = "edit began"
    object: int
    revision: int
    stream: str


class ObjectMeasured(ProjectEvent):
    """The frozen model's number of prompts was measured for an accepted object."""

    kind: ClassVar[str] = "object measured"
    object: int
    frozen_prompts: int


class ObjectDescribed(ProjectEvent):
    """The attributes of an object were set."""

    kind: ClassVar[str] = "object described"
    object: int
    attributes: dict[str, Value]


class ImageTagged(ProjectEvent):
    """The tags of an image were set."""

    kind: ClassVar[str] = "image tagged"
    image: int
    tags: tuple[str, ...]


class FramesGrouped(ProjectEvent):
    """From now on the images of each folder are the frames of one stack, or not any more."""

    kind: ClassVar[str] = "frames grouped"
    frames: bool


class TrackFacts(BaseModel):
    """What is said of a track, beside which objects are in it.

    Attributes:
        parent: the track that it was split from.
        ends: whether the object is in no slice after its last one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent: int | None = None
    ends: bool = False


class TracksChanged(ProjectEvent):
    """Objects are in other tracks, or something else is said of tracks.

    Attributes:
        objects: the track of each object; an object without one is a track by itself, of its own
            number.
        tracks: what is said of each.
    """

    kind: ClassVar[str] = "tracks changed"
    objects: dict[int, int] = {}
    tracks: dict[int, TrackFacts] = {}


class ImageAssigned(ProjectEvent):
    """An image was assigned to a person; to nobody if `assignee` is empty."""

    kind: ClassVar[str] = "image assigned"
    image: int
    assignee: str


class ImageReviewed(ProjectEvent):
    """The review of an image got another state; `revision` counts the changes from 1."""

    kind: ClassVar[str] = "image reviewed"
    image: int
    state: ReviewState
    revision: int


class CommentAdded(ProjectEvent):
    """A comment was pinned to a place (x, y) of an image; its number is never reused."""

    kind: ClassVar[str] = "comment added"
    comment: int
    image: int
    text: str
    x: float
    y: float


class CommentResolved(ProjectEvent):
    """A comment was resolved, or opened again."""

    kind: ClassVar[str] = "comment resolved"
    comment: int
    resolved: bool


KINDS: Mapping[str, type[ProjectEvent]] = {
    kind.kind: kind
    for kind in (
        ImagesAdded,
        ImageMarked,
        LabelsSet,
        ObjectAdded,
        ObjectChanged,
        ObjectDeleted,
        ObjectRestored,
        EditBegan,
        ObjectMeasured,
        ObjectDescribed,
        ImageTagged,
        FramesGrouped,
        TracksChanged,
        ImageAssigned,
        ImageReviewed,
        CommentAdded,
        CommentResolved,
    )
}


def read_event(kind: str, body: str) -> ProjectEvent:
    """An event from its kind and JSON.

    Raises:
        StoreError: unknown kind, or damaged.
    """
    if kind not in KINDS:
        raise StoreError(f"the project has an event {kind!r}: install a newer samadapt")
    try:
        return KINDS[kind].model_validate_json(body)
    except ValidationError as error:
        raise StoreError(
            f"the project's log is damaged at an event {kind!r} "
            f"({error.error_count()} fields): restore it from a copy"
        ) from None
