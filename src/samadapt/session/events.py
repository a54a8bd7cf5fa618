"""Events of a session: one frozen dataclass per kind of event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from samadapt.data.frames import Frame
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.session.image_reference import ImageReference as ImageReference
from samadapt.session.options import SessionOptions


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    kind: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Opened(Event):
    """An image was opened; an unfinished object of the previous image is dropped.

    Attributes:
        image: the image.
        model, weights_hash, preprocessing: of the model that encoded it.
        adapters: names of the methods, in the order in which they apply.
        options: of the session.
        samadapt_version: version that wrote the event.
    """

    kind: ClassVar[str] = "opened"
    image: ImageReference
    model: str
    weights_hash: str
    preprocessing: str
    adapters: tuple[str, ...]
    options: SessionOptions
    samadapt_version: str


@dataclass(frozen=True, slots=True)
class Clicked(Event):
    """A click at (x, y), on the object or (positive=False) on the background.

    Attributes:
        x, y, positive: position, and True for the object.
        frame: on a large image, the part of it on which the click is decoded; None for all of it.
        base: the mask so far, as COCO's compressed run lengths of the image, if the frame is not
            that of the prompt before; it is kept outside of the frame. None for no mask or the
            mask of the accepted object that was opened again.
    """

    kind: ClassVar[str] = "clicked"
    x: float
    y: float
    positive: bool = True
    frame: Frame | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Boxed(Event):
    """A box was drawn; it replaces an earlier one. `frame` and `base` are as in `Clicked`."""

    kind: ClassVar[str] = "boxed"
    x0: float
    y0: float
    x1: float
    y1: float
    frame: Frame | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True)
class MaskPart(Event):
    """Base of events that hold a part of a mask: COCO's compressed run lengths of a rectangle.

    Attributes:
        x, y: top-left corner of the rectangle, in pixels of the image.
        height, width, counts: the mask inside it.
    """

    x: int
    y: int
    height: int
    width: int
    counts: str

    def __post_init__(self) -> None:
        if self.x < 0 or self.y < 0:
            raise SessionError(f"event {self.kind!r}: ({self.x}, {self.y}) is outside the image")

    def rows_and_columns(self) -> tuple[slice, slice]:
        """The rectangle's place in the image's array."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def part(self) -> NDArray[np.bool_]:
        """The mask inside the rectangle, (height, width) bool.

        Raises:
            DataError: run lengths that do not fill the rectangle.
        """
        return Rle((self.height, self.width), self.counts.encode()).mask()


@dataclass(frozen=True, slots=True)
class Painted(MaskPart):
    """A brush stroke: pixels were painted, or (positive=False) erased."""

    kind: ClassVar[str] = "painted"
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Trimmed(MaskPart):
    """Pixels of other objects were taken out of the mask, just before it was accepted."""

    kind: ClassVar[str] = "trimmed"


@dataclass(frozen=True, slots=True)
class Labelled(Event):
    """The current object and the following ones got another label."""

    kind: ClassVar[str] = "labelled"
    label: str | None


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """The version of an accepted object on which an event is based.

    Attributes:
        object_id: number of the object.
        revision: number of the version, from 1.
        label: its label in this version.
    """

    object_id: int
    revision: int
    label: str | None


@dataclass(frozen=True, slots=True)
class Reopened(Event):
    """An accepted object was opened again: the current object is a new version of it.

    Attributes:
        object: the version that was opened.
        height, width, counts: its mask as COCO's compressed run-length encoding.
    """

    kind: ClassVar[str] = "reopened"
    object: ObjectVersion
    height: int
    width: int
    counts: str


@dataclass(frozen=True, slots=True)
class Deleted(Event):
    """Accepted objects were deleted."""

    kind: ClassVar[str] = "deleted"
    objects: tuple[ObjectVersion, ...]


