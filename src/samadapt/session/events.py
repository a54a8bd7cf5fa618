"""What happened in a session, as values: one frozen dataclass per kind of event."""

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
    """An image was opened; an unfinished object of the image before is given up.

    Attributes:
        image: which one.
        model, weights_hash, preprocessing: who encoded it.
        adapters: names of the methods, in the order in which they apply.
        options: the session's.
        samadapt_version: which wrote this.
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
        x, y, positive: where, and what it marks.
        frame: on a large image, the part of it on which the click is answered; None for all.
        base: where that is another part than before, the mask so far, as COCO's compressed run
            lengths of the image: it stays outside of the part. None for the accepted object that
            was opened again, or for none.
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
    """Another label for the current object, and for those that follow."""

    kind: ClassVar[str] = "labelled"
    label: str | None


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """Which version of an accepted object an event is based on.

    Attributes:
        object_id: which object.
        revision: counts its versions from 1.
        label: its label in this version.
    """

    object_id: int
    revision: int
    label: str | None


@dataclass(frozen=True, slots=True)
class Reopened(Event):
    """An accepted object was opened again: the current object is a new version of it.

    Attributes:
        object: the version that is edited.
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
    """Accepted objects have another label."""

    kind: ClassVar[str] = "relabelled"
    objects: tuple[ObjectVersion, ...]
    label: str | None


@dataclass(frozen=True, slots=True)
class ChangedMask:
    """Another mask for an accepted object.

    Attributes:
        object: the version that is changed.
        height, width: of the image.
        before, counts: the mask as it was, and as it is now, as COCO's compressed run lengths.
    """

    object: ObjectVersion
    height: int
    width: int
    before: str
    counts: str


@dataclass(frozen=True, slots=True)
class Edited(Event):
    """A tool changed masks, as one step: of accepted objects, or of the current one.

    Attributes:
        operation: name of the tool, such as "fill holes".
        changed: accepted objects with another mask.
        deleted: accepted objects that were merged into others.
        added: new objects, such as the pieces of a split.
        strokes: pixels that the current object gets and loses, on top of what it is.
    """

    kind: ClassVar[str] = "edited"
    operation: str
    changed: tuple[ChangedMask, ...] = ()
    deleted: tuple[ObjectVersion, ...] = ()
    added: tuple[Added, ...] = ()
    strokes: tuple[Painted, ...] = ()


@dataclass(frozen=True, slots=True)
class Undone(Event):
    """The last step was taken back."""

    kind: ClassVar[str] = "undone"


@dataclass(frozen=True, slots=True)
class Redone(Event):
    """What was taken back last was done again."""

    kind: ClassVar[str] = "redone"


@dataclass(frozen=True, slots=True)
class Forgotten(Event):
    """The next step of undo, or of redo, cannot be taken any more: somebody changed its object."""

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
        object_id: 1, 2, 3, ... over the whole log; in a project, the object's number there.
        label: the class, if one was given.
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
        proposal: number of the proposal, if it waited in a project.
    """

    kind: ClassVar[str] = "added"
    proposal: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A proposal that waited in a project was rejected."""

    kind: ClassVar[str] = "rejected"
    proposal: int


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """The current object was given up without a mask; one that was opened again stays as it was."""

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
