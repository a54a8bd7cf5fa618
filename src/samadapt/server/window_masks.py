"""`LargeMasks`: mask operations of a client's session at an image larger than memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.frames import Frame, changed_in
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.proposals.huge import refine_outline
from samadapt.proposals.likeness import ExampleImage
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.similar import propose_similar
from samadapt.server.client_masks import Json, Point, best_under, similar_json
from samadapt.server.measure import Task
from samadapt.server.wire import Crop, SimilarRequest, View
from samadapt.server.wire_answers import rle_crop
from samadapt.session.answers import seen_prompts
from samadapt.session.outline import Ring, filled, rings_of
from samadapt.session.scissors import edge_path
from samadapt.session.state import SavedObject
from samadapt.session.window_editing import MOST_POINTS
from samadapt.session.window_session import WindowSession, is_cut
from samadapt.store.records import StoredObject

REFINE = "refine outline"
"""Name of the tool that refines outlines."""
_LEAST_REACH = 4.0
"""Least limit, in pixels, of how far refining may move an outline to either side."""
_MOST_EXAMPLES = 3
"""Most windows around the latest examples that are used if the one in sight has none."""


class LargeMasks:
    """Masks of an image larger than memory; the same methods as `PlainMasks`.

    Args:
        model: the model.
        session: the session.
    """

    def __init__(self, model: SegmentationModel, session: WindowSession) -> None:
        self._model, self._session = model, session

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self._session.image_size

    def click(self, x: float, y: float, positive: bool, view: View) -> None:
        """Click on the object, or on the background."""
        self._session.click(x, y, positive, view.step)

    def box(self, x0: float, y0: float, x1: float, y1: float, view: View) -> None:
        """Draw a box."""
        self._session.box(x0, y0, x1, y1, view.step)

    def paint(self, crop: Crop, positive: bool) -> None:
        """Paint pixels, or erase them."""
        self._session.paint(self.whole(crop), positive)

    def current(self) -> tuple[Json | None, str]:
        """Return the mask of the object under way (None if it has none), and the mask's digest."""
        rle = self._session.rle
        if rle is None:
            return None, ""
        return rle_crop(rle), hashlib.sha256(rle.counts).hexdigest()[:16]

    def candidates(self) -> list[Json | None]:
        """Return the masks of all candidates, without strokes."""
        return [rle_crop(rle) for rle in self._session.candidates()]

    def preview(self, x: float, y: float, view: View) -> Json | None:
        """Return the mask that one click there would give; no event, and no learning."""
        session = self._session
        if not session.state.object.is_blank:
            return None
        embedding, frame, prompt = session.preview(x, y, view.step)
        adapters = session.lease.answering(self._model, embedding)
        found = self._model.predict(embedding, prompt, True, adapters)
        mask = best_under(found, *prompt.points[0])
        return rle_crop(frame.rle(mask, self.size))

    def accept(
        self, label: str | None, others: Sequence[StoredObject], all_said: bool
    ) -> Task | None:
        """Accept the object under way, without the pixels that belong to `others`."""
        now = self._session.state.object
        rle = self._session.accept(label, others=[thing.rle for thing in others])
        if now.frame is None:
            return None
        mask = now.frame.points(rle)
        said = seen_prompts(now) if all_said else ((), None)
        embedding = self._session.windows.embedding(now.frame)
        return Task(0, embedding, *said, mask) if mask.any() else None

    def teach(self, mask: Rle) -> None:
        """Let the adapters learn an object that was added."""
        if self._session.is_teachable:
            self._session.learn(mask)

    def tool(self, name: str, saved: Sequence[SavedObject]) -> None:
        """Apply a mask tool; one of them, `REFINE`, is for large images only."""
        if name == REFINE:
            self._session.change(name, self._refined, saved)
        else:
            self._session.apply(name, saved)

    def split(self, cut: Crop, saved: Sequence[SavedObject]) -> None:
        """Split objects along a stroke."""
        self._session.split(self.whole(cut), saved)

    def rings(self, saved: SavedObject | None, tolerance: float) -> list[Ring]:
        """Return the outline of an object, or of the one under way, as rings of corners (x, y)."""
        rle = self._session.rle if saved is None else saved.rle
        if rle is None or not rle.area:
            return []
        frame = Frame.over(rle.box, MOST_POINTS)
        rings = rings_of(frame.points(rle), tolerance / frame.step)
        return [[frame.outside(x, y) for x, y in ring] for ring in rings]

    def outline(self, rings: Sequence[Ring], saved: SavedObject | None) -> None:
        """Replace the mask of an object, or of the one under way, by the area inside rings."""
        height, width = self.size
        places = np.array([place for ring in rings for place in ring]).reshape(-1, 2)
        if not len(places):
            raise SessionError("the mask is empty: paint something first")
        low = np.clip(np.floor(places.min(0)), 0, (width - 1, height - 1)).astype(int)
        high = np.clip(np.ceil(places.max(0)), low + 1, (width, height)).astype(int)

        def inside(before: Rle) -> Rle:
            x, y, own_width, own_height = before.box
            left, top = (int(v) for v in np.minimum(low, (x, y)))
            right, bottom = (int(v) for v in np.maximum(high, (x + own_width, y + own_height)))
            frame = Frame.over((left, top, right - left, bottom - top), MOST_POINTS)
            drawn = [[_point(frame, *place) for place in ring] for ring in rings]
            return changed_in(before, frame, lambda _: filled(drawn, frame.size))

        self._session.change("polygon", inside, () if saved is None else (saved,))

    def path(self, start: Point, end: Point, view: View) -> list[Point]:
        """Return the path along image edges between two points, as points (x, y)."""
        (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(start, end, strict=True))
        frame = self._session.windows.frame((x0, y0, x1, y1), view.step)
        pixels = self._pixels(frame)
        most = pixels.shape[1] - 0.5, pixels.shape[0] - 0.5
        ends = [
            tuple(min(v, m) for v, m in zip(frame.inside(*place), most, strict=True))
            for place in (start, end)
        ]
        return [frame.outside(x, y) for x, y in edge_path(pixels, *ends)]

    def similar(
        self,
        wanted: SimilarRequest,
        examples: Sequence[Rle],
        others: Sequence[Rle],
        elsewhere: Sequence[ExampleImage],
        progress: Callable[[int, int], None],
    ) -> Json:
        """Propose objects like the examples, in the part of the image that is in sight."""
        session, view = self._session, wanted.view
        height, width = self.size
        sight = (0.0, 0.0, float(width), float(height)) if view.box is None else view.box
        frame = session.windows.frame(sight, view.step)
        here, around = _in(frame, examples), _in(frame, others)
        if not here:
            elsewhere = [
                *(self._example(rle, examples, others) for rle in examples[-_MOST_EXAMPLES:]),
                *elsewhere,
            ]
        embedding = session.windows.embedding(frame)
        found = propose_similar(
            self._model,
            embedding,
            self._pixels(frame),
            here,
            around,
            session.lease.answering(self._model, embedding),
            wanted.most,
            rejected=_in(frame, [self.whole(crop) for crop in wanted.rejected]),
            tried=[frame.inside(x, y) for x, y in wanted.tried if frame.has(x, y)],
            progress=progress,
            elsewhere=elsewhere,
        )
        is_whole = [not is_cut(one.mask, frame, self.size) for one in found.proposals]
        whole = tuple(compress(found.proposals, is_whole))
        cut = tuple(p.point for p, kept in zip(found.proposals, is_whole, strict=True) if not kept)
        found = replace(found, proposals=whole, tried=(*found.tried, *cut))
        crops = [self._crop(one, frame) for one in whole]
        return similar_json(found, crops, [frame.outside(x, y) for x, y in found.tried])

    def whole(self, crop: Crop) -> Rle:
        """Return a mask that the page sent as run lengths of the whole image."""
        return crop.whole(self.size)

    def _refined(self, mask: Rle) -> Rle:
        windows, lease = self._session.windows, self._session.lease
        x, y, width, height = mask.box
        frame = windows.frame((x, y, x + width, y + height), 1)
        adapters = lease.answering(self._model, windows.embedding(frame))
        reach = max(_LEAST_REACH, 2.0 * frame.step)
        found = refine_outline(self._model, windows.image, mask, reach, adapters, side=windows.side)
        if found is None:
            raise SessionError(
                "the outline is too long to be refined at once: zoom in and click where it is wrong"
            )
        if not found.area:
            raise SessionError(f"{REFINE} would leave nothing of the object")
        return found

    def _crop(self, one: Proposal, frame: Frame) -> dict[str, Any]:
        found = rle_crop(frame.rle(one.rle.mask(), self.size))
        if found is None:
            raise SessionError("a proposal without a pixel")
        return found

    def _example(self, rle: Rle, examples: Sequence[Rle], others: Sequence[Rle]) -> ExampleImage:
        x, y, width, height = rle.box
        frame = self._session.windows.frame((x, y, x + width, y + height), 1)
        embedding = self._session.windows.embedding(frame)
        here, around = _in(frame, examples), _in(frame, others)
        return ExampleImage(embedding, self._pixels(frame), here, around)

    def _pixels(self, frame: Frame) -> NDArray[np.uint8]:
        return self._session.windows.image.view(frame.window, max(frame.size))


def _in(frame: Frame, masks: Sequence[Rle]) -> list[Rle]:
    """Return the parts of masks that lie in a frame, in its points; empty ones are left out."""
    x0, y0, x1, y1 = frame.window
    found = []
    for rle in masks:
        x, y, width, height = rle.box
        if x < x1 and y < y1 and x + width > x0 and y + height > y0:
            points = frame.points(rle)
            if points.any():
                found.append(Rle.from_mask(points))
    return found


def _point(frame: Frame, x: float, y: float) -> Point:
    return (x - frame.x) / frame.step, (y - frame.y) / frame.step