@dataclass(frozen=True, slots=True)
class Relabelled(Event):
    """Accepted objects got another label."""

    kind: ClassVar[str] = "relabelled"
    objects: tuple[ObjectVersion, ...]
    label: str | None


@dataclass(frozen=True, slots=True)
class ChangedMask:
    """The change of an accepted object's mask.

    Attributes:
        object: the version before the change.
        height, width: of the image.
        before, counts: the mask before and after, as COCO's compressed run lengths.
    """

    object: ObjectVersion
    height: int
    width: int
    before: str
    counts: str


@dataclass(frozen=True, slots=True)
class Edited(Event):
    """A tool changed masks of accepted objects, or of the current one, in one step.

    Attributes:
        operation: name of the tool, such as "fill holes".
        changed: accepted objects with another mask.
        deleted: accepted objects that were merged into others.
        added: new objects, such as the pieces of a split.
        strokes: pixels added to and removed from the current object.
    """

    kind: ClassVar[str] = "edited"
    operation: str
    changed: tuple[ChangedMask, ...] = ()
    deleted: tuple[ObjectVersion, ...] = ()
    added: tuple[Added, ...] = ()
    strokes: tuple[Painted, ...] = ()


@dataclass(frozen=True, slots=True)
class Undone(Event):
    """The last step was undone."""

    kind: ClassVar[str] = "undone"


@dataclass(frozen=True, slots=True)
class Redone(Event):
    """The step undone last was redone."""

    kind: ClassVar[str] = "redone"


@dataclass(frozen=True, slots=True)
class Forgotten(Event):
    """The next step of undo or redo was dropped, because somebody else changed its object."""

    kind: ClassVar[str] = "forgotten"
    redo: bool = False


@dataclass(frozen=True, slots=True)
class Reset(Event):
    """All clicks, strokes and the box of the current object were removed."""

    kind: ClassVar[str] = "reset"


@dataclass(frozen=True, slots=True)
class Chosen(Event):
    """Another one of the candidate masks was chosen."""

    kind: ClassVar[str] = "chosen"
    index: int


@dataclass(frozen=True, slots=True)
class Accepted(Event):
    """The mask was accepted as an object, or as a new version of one that was opened again.

    Attributes:
        object_id: 1, 2, 3, ... over the whole log; in a project, its number in the project.
        label: the class, if any.
        height, width, counts: the mask as COCO's compressed run-length encoding.
    """

    kind: ClassVar[str] = "accepted"
    object_id: int
    label: str | None
    height: int
    width: int
    counts: str

    @classmethod
    def from_mask(cls, object_id: int, label: str | None, mask: NDArray[np.bool_]) -> Self:
        """The event for `mask` (H, W) bool."""
        rle = Rle.from_mask(mask)
        return cls(object_id, label, *rle.size, rle.counts.decode("ascii"))

    def mask(self) -> NDArray[np.bool_]:
        """The accepted mask, (H, W) bool.

        Raises:
            DataError: run lengths that do not fill the image.
        """
        return Rle((self.height, self.width), self.counts.encode()).mask()


@dataclass(frozen=True, slots=True)
class Added(Accepted):
    """A whole mask was added as an object beside the current one: a proposal was accepted.

    Attributes:
        proposal: number of the proposal in the project, if any.
    """

    kind: ClassVar[str] = "added"
    proposal: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A proposal of a project was rejected."""

    kind: ClassVar[str] = "rejected"
    proposal: int


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """The current object was skipped; an accepted object that was opened again does not change."""

    kind: ClassVar[str] = "skipped"


KINDS: Mapping[str, type[Event]] = {
    kind.kind: kind
    for kind in (
        Opened,
        Clicked,
        Boxed,
        Painted,
        Trimmed,
        Labelled,
        Reopened,
        Deleted,
        Relabelled,
        Edited,
        Undone,
        Redone,
        Forgotten,
        Reset,
        Chosen,
        Accepted,
        Added,
        Rejected,
        Skipped,
    )
}
