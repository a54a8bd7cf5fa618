"""Images, objects and claims of a project as values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.store.events import Mark, ReviewState


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about an image's file from when it was last read.

    Attributes:
        height, width: pixels, EXIF orientation applied.
        content_hash: SHA-256 over size and RGB bytes; None before it was decoded.
        file_size: bytes.
        modified: time of modification in nanoseconds, as the file system gives it.
    """

    height: int
    width: int
    content_hash: str | None
    file_size: int
    modified: int


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image of a project.

    Attributes:
        id: its number, never reused.
        name: path below the folder, with forward slashes.
        present: whether the file existed at the last scan.
        mark: "done", "skipped" or "".
        revision: number of changes of the mark.
        problem: reason why it cannot be read, None if it can or was not tried.
        facts: None before the file was read.
        annotated_hash: content hash of the pixels that its objects were drawn on.
    """

    id: int
    name: str
    present: bool
    mark: Mark
    revision: int
    problem: str | None = None
    facts: ImageFacts | None = None
    annotated_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One line of the list of images; `problem` says why it cannot be read, if it cannot."""

    id: int
    name: str
    present: bool
    mark: Mark
    problem: str | None
    objects: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of an image, with its mask as COCO's compressed run lengths.

    Attributes:
        id: its number, never reused.
        revision: counts its versions from 1; an edit must name the version it is based on.
        prompts: number of its clicks, boxes and strokes; None if it was not clicked or painted.
        frozen_prompts: number that the frozen model would have needed, None if not measured.
        adapted: whether an adapted model was used for it.
    """

    id: int
    image_id: int
    key: str
    revision: int
    deleted: bool
    label_id: int | None
    height: int
    width: int
    counts: str = field(repr=False)
    source: str
    person: str
    time: float
    prompts: int | None
    frozen_prompts: int | None
    adapted: bool

    @property
    def rle(self) -> Rle:
        """The mask, checked."""
        return Rle((self.height, self.width), self.counts.encode())

    def mask(self) -> NDArray[np.bool_]:
        """The mask (H, W) bool."""
        return self.rle.mask()


@dataclass(frozen=True, slots=True)
class Claim:
    """A person's claim on an image."""

    client: str
    image_id: int
    person: str


@dataclass(frozen=True, slots=True)
class Review:
    """The review of an image.

    Attributes:
        state: "review" (waiting for review), "approved", "returned" (sent back) or "".
        assignee: person to whom the image is assigned; "" for nobody.
        revision: number of changes of the state.
    """

    state: ReviewState = ""
    assignee: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment that is pinned to a place of an image.

    Attributes:
        number: counts the project's comments from 1.
        image_id: number of the image.
        text: of the comment.
        x, y: the place, in pixels of the image.
        person: its author.
        time: seconds since 1970, by the wall clock.
        resolved: whether it was resolved.
    """

    number: int
    image_id: int
    text: str
    x: float
    y: float
    person: str
    time: float
    resolved: bool
