"""`ClientMasks`: mask operations of a session; `PlainMasks`: those on ordinary images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.models.base import SegmentationModel
from samadapt.models.prediction import Prediction
from samadapt.prompts import Prompt
from samadapt.proposals.likeness import ExampleImage
from samadapt.proposals.similar import SimilarObjects, propose_similar
from samadapt.server.measure import Task
from samadapt.server.wire import Crop, SimilarRequest, View
from samadapt.server.wire_answers import crop_of, digest, proposal_crop
from samadapt.session.candidates import under_click
from samadapt.session.outline import Ring, filled, rings_of
from samadapt.session.scissors import edge_path
from samadapt.session.session import Session
from samadapt.session.state import SavedObject
from samadapt.store.records import StoredObject

Json: TypeAlias = dict[str, Any]
Point: TypeAlias = tuple[float, float]
Reading: TypeAlias = Callable[[], AbstractContextManager[NDArray[np.uint8]]]
"""Returns a context manager that gives the pixels (H, W, 3) of the image."""


class ClientMasks(Protocol):
    """Mask operations of a client's session; masks are exchanged in the page's format, `Crop`.

    `view` is the part of the image in sight, and its scale; only large images depend on it.
    """

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""

    def click(self, x: float, y: float, positive: bool, view: View) -> None:
        """Click on the object, or on the background."""

    def box(self, x0: float, y0: float, x1: float, y1: float, view: View) -> None:
        """Draw a box."""

    def paint(self, crop: Crop, positive: bool) -> None:
        """Paint pixels, or erase them."""

    def current(self) -> tuple[Json | None, str]:
        """Return the mask of the object under way (None if it has none), and the mask's digest."""

    def candidates(self) -> list[Json | None]:
        """Return the masks of all candidates, without strokes."""

    def preview(self, x: float, y: float, view: View) -> Json | None:
        """Return the mask that one click there would give; no event, and no learning."""

    def accept(
        self, label: str | None, others: Sequence[StoredObject], all_said: bool
    ) -> Task | None:
        """Accept the object under way, without the pixels that belong to `others`.

        Returns its task for `FrozenMeasure`, with object number 0; None if it cannot be measured.
        The task has no prompts unless `all_said`: the session's prompts are all of the object's.
        """

    def teach(self, mask: Rle) -> None:
        """Let the adapters learn an object that was added."""

    def tool(self, name: str, saved: Sequence[SavedObject]) -> None:
        """Apply a mask tool."""

    def split(self, cut: Crop, saved: Sequence[SavedObject]) -> None:
        """Split objects along a stroke."""

    def rings(self, saved: SavedObject | None, tolerance: float) -> list[Ring]:
        """Return the outline of an object, or of the one under way, as rings of corners (x, y)."""

    def outline(self, rings: Sequence[Ring], saved: SavedObject | None) -> None:
        """Replace the mask of an object, or of the one under way, by the area inside rings."""

    def path(self, start: Point, end: Point, view: View) -> list[Point]:
        """Return the path along image edges between two points, as points (x, y)."""

    def similar(
        self,
        wanted: SimilarRequest,
        examples: Sequence[Rle],
        others: Sequence[Rle],
        elsewhere: Sequence[ExampleImage],
        progress: Callable[[int, int], None],
    ) -> Json:
        """Propose objects like the examples; return the result in the page's format."""

    def whole(self, crop: Crop) -> Rle:
        """Return a mask that the page sent as run lengths of the whole image."""


