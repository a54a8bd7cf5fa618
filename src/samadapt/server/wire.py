"""What the page sends: requests as pydantic models, masks as run lengths."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from samadapt.data.frames import placed
from samadapt.data.pixels import MAX_PIXELS
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.store.events import Attribute, Mark, TrackFacts, Value
from samadapt.store.tracks import TrackStep

LARGEST_ID = 2**31 - 1
LONGEST_TEXT = 10_000
"""Characters and entries that a request may hold at most; projects allow fewer, with a reason."""
_MOST_OBJECTS = 1_000_000


Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Number = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
Client = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Side = Annotated[int, Field(ge=0, le=1 << 20)]
Step = Annotated[int, Field(ge=1, le=1 << 15)]


class Request(BaseModel):
    """Base of all requests."""

    model_config = ConfigDict(extra="forbid")


class View(Request):
    """What the person sees of a large image; images that fit into memory do not ask for it.

    `step` pixels of the image are a pixel of the screen, `box` is the part in sight.
    """

    step: Step = 1
    box: tuple[Number, Number, Number, Number] | None = None


class Crop(Request):
    """A mask: COCO's compressed run lengths of the part of the image that holds all of it.

    `step` x `step` pixels of the image are one point; `width` and `height` count points.
    """

    x: Side
    y: Side
    width: Annotated[int, Field(ge=1, le=1 << 20)]
    height: Annotated[int, Field(ge=1, le=1 << 20)]
    counts: Annotated[str, Field(min_length=1, max_length=1 << 24)]
    step: Step = 1

    def rle(self) -> Rle:
        """The mask of the part, in points.

        Raises:
            DataError: broken run lengths.
        """
        if self.width * self.height > MAX_PIXELS:
            raise DataError("the mask has more points than can be kept")
        return Rle((self.height, self.width), self.counts.encode("utf-8", "surrogatepass"))

    def whole(self, size: tuple[int, int]) -> Rle:
        """The mask of an image of `size` = (height, width), of which no pixel is decoded.

        Raises:
            DataError: as `mask`.
        """
        return placed(self.rle(), self.x, self.y, self.step, size)

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask at the image's size (H, W).

        Raises:
            DataError: broken run lengths, or outside the image.
        """
        height, width = size
        if (
            self.step > 1
            or self.x + self.width > width
            or self.y + self.height > height
            or self.width * self.height > MAX_PIXELS
        ):
            raise DataError(f"the mask does not lie inside the image of {width} x {height} pixels")
        full = np.zeros(size, np.bool_)
        full[self.y : self.y + self.height, self.x : self.x + self.width] = self.rle().mask()
        return full


class ClickRequest(Request):
    """A click."""

    x: Number
    y: Number
    positive: bool = True
    view: View = View()


class BoxRequest(Request):
    """A box."""

    x0: Number
    y0: Number
    x1: Number
    y1: Number
    view: View = View()


class ChooseRequest(Request):
    """Another candidate."""

    index: Annotated[int, Field(ge=0, le=15)]


class EditRequest(Request):
    """Improve an object that is there."""

    object: Id
    revision: Id


class StrokeRequest(Request):
    """A brush stroke: pixels to paint, or to erase."""

    mask: Crop
    positive: bool = True


class ObjectLabelRequest(Request):
    """Another label for the current object, and those that follow."""

    label: Id | None


class AcceptRequest(Request):
    """Accept the current object.

    `label` stands for that of the object if it is given; with `keep_earlier`, pixels of other
    objects of the image stay theirs. `shown` is the digest of the mask that the person saw: another
    one is not accepted.
    """

    label: Id | None = None
    keep_earlier: bool = False
    shown: Annotated[str, Field(max_length=64)] | None = None


class AddRequest(Request):
    """Add an object that was not clicked: proposed and accepted, or painted elsewhere."""

    mask: Crop
    label: Id | None = None
    source: Annotated[str, Field(pattern="^(brush|similar)$")] = "brush"


class AddAllRequest(Request):
    """Add several objects, as one step."""

    masks: Annotated[list[Crop], Field(max_length=LONGEST_TEXT)]
    label: Id | None = None
    source: Annotated[str, Field(pattern="^(brush|similar)$")] = "similar"


class ChangeRequest(Request):
    """Another label for an object."""

    revision: Id
    label: Id | None = None


class RevisionRequest(Request):
    """Delete."""

    revision: Id


class VersionRequest(Request):
    """A version of an object."""

    id: Id
    revision: Id


class ObjectsRequest(Request):
    """Delete or merge objects of an image, as one step."""

    objects: Annotated[list[VersionRequest], Field(max_length=_MOST_OBJECTS)]


