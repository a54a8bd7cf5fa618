"""Requests of the page as pydantic models; masks are run-length encoded."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from samadapt.data.frames import placed
from samadapt.data.pixels import MAX_PIXELS
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.server.patterns import Matching
from samadapt.store.events import Attribute, Mark, TrackFacts, Value
from samadapt.store.tracks import TrackStep

LARGEST_ID = 2**31 - 1
LONGEST_TEXT = 10_000
"""Most characters or entries in a field of a request; projects have lower limits of their own."""
_MOST_OBJECTS = 1_000_000


Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Number = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
Client = Annotated[str, Matching(r"^[A-Za-z0-9_-]{1,64}$", "1 to 64 letters, digits, - or _")]
Key = Annotated[str, Matching(r"^[A-Za-z0-9_-]{8,64}$", "8 to 64 letters, digits, - or _")]
Side = Annotated[int, Field(ge=0, le=1 << 20)]
Step = Annotated[int, Field(ge=1, le=1 << 15)]
AddedSource = Literal["brush", "similar"]


class Request(BaseModel):
    """Base class of all requests; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class View(Request):
    """The part of a large image in sight, and its scale; ignored for images that fit into memory.

    A pixel of the screen shows `step` x `step` pixels of the image; `box` is the part in sight as
    (x0, y0, x1, y1) in pixels of the image.
    """

    step: Step = 1
    box: tuple[Number, Number, Number, Number] | None = None


class Crop(Request):
    """A mask as COCO's compressed run lengths of a part of the image that contains it.

    The part begins at pixel (`x`, `y`) and has `width` x `height` points. A point stands for
    `step` x `step` pixels of the image.
    """

    x: Side
    y: Side
    width: Annotated[int, Field(ge=1, le=1 << 20)]
    height: Annotated[int, Field(ge=1, le=1 << 20)]
    counts: Annotated[str, Field(min_length=1, max_length=1 << 24)]
    step: Step = 1

    def rle(self) -> Rle:
        """Return the mask of the part, (height, width) points.

        Raises:
            DataError: the run lengths are invalid, or the part is too large.
        """
        if self.width * self.height > MAX_PIXELS:
            raise DataError("the mask has more points than can be kept")
        return Rle((self.height, self.width), self.counts.encode("utf-8", "surrogatepass"))

    def whole(self, size: tuple[int, int]) -> Rle:
        """Return the mask of the whole image, run-length encoded; `size` is (height, width).

        Raises:
            DataError: the run lengths are invalid, or the part is not inside the image.
        """
        return placed(self.rle(), self.x, self.y, self.step, size)

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask of the whole image as an array of `size` (H, W), for a `step` of 1.

        Raises:
            DataError: the run lengths are invalid, or the part is not inside the image.
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
    """A click on the object, or on the background if it is not `positive`."""

    x: Number
    y: Number
    positive: bool = True
    view: View = View()


class BoxRequest(Request):
    """A box, or the two ends of a path, in pixels of the image."""

    x0: Number
    y0: Number
    x1: Number
    y1: Number
    view: View = View()


class ChooseRequest(Request):
    """Choose another candidate by its index."""

    index: Annotated[int, Field(ge=0, le=15)]


class EditRequest(Request):
    """Make an accepted object the object under way, to improve it."""

    object: Id
    revision: Id


class StrokeRequest(Request):
    """A brush stroke: pixels to paint, or to erase."""

    mask: Crop
    positive: bool = True


class ObjectLabelRequest(Request):
    """Set the label of the object under way, and of those that follow; null for none."""

    label: Id | None


class AcceptRequest(Request):
    """Accept the object under way.

    `label` replaces the label of the object if it is given. With `keep_earlier`, pixels that other
    objects of the image have are left out of the mask. `shown` is the digest of the mask that the
    person saw; the request is refused if the mask has changed since.
    """

    label: Id | None = None
    keep_earlier: bool = False
    shown: Annotated[str, Field(max_length=64)] | None = None


class AddRequest(Request):
    """Add an object from a mask: an accepted proposal, or one painted in another program."""

    mask: Crop
    label: Id | None = None
    source: AddedSource = "brush"


class AddAllRequest(Request):
    """Add several objects as one step of undo."""

    masks: Annotated[list[Crop], Field(max_length=LONGEST_TEXT)]
    label: Id | None = None
    source: AddedSource = "similar"


class ChangeRequest(Request):
    """Set the label of an object; null for none."""

    revision: Id
    label: Id | None = None


class RevisionRequest(Request):
    """Delete the given revision of an object."""

    revision: Id


class VersionRequest(Request):
    """A certain revision of an object."""

    id: Id
    revision: Id


class ObjectsRequest(Request):
    """Delete or merge objects of an image as one step of undo; base of other such requests."""

    objects: Annotated[list[VersionRequest], Field(max_length=_MOST_OBJECTS)]


class RelabelRequest(ObjectsRequest):
    """Set the label of objects of an image as one step of undo; null for none."""

    label: Id | None


class ToolRequest(ObjectsRequest):
    """Apply a mask tool to objects of an image, or to the one under way if none is named."""

    tool: Annotated[str, Field(max_length=40)]


