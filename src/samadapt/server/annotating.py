"""`AnnotatorSession`: a session whose objects may be painted, may be improvements, and may take
turns with those of other people at one adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.base import Adapter
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import Window
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.server.turns import Taught, Turns
from samadapt.session.events import (
    Accepted,
    Boxed,
    Chosen,
    Clicked,
    Event,
    ImageReference,
    Record,
    Redone,
    Reset,
    Undone,
)
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session
from samadapt.session.state import ObjectState


class AnnotatorSession(Session):
    """A `Session` for the page; see `Session` for what the actions do.

    Args:
        model: answers the prompts.
        adapters: applied in order, shared with the other sessions of a project.
        log: where events go; may have events already, see `go_on`.
        turns: whose turn it is at the adapters.
        options: how clicks become prompts.
    """

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams],
        log: EventLog,
        turns: Turns,
        options: SessionOptions | None = None,
    ) -> None:
        self._turns = turns
        self._first = ObjectState()
        super().__init__(model, adapters, None, options)
        self.log = log
        self._all_options = self.options

    @property
    def prompts_given(self) -> int:
        """Clicks and box in force for the current object."""
        return len(self.clicks) + (self.current_box is not None)

    def pinned(self) -> tuple[Seams, ...]:
        """The adapters as they are for this session now."""
        return self._turns.pinned(self, self.model, self.embedding, self.adapters)

    def open_embedding(self, reference: ImageReference, embedding: ImageEmbedding) -> None:
        """Open an image that is encoded already."""
        self.model.check_embedding(embedding)
        self._open(self.opening(reference), embedding)

    def go_on(self, reference: ImageReference, embedding: ImageEmbedding) -> None:
        """Open an image whose opening is in the log already."""
        log, self.log = self.log, _Silent()
        try:
            self._open(self.opening(reference), embedding)
        finally:
            self.log = log

    def again(self, events: Sequence[Event]) -> None:
        """Do the prompts of an object again that are in the log already.

        Raises:
            SamadaptError: an event that cannot be done again.
        """
        log, self.log = self.log, _Silent()
        try:
            for event in events:
                self._again(event)
        finally:
            self.log = log

    def begin_from(self, mask: NDArray[np.bool_]) -> None:
        """Begin with a mask (H, W) that is to be improved: the next prompt carries it.

        Raises:
            SessionError: in the middle of an object, or a mask of another size.
        """
        if self.prediction is not None:
            raise SessionError("finish or skip the present object first")
        if mask.shape != self.image_size:
            raise SessionError(f"a mask of {mask.shape} for an image of {self.image_size}")
        shown = Prediction(
            mask[None].copy(), np.ones(1, np.float32), np.zeros((1, 1, 1), np.float32)
        )
        self._first = self._object = ObjectState(prediction=shown)
        # What is meant is clear: one answer, no candidates.
        self.options = replace(self._all_options, multimask=False)

    def accept_mask(
        self, label: str | None, mask: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Accept, with another mask (H, W) than the model's if one is given.

        Raises:
            SessionError: no mask, an empty one, or one of another size.
        """
        if mask is None:
            mask = self._filled_mask()
        elif mask.shape != self.image_size or not mask.any():
            raise SessionError("the mask is empty or of another size than the image")
        event = Accepted.from_mask(self._accepted_count + 1, label, mask)
        return self._accept(event, mask)

    # -- what differs -------------------------------------------------------------------------

    def _predict(self, event: Clicked | Boxed) -> ObjectState:
        adapters, self.adapters = self.adapters, self.pinned()
        try:
            return super()._predict(event)
        finally:
            self.adapters = adapters

    def _learners(self) -> list[Adapter]:
        return [Taught(a, self._turns, self) for a in super()._learners() if a.learns_in_session]

    def _reset(self, event: Reset) -> None:
        super()._reset(event)
        self._object = self._first

    def _earlier_mask(self) -> tuple[NDArray[np.bool_] | NDArray[np.float32] | None, Window | None]:
        if self._object.step == 0 and self._object.mask is not None:
            return self._object.mask, None
        return super()._earlier_mask()

    def _next_object(self) -> None:
        super()._next_object()
        self._first = ObjectState()
        if hasattr(self, "_all_options"):
            self.options = self._all_options

    def _again(self, event: Event) -> None:
        match event:
            case Clicked() | Boxed():
                self._prompt(event)
            case Undone() | Redone():
                self._step_back(event)
            case Reset():
                self._reset(event)
            case Chosen():
                self._choose(event)


class _Silent(EventLog):
    """Takes events that are saved already."""

    def append(self, event: Event) -> Record:
        return Record(0, 0.0, event)