class PlainMasks:
    """Masks of an image that fits into memory.

    Args:
        model: the model.
        session: the session.
        reading: gives the pixels of the image.
    """

    def __init__(self, model: SegmentationModel, session: Session, reading: Reading) -> None:
        self._model, self._session, self._reading = model, session, reading

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self._session.image_size

    def click(self, x: float, y: float, positive: bool, view: View) -> None:
        """Click on the object, or on the background."""
        self._session.click(x, y, positive)

    def box(self, x0: float, y0: float, x1: float, y1: float, view: View) -> None:
        """Draw a box."""
        self._session.box(x0, y0, x1, y1)

    def paint(self, crop: Crop, positive: bool) -> None:
        """Paint pixels, or erase them."""
        self._session.paint(crop.mask(self.size), positive)

    def current(self) -> tuple[Json | None, str]:
        """Return the mask of the object under way (None if it has none), and the mask's digest."""
        crop = crop_of(self._session.mask)
        return crop, digest(crop)

    def candidates(self) -> list[Json | None]:
        """Return the masks of all candidates, without strokes."""
        found = self._session.prediction
        return [] if found is None else [*map(crop_of, found.masks)]

    def preview(self, x: float, y: float, view: View) -> Json | None:
        """Return the mask that one click there would give; no event, and no learning."""
        session = self._session
        if session.prediction is not None:
            return None
        adapters = session.lease.answering(self._model, session.embedding)
        found = self._model.predict(session.embedding, Prompt([(x, y)]), True, adapters)
        return crop_of(best_under(found, x, y))

    def accept(
        self, label: str | None, others: Sequence[StoredObject], all_said: bool
    ) -> Task | None:
        """Accept the object under way, without the pixels that belong to `others`."""
        session = self._session
        union = Rle.union([thing.rle for thing in others]).mask() if others else None
        said = (session.clicks, session.current_box) if all_said else ((), None)
        mask = session.accept(label, without=union)
        return Task(0, session.embedding, *said, mask)

    def teach(self, mask: Rle) -> None:
        """Let the adapters learn an object that was added."""
        if self._session.is_teachable:
            self._session.teach(mask.mask())

    def tool(self, name: str, saved: Sequence[SavedObject]) -> None:
        """Apply a mask tool."""
        self._session.apply(name, saved)

    def split(self, cut: Crop, saved: Sequence[SavedObject]) -> None:
        """Split objects along a stroke."""
        self._session.split(cut.mask(self.size), saved)

    def rings(self, saved: SavedObject | None, tolerance: float) -> list[Ring]:
        """Return the outline of an object, or of the one under way, as rings of corners (x, y)."""
        if saved is None:
            mask = self._session.mask
        else:
            mask = None if saved.rle is None else saved.rle.mask()
        return [] if mask is None else rings_of(mask, tolerance)

    def outline(self, rings: Sequence[Ring], saved: SavedObject | None) -> None:
        """Replace the mask of an object, or of the one under way, by the area inside rings."""
        self._session.replace_mask(filled(rings, self.size), saved)

    def path(self, start: Point, end: Point, view: View) -> list[Point]:
        """Return the path along image edges between two points, as points (x, y)."""
        with self._reading() as pixels:
            return edge_path(pixels, start, end)

    def similar(
        self,
        wanted: SimilarRequest,
        examples: Sequence[Rle],
        others: Sequence[Rle],
        elsewhere: Sequence[ExampleImage],
        progress: Callable[[int, int], None],
    ) -> Json:
        """Propose objects like the examples; return the result in the page's format."""
        session = self._session
        with self._reading() as pixels:
            found = propose_similar(
                self._model,
                session.embedding,
                pixels,
                examples,
                others,
                session.lease.answering(self._model, session.embedding),
                wanted.most,
                rejected=[crop.whole(self.size) for crop in wanted.rejected],
                tried=wanted.tried,
                progress=progress,
                elsewhere=elsewhere,
            )
        return similar_json(found, [proposal_crop(one) for one in found.proposals], found.tried)

    def whole(self, crop: Crop) -> Rle:
        """Return a mask that the page sent as run lengths of the whole image."""
        return crop.whole(self.size)


def best_under(found: Prediction, x: float, y: float) -> NDArray[np.bool_]:
    """Return the mask (H, W) of the candidate that a single click at (x, y) shows first."""
    found = under_click(found, x, y)
    shown: NDArray[np.bool_] = found.masks[found.best]
    return shown


def similar_json(found: SimilarObjects, crops: Sequence[Json], tried: Sequence[Point]) -> Json:
    """Return the result of a search for similar objects in the page's format."""
    return {
        "proposals": [
            {"mask": crop, "likeness": round(one.score, 3)}
            for crop, one in zip(crops, found.proposals, strict=True)
        ],
        "tried": [list(place) for place in tried],
        "more": found.more,
        "looked": found.looked,
        "places": found.places,
        "unlike": found.is_unlike,
    }
