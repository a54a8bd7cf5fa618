"""Images, objects and claims of a project as values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.store.events import Mark


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
        id: its number, never given twice.
        name: path below the folder, with forward slashes.
        present: whether the file was there at the last scan.
        mark: "done", "skipped" or "".
        revision: how often the mark was changed.
        problem: why it cannot be read, None if it can or was not tried.
        facts: None before it was looked at.
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
    """One line of the list of images."""

    id: int
    name: str
    present: bool
    mark: Mark
    problem: bool
    objects: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of an image, with its mask as COCO's compressed run lengths.

    Attributes:
        id: its number, never given twice.
        revision: counts its versions from 1; an edit must name the one it is based on.
        prompts: clicks and boxes that it took; None where it was not clicked.
        frozen_prompts: as many as the frozen model would have needed, None if not measured.
        adapted: whether what was learned took part in it.
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
