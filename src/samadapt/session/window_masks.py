"""`WindowMasks`: the masks of a session on a large image, as run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.data.frames import outside_of, part_of, placed, without
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.session.answers import begun, model_mask
from samadapt.session.events import Accepted, MaskPart, Painted
from samadapt.session.lease import AdapterLease
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.state import CurrentObject, SavedObject
from samadapt.session.steps import SessionSteps
from samadapt.session.windows import ImageWindows

Mask: TypeAlias = NDArray[np.bool_]


class WindowMasks(SessionSteps):
    """The masks of a session on a large image; see `WindowSession`."""

    def __init__(
        self,
        model: SegmentationModel,
        windows: ImageWindows,
        adapters: Sequence[Seams] | AdapterLease = (),
        log: EventLog | None = None,
        options: SessionOptions | None = None,
    ) -> None:
        lease = adapters if isinstance(adapters, AdapterLease) else AdapterLease(adapters)
        log = EventLog() if log is None else log
        super().__init__(model, lease, log, options or SessionOptions())
        self.windows = windows
        self._whole: tuple[CurrentObject, Rle | None] | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.windows.size

    @property
    def rle(self) -> Rle | None:
        """The mask of the current object; None before its first click, box or stroke."""
        now = self.state.object
        if self._whole is None or self._whole[0] is not now:
            self._whole = now, self._mask_of(now)
        return self._whole[1]

    def candidates(self) -> list[Rle]:
        """The masks of all candidates for the current object, without strokes."""
        found, now = self.prediction, self.state.object
        if found is None or now.frame is None:
            return []
        return [self._composed(now, mask) for mask in found.masks]

    # -- private ------------------------------------------------------------------------------

    def _embedding_of(self, now: CurrentObject) -> ImageEmbedding | None:
        return None if now.frame is None else self.windows.embedding(now.frame)

    def _learned_mask(self, event: Accepted, ended: CurrentObject) -> Mask:
        mask = Rle((event.height, event.width), event.counts.encode())
        return mask.mask() if ended.frame is None else ended.frame.points(mask)

    def _mask_of(self, now: CurrentObject) -> Rle | None:
        if now.is_blank:
            return None
        found = begun(now)
        if now.frame is not None and now.asked:
            embedding = self.windows.embedding(now.frame)
            mask = model_mask(now, self._answers.shown(now, embedding))
            if mask is not None:
                found = self._composed(now, mask)
        return self._painted(found, now.strokes)

    def _composed(self, now: CurrentObject, mask: Mask) -> Rle:
        """The mask in the window, combined with the mask so far outside of it."""
        frame, before = now.frame, begun(now)
        if frame is None:
            raise SessionError("this object has no window yet: click on it")
        inside = frame.rle(mask, self.image_size)
        return inside if before is None else Rle.union([outside_of(before, frame), inside])

    def _painted(self, mask: Rle | None, strokes: Sequence[MaskPart]) -> Rle | None:
        for stroke in strokes:
            part = Rle((stroke.height, stroke.width), stroke.counts.encode())
            whole = placed(part, stroke.x, stroke.y, 1, self.image_size)
            if isinstance(stroke, Painted) and stroke.positive:
                mask = whole if mask is None else Rle.union([mask, whole])
            elif mask is not None:
                mask = without(mask, whole)
        if mask is None and strokes:
            return Rle.from_runs([self.image_size[0] * self.image_size[1]], self.image_size)
        return mask

    def _filled(self) -> Rle:
        _ = self.opened
        mask = self.rle
        if mask is None:
            raise SessionError("nothing to accept: click on the object first")
        if not mask.area:
            raise SessionError("the mask is empty: click on the object again, or skip it")
        return mask

    def _saved(self, saved: SavedObject) -> Rle:
        if saved.rle is None or saved.rle.size != self.image_size:
            raise SessionError(f"object {saved.object_id} has no mask of this image's size")
        return saved.rle


def tight_part(mask: Rle) -> tuple[int, int, int, int, str]:
    """x, y, height, width and run lengths of a mask's bounding box, in the form of events."""
    x, y, width, height = mask.box
    part = part_of(mask, (x, y, width, height))
    return x, y, height, width, part.counts.decode("ascii")
