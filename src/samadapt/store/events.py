"""Events of a project other than clicks, one class per kind, and their JSON.

Clicks and accepted masks are events of a session (`samadapt.session.events`). Both kinds stand in
the same log, in the order in which they happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from samadapt.store.errors import StoreError

Mark = Literal["", "done", "skipped"]
Source = Literal["clicks", "brush", "similar", "import", "label-studio"]


class Label(BaseModel):
    """A class of objects: a number that never changes, its name and its colour "#rrggbb"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    colour: str


class ProjectEvent(BaseModel):
    """Base of all events of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]


class ImagesAdded(ProjectEvent):
    """Files were found in the folder: (number, name) each."""

    kind: ClassVar[str] = "images added"
    images: tuple[tuple[int, str], ...]


class ImageMarked(ProjectEvent):
    """An image was finished ("done"), put aside ("skipped") or taken up again ("")."""

    kind: ClassVar[str] = "image marked"
    image: int
    mark: Mark
    revision: int


class LabelsSet(ProjectEvent):
    """The list of labels became this one."""

    kind: ClassVar[str] = "labels set"
    labels: tuple[Label, ...]
    revision: int


class ObjectAdded(ProjectEvent):
    """An object is there, with its mask as COCO's compressed run lengths.

    Attributes:
        object: its number, never given twice.
        key: the page's own name for it; the same request again adds nothing.
        image: where.
        label: number of its label, if it has one.
        height, width, counts: the mask.
        source: how it was made.
        content_hash: of the pixels that it was drawn on, as far as known.
        prompts: clicks and boxes that it took.
        adapted: whether what was learned took part in it.
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
    """An object has another mask or label; `revision` counts its versions from 1."""

    kind: ClassVar[str] = "object changed"
    object: int
    revision: int
    label: int | None
    counts: str


class ObjectDeleted(ProjectEvent):
    """An object was deleted; it can be brought back."""

    kind: ClassVar[str] = "object deleted"
    object: int
    revision: int


class ObjectRestored(ProjectEvent):
    """A deleted object is there again."""

    kind: ClassVar[str] = "object restored"
    object: int
    revision: int


class EditBegan(ProjectEvent):
    """The clicks that follow in the session `stream` improve an object that was there already.

    Earlier versions wrote it; now it is an event of the session (`Reopened`).
    """

    kind: ClassVar[str] = "edit began"
    object: int
    revision: int
    stream: str


class ObjectMeasured(ProjectEvent):
    """The number of prompts that the frozen model would have needed for an accepted object."""

    kind: ClassVar[str] = "object measured"
    object: int
    frozen_prompts: int


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