class CutRequest(ObjectsRequest):
    """Split objects along a stroke, or the one under way if none is named."""

    cut: Crop


Corner = tuple[Number, Number]


class OutlineRequest(ObjectsRequest):
    """Request the outline of an object, or of the one under way if none is named.

    Corners may be left out where the outline moves by at most `tolerance` pixels.
    """

    tolerance: Annotated[float, Field(ge=0, le=1000)] = 0.0


class PolygonRequest(ObjectsRequest):
    """Set the outline of an object, or of the one under way if none is named."""

    rings: Annotated[
        list[Annotated[list[Corner], Field(max_length=100_000)]],
        Field(max_length=LONGEST_TEXT),
    ]


class MarkRequest(Request):
    """Mark an image as done, skipped or neither."""

    mark: Mark
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]


class LabelRequest(Request):
    """One label of the list; number 0 for a new one. The project checks its name.

    If `attributes` are left out, those of the label stay: earlier clients do not know them.
    """

    id: Annotated[int, Field(ge=0, le=LARGEST_ID)] = 0
    name: Annotated[str, Field(max_length=LONGEST_TEXT)]
    colour: Annotated[str, Matching("^#[0-9a-fA-F]{6}$", "# and six hexadecimal digits")]
    attributes: Annotated[list[Attribute], Field(max_length=50)] | None = None


class MergeRequest(Request):
    """Remove a label; its objects get the label `into`, null for none."""

    into: Id | None
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]


class UnmergeRequest(ObjectsRequest):
    """Objects and proposals that get a merged label back, as the merge returned them."""

    proposals: Annotated[list[Id], Field(max_length=_MOST_OBJECTS)] = []


class ImportedRequest(Request):
    """Objects that an import added, to undo or redo it."""

    objects: Annotated[list[Id], Field(max_length=_MOST_OBJECTS)]
    revision: Id
    """Revision of the objects after the import, or after the last undo or redo of it."""


Tags = Annotated[list[Annotated[str, Field(max_length=LONGEST_TEXT)]], Field(max_length=500)]


class TagsRequest(Request):
    """Tags to add to an image and to remove from it; the others stay."""

    add: Tags = []
    remove: Tags = []


class AttributesRequest(Request):
    """Attributes of an object to change; null removes a value, the others stay."""

    attributes: Annotated[dict[str, Value | None], Field(max_length=50)]


class LabelsRequest(Request):
    """Replace the list of labels, based on a revision of it."""

    labels: Annotated[list[LabelRequest], Field(max_length=LONGEST_TEXT)]
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]


class SimilarRequest(Request):
    """Propose further objects like those of a label, `most` at once.

    A search that continues an earlier one names its `rejected` proposals, and the places (x, y)
    that were `tried` without success.
    """

    label: Id | None = None
    most: Annotated[int, Field(ge=1, le=100)] = 40
    rejected: Annotated[list[Crop], Field(max_length=500)] = []
    tried: Annotated[list[tuple[Number, Number]], Field(max_length=5000)] = []
    view: View = View()


class NameRequest(Request):
    """A name for a snapshot."""

    name: Annotated[
        str,
        Matching(
            r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            "1 to 64 letters, digits, dots, - or _, the first a letter or a digit",
        ),
    ]


class AdapterRequest(Request):
    """Use another adapter, one of the choices in the state of learning."""

    adapter: Annotated[str, Field(max_length=LONGEST_TEXT)]


class TrackRequest(Request):
    """Names the object whose track is changed or filled."""

    object: Id


class CarryRequest(TrackRequest):
    """Carry an object to the next slice (`step` 1) or the one before (-1)."""

    step: Literal[-1, 1] = 1


class TracksRequest(TrackRequest):
    """Merge the tracks of two objects of a stack."""

    other: Id


class FilledRequest(Request):
    """Proposals of filling, to accept or remove."""

    proposals: Annotated[list[Id], Field(max_length=LONGEST_TEXT)]


class TrackFactsBody(Request):
    """Facts of a track: the track it was split from, and whether it ends in its last slice."""

    parent: Id | None = None
    ends: bool = False


class TrackStepRequest(Request):
    """A change of tracks as the server returned it, to undo or redo it."""

    objects: Annotated[dict[Id, tuple[Id, Id]], Field(max_length=_MOST_OBJECTS)] = {}
    tracks: Annotated[
        dict[Id, tuple[TrackFactsBody, TrackFactsBody]], Field(max_length=10_000)
    ] = {}
    deleted: Annotated[list[tuple[Id, Id]], Field(max_length=_MOST_OBJECTS)] = []
    withdrawn: Annotated[list[Id], Field(max_length=_MOST_OBJECTS)] = []

    def step(self) -> TrackStep:
        """Return the change of tracks."""
        return TrackStep(
            self.objects,
            {
                track: (TrackFacts(**before.model_dump()), TrackFacts(**after.model_dump()))
                for track, (before, after) in self.tracks.items()
            },
            self.deleted,
            self.withdrawn,
        )