class RelabelRequest(ObjectsRequest):
    """Another label for objects of an image, as one step."""

    label: Id | None


class ToolRequest(ObjectsRequest):
    """A mask tool for objects of an image, or for the one under way if none is named."""

    tool: Annotated[str, Field(max_length=40)]


class CutRequest(ObjectsRequest):
    """Split objects along a stroke, or the one under way if none is named."""

    cut: Crop


Corner = tuple[Number, Number]


class OutlineRequest(ObjectsRequest):
    """The outline of an object, or of the one under way if none is named."""

    tolerance: Annotated[float, Field(ge=0, le=1000)] = 0.0


class PolygonRequest(ObjectsRequest):
    """A new outline for an object, or for the one under way if none is named."""

    rings: Annotated[
        list[Annotated[list[Corner], Field(max_length=100_000)]],
        Field(max_length=LONGEST_TEXT),
    ]


class MarkRequest(Request):
    """Done, skipped or neither."""

    mark: Mark
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]


class LabelRequest(Request):
    """One label of the list; number 0 for a new one. The project says what it may be called.

    Attributes that are left out stay as they are: earlier clients know nothing of them.
    """

    id: Annotated[int, Field(ge=0, le=LARGEST_ID)] = 0
    name: Annotated[str, Field(max_length=LONGEST_TEXT)]
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
    attributes: Annotated[list[Attribute], Field(max_length=50)] | None = None


class MergeRequest(Request):
    """Remove a label; its objects get the label `into`, or none."""

    into: Id | None
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]


class UnmergeRequest(ObjectsRequest):
    """Objects and proposals that get a label back, as merging it told them."""

    proposals: Annotated[list[Id], Field(max_length=_MOST_OBJECTS)] = []


class ImportedRequest(Request):
    """Objects that an import added: take them back, or bring them again."""

    objects: Annotated[list[Id], Field(max_length=_MOST_OBJECTS)]
    revision: Annotated[int, Field(ge=1)]
    """The one at which the import, or the last undo or redo of it, left them."""


Tags = Annotated[list[Annotated[str, Field(max_length=LONGEST_TEXT)]], Field(max_length=500)]


class TagsRequest(Request):
    """Tags that an image gets, and tags that it loses; the others stay."""

    add: Tags = []
    remove: Tags = []


class AttributesRequest(Request):
    """Attributes of an object that change; null takes a value away, the others stay."""

    attributes: Annotated[dict[str, Value | None], Field(max_length=50)]


class LabelsRequest(Request):
    """The list of labels."""

    labels: Annotated[list[LabelRequest], Field(max_length=LONGEST_TEXT)]
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]


class SimilarRequest(Request):
    """Propose further objects like those of a label; `most` at once.

    A search that goes on from an earlier one says what came of it: proposals that were rejected,
    and places that were tried for nothing.
    """

    label: Id | None = None
    most: Annotated[int, Field(ge=1, le=100)] = 40
    rejected: Annotated[list[Crop], Field(max_length=500)] = []
    tried: Annotated[list[tuple[Number, Number]], Field(max_length=5000)] = []
    view: View = View()


class NameRequest(Request):
    """A name for a snapshot."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class AdapterRequest(Request):
    """Another adapter, by one of the names that were offered."""

    adapter: Annotated[str, Field(max_length=LONGEST_TEXT)]


class TrackRequest(Request):
    """Something about the track of an object."""

    object: Id


class CarryRequest(TrackRequest):
    """Carry an object to the next slice (1) or the one before (-1)."""

    step: Literal[-1, 1] = 1


class TracksRequest(TrackRequest):
    """Two objects, in whatever slices of a stack."""

    other: Id


class FilledRequest(Request):
    """Proposals that filling found."""

    proposals: Annotated[list[Id], Field(max_length=LONGEST_TEXT)]


class TrackFactsBody(Request):
    """What is said of a track."""

    parent: Id | None = None
    ends: bool = False


class TrackStepRequest(Request):
    """A change of tracks, as the server told it: to take it back, or to make it again."""

    objects: Annotated[dict[Id, tuple[Id, Id]], Field(max_length=_MOST_OBJECTS)] = {}
    tracks: Annotated[
        dict[Id, tuple[TrackFactsBody, TrackFactsBody]], Field(max_length=10_000)
    ] = {}
    deleted: Annotated[list[tuple[Id, Id]], Field(max_length=_MOST_OBJECTS)] = []

    def step(self) -> TrackStep:
        """The change."""
        return TrackStep(
            self.objects,
            {
                track: (TrackFacts(**before.model_dump()), TrackFacts(**after.model_dump()))
                for track, (before, after) in self.tracks.items()
            },
            self.deleted,
        )
