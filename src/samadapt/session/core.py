"""`SessionCore`: what each event does to a session. Live actions and replays both run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.base import Adapter, Interaction
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import Window
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Click, Prompt
from samadapt.session.events import (
    Accepted,
    Boxed,
    Chosen,
    Clicked,
    Opened,
    Redone,
    Reset,
    Skipped,
    Undone,
)
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.state import History, ObjectState


class SessionCore:
    """State of a session, and one method per event: compute, save, take effect, learn."""

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams],
        log: EventLog,
        options: SessionOptions,
    ) -> None:
        self.model = model
        self.adapters = tuple(adapters)
        self.log = log
        self.options = options
        self._opened: Opened | None = None
        self._embedding: ImageEmbedding | None = None
        self._object = ObjectState()
        self._last_step = 0
        self._history = History(options.undo_limit)
        self._accepted: list[Accepted] = []
        self._accepted_count = 0
        for adapter in self.adapters:
            if isinstance(adapter, Adapter):
                adapter.bind(model)
            else:
                adapter.check_model(model)

    @property
    def embedding(self) -> ImageEmbedding:
        """The open image, encoded; `SessionError` without one."""
        if self._embedding is None:
            raise SessionError("no image is open: call open(image) first")
        return self._embedding

    # -- one method per event: compute, save, take effect, learn ------------------------------

    def _open(self, event: Opened, embedding: ImageEmbedding) -> None:
        self.log.append(event)
        self._opened, self._embedding = event, embedding
        self._accepted.clear()
        self._next_object()
        for adapter in self._learners():
            adapter.on_open(embedding)

    def _prompt(self, event: Clicked | Boxed) -> NDArray[np.bool_]:
        state = self._predict(event)
        mask = _shown(state)
        self.log.append(event)
        self._history.push(self._object)
        self._object, self._last_step = state, state.step
        interaction = self._interaction()
        for adapter in self._learners():
            adapter.on_click(interaction)
        return mask

    def _step_back(self, event: Undone | Redone) -> NDArray[np.bool_] | None:
        _ = self.embedding
        is_undo = isinstance(event, Undone)
        if not (self._history.can_undo if is_undo else self._history.can_redo):
            raise SessionError(f"nothing to {'undo' if is_undo else 'redo'} for this object")
        state = self._history.peek_undo() if is_undo else self._history.peek_redo()
        self.log.append(event)
        if is_undo:
            self._history.undo(self._object)
        else:
            self._history.redo(self._object)
        self._return_to(state)
        return state.mask

    def _reset(self, event: Reset) -> None:
        _ = self.embedding
        if self._object.prediction is None:
            raise SessionError("nothing to reset: this object has no click or box yet")
        self.log.append(event)
        self._history.push(self._object)
        self._return_to(ObjectState())

    def _choose(self, event: Chosen) -> NDArray[np.bool_]:
        _ = self.embedding
        found = self._object.prediction
        if found is None:
            raise SessionError("nothing to choose from: click on the object first")
        if not 0 <= event.index < len(found.masks):
            raise SessionError(
                f"candidate {event.index} does not exist: there are {len(found.masks)}, from 0 "
                f"to {len(found.masks) - 1}"
            )
        state = replace(self._object, chosen=event.index)
        if event.index != self._object.chosen:
            self.log.append(event)
            self._history.push(self._object)
            self._object = state
        return _shown(state)

    def _accept(self, event: Accepted, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        self.log.append(event)
        interaction = self._interaction()
        self._accepted.append(event)
        self._accepted_count += 1
        self._next_object()
        for adapter in self._learners():
            adapter.on_accept(interaction, mask)
        return mask

    def _skip(self, event: Skipped) -> None:
        _ = self.embedding
        self.log.append(event)
        interaction = self._interaction()
        self._next_object()
        for adapter in self._learners():
            adapter.on_skip(interaction)

    # -- helpers --------------------------------------------------------------------------

    def _predict(self, event: Clicked | Boxed) -> ObjectState:
        now, embedding = self._object, self.embedding
        if isinstance(event, Clicked):
            now = replace(now, clicks=(*now.clicks, Click(event.x, event.y, event.positive)))
            mask, window = self._earlier_mask()
        else:
            now = replace(now, box=Box(event.x0, event.y0, event.x1, event.y1))
            mask, window = None, None
        prompt = Prompt.from_clicks(now.clicks, now.box, mask, window)
        is_ambiguous = len(now.clicks) == 1 and now.box is None
        found = self.model.predict(
            embedding, prompt, self.options.multimask and is_ambiguous, self.adapters
        )
        return replace(
            now,
            step=self._last_step + 1,
            prompts=(*now.prompts, prompt),
            prediction=found,
            chosen=found.best,
        )

    def _earlier_mask(self) -> tuple[NDArray[Any] | None, Window | None]:
        if self.options.feedback == "logits":
            return self._object.logits, self._object.window
        return (self._object.mask if self.options.feedback == "binary" else None), None

    def _filled_mask(self) -> NDArray[np.bool_]:
        _ = self.embedding
        mask = self._object.mask
        if mask is None:
            raise SessionError("nothing to accept: click on the object first")
        if not mask.any():
            raise SessionError("the mask is empty: click on the object again, or skip it")
        return mask

    def _return_to(self, state: ObjectState) -> None:
        self._object = state
        interaction = self._interaction()
        for adapter in self._learners():
            adapter.on_undo(interaction)

    def _next_object(self) -> None:
        self._object, self._last_step = ObjectState(), 0
        self._history.clear()

    def _learners(self) -> list[Adapter]:
        return [adapter for adapter in self.adapters if isinstance(adapter, Adapter)]

    def _interaction(self) -> Interaction:
        now = self._object
        return Interaction(
            model=self.model,
            adapters=self.adapters,
            embedding=self.embedding,
            prompts=now.prompts,
            clicks=now.clicks,
            box=now.box,
            logits=now.logits,
            window=now.window,
            mask=now.mask,
            step=now.step,
            candidates=1 if now.prediction is None else len(now.prediction.masks),
        )


def _shown(state: ObjectState) -> NDArray[np.bool_]:
    mask = state.mask
    if mask is None:
        raise SessionError("this object has no mask yet")
    return mask
