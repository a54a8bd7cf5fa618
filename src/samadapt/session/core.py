"""`SessionCore`: the state of a session, and the handling of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from functools import reduce as fold

import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.adapters.base import Interaction
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Click
from samadapt.session.answers import Answers, final_mask, model_mask, seen_prompts
from samadapt.session.changed_objects import as_accepted, vanished
from samadapt.session.events import (
    Accepted,
    Added,
    Boxed,
    Chosen,
    Clicked,
    Deleted,
    Event,
    ImageReference,
    Opened,
    Redone,
    Reset,
    Skipped,
    Undone,
)
from samadapt.session.lease import AdapterLease
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.state import CurrentObject, SavedObject, SessionState, reduce


class SessionStatus(StrEnum):
    """Status of a session."""

    NO_IMAGE = "no image"
    """`open` comes first."""
    READY = "ready"
    """An image is open, the next object has no click or box yet."""
    CLICKING = "clicking"
    """The current object has a mask."""


class SessionCore:
    """The state of a session, its properties, and the only path by which events take effect.

    Args:
        model: answers the prompts.
        lease: the adapters in use.
        log: receives the events.
        options: how clicks become prompts.
    """

    def __init__(
        self,
        model: SegmentationModel,
        lease: AdapterLease,
        log: EventLog,
        options: SessionOptions,
    ) -> None:
        self.model, self.lease, self.log, self.options = model, lease, log, options
        self.state = SessionState(options)
        lease.bind(model)
        self._answers = Answers(model, lease, options)
        self._embedding: ImageEmbedding | None = None
        self._told: ImageEmbedding | None = None
        self._final: tuple[CurrentObject, NDArray[np.bool_] | None] | None = None

    # -- properties -----------------------------------------------------------------------

    @property
    def status(self) -> SessionStatus:
        """Status of the session."""
        if self.state.opened is None:
            return SessionStatus.NO_IMAGE
        return SessionStatus.READY if self.state.object.is_blank else SessionStatus.CLICKING

    @property
    def adapters(self) -> tuple[Seams, ...]:
        """The adapters in use, in order."""
        return self.lease.adapters

    @property
    def embedding(self) -> ImageEmbedding:
        """The open image, encoded; `SessionError` without one."""
        if self._embedding is None:
            raise SessionError("no image is open: call open(image) first")
        return self._embedding

    @property
    def image(self) -> ImageReference | None:
        """The open image."""
        return None if self.state.opened is None else self.state.opened.image

    @property
    def opened(self) -> ImageReference:
        """The open image; `SessionError` without one."""
        if self.state.opened is None:
            raise SessionError("no image is open: call open(image) first")
        return self.state.opened.image

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the open image; `SessionError` without one."""
        return self.embedding.original_size

    @property
    def is_teachable(self) -> bool:
        """Whether an adapter would learn an object that no click led to, as `teach` gives it."""
        return bool(self.lease.learners()) and self.state.object.is_blank

    @property
    def prediction(self) -> Prediction | None:
        """All candidates for the current object, None before its first click or box."""
        embedding = self._embedding_of(self.state.object)
        if embedding is None:
            return None
        answer = self._answers.shown(self.state.object, embedding)
        return None if answer is None else answer.prediction

    @property
    def chosen(self) -> int:
        """Index of the shown candidate."""
        chosen, found = self.state.object.chosen, self.prediction
        return chosen if chosen is not None else 0 if found is None else found.best

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The mask shown, strokes included; None before the object's first click, box or stroke."""
        if self._embedding is None:
            return None
        now = self.state.object
        if self._final is None or self._final[0] is not now:
            answer = self._answers.shown(now, self._embedding)
            self._final = now, final_mask(now, answer, self.image_size)
        return self._final[1]

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """Decoder logits (h, w) of the model's mask."""
        found = self.prediction
        return None if found is None else found.logits[self.chosen]

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Clicks in force for the current object, in order."""
        return self.state.object.clicks

    @property
    def current_box(self) -> Box | None:
        """The box in force for the current object."""
        return self.state.object.box

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self.state.undo)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo."""
        return bool(self.state.redo)

    @property
    def objects(self) -> Mapping[int, SavedObject]:
        """Accepted objects of the open image by number, in order; deleted ones are left out."""
        return {k: saved for k, saved in self.state.objects.items() if not saved.deleted}

    @property
    def accepted(self) -> tuple[Accepted, ...]:
        """Accepted objects of the open image, in order; `.mask()` decodes one."""
        return tuple(as_accepted(o, o.rle) for o in self.objects.values() if o.rle is not None)

    # -- private --------------------------------------------------------------------------------

    def _take(self, event: Event, embedding: ImageEmbedding | None = None) -> None:
        """Compute, save, take effect, learn."""
        before = self.state
        after = reduce(before, event)
        is_prompt = isinstance(event, Clicked | Boxed)
        try:
            if is_prompt and (shown := self._embedding_of(after.object)) is not None:
                self._tell_of(shown)
                self._answers.shown(after.object, shown)
            ends = isinstance(event, Accepted | Skipped | Deleted)
            ends = ends and after.object.number > before.object.number
            ending = self._interaction(before.object) if ends else None
            saved = self.log.append(event).event
        except BaseException:
            self._answers.keep(before)
            raise
        self.state = after if saved is event else reduce(before, saved)
        if isinstance(saved, Opened):
            self._told = None
        if embedding is not None:
            self._embedding = embedding
        self._answers.keep(self.state)
        self._withdraw(before, saved)
        self._teach(saved, before.object, ending)

    @torch.inference_mode(False)
    @torch.enable_grad()  # the caller may have switched gradients off
    def _restore(self, events: Iterable[Event]) -> None:
        """Apply events that are in the log already, and predict for the current object alone.

        The adapters are notified of its prompts.
        """
        self.state = fold(reduce, events, self.state)
        now = self.state.object
        if (embedding := self._embedding_of(now)) is not None:
            self._told = None
            self._tell_of(embedding)
        for count in range(1, len(now.asked) + 1):
            asked = replace(now, asked=now.asked[:count], chosen=None)
            if (interaction := self._interaction(asked)) is not None:
                for adapter in self.lease.learners():
                    adapter.on_click(interaction)

    @torch.inference_mode(False)
    @torch.enable_grad()  # the caller may have switched gradients off
    def _teach(self, event: Event, before: CurrentObject, ending: Interaction | None) -> None:
        """Notify the adapters of an event; `ending` is the object that it ended."""
        now, learners = self.state.object, self.lease.learners()
        if not learners:
            return
        match event:
            case Opened():
                if (embedding := self._embedding_of(now)) is not None:
                    self._tell_of(embedding)
            case Clicked() | Boxed():
                if (interaction := self._interaction(now)) is not None:
                    for adapter in learners:
                        adapter.on_click(interaction)
            case Undone() | Redone() | Reset():
                if _answer_shown(before) != _answer_shown(now):
                    self._teach_step_back(now)
            case Added():
                pass  # no click led to it
            case Accepted() if ending is not None and ending.prompts:
                mask = self._learned_mask(event, before)
                for adapter in learners:
                    adapter.on_accept(ending, mask)
            case Skipped() | Deleted() if ending is not None:
                for adapter in learners:
                    adapter.on_skip(ending)

    @torch.inference_mode(False)
    @torch.enable_grad()  # the caller may have switched gradients off
    def _withdraw(self, before: SessionState, event: Event) -> None:
        """Notify the adapters of accepted objects that an event took away or put back.

        An object whose mask changed counts only if prompts led to the change: what was only
        painted or edited with a tool is not learned anew.
        """
        now, learners = self.state, self.lease.learners()
        if before.objects is now.objects or isinstance(event, Opened) or not learners:
            return
        shown = before.object if now.object.is_blank else now.object
        embedding = self._embedding_of(shown)
        if embedding is None:
            return
        ended = now.object if isinstance(event, Undone) else before.object
        changed = now.object.number != before.object.number and bool(ended.asked)
        gone = vanished(before.objects, now.objects, changed)
        back = []
        if isinstance(event, Undone | Redone):
            back = vanished(now.objects, before.objects, changed)
        for adapter in learners:
            for accepted in gone:
                adapter.on_withdraw(embedding, self._learned_mask(accepted, shown))
            for accepted in back:
                adapter.on_restore(embedding, self._learned_mask(accepted, shown))

    def _teach_step_back(self, now: CurrentObject) -> None:
        """Notify the adapters that an earlier prediction is shown again."""
        interaction = self._interaction(now)
        if interaction is None:  # back before the first part of a large image
            told, self._told = self._told, None
            if told is not None:
                self._tell_of(told)
            return
        self._tell_of(interaction.embedding)
        for adapter in self.lease.learners():
            adapter.on_undo(interaction)

    def _tell_of(self, embedding: ImageEmbedding) -> None:
        """Notify the adapters of the embedding of the next prompts, if it is another one."""
        if self._told is not embedding:
            for adapter in self.lease.learners():
                adapter.on_open(embedding)
            self._told = embedding

    def _embedding_of(self, now: CurrentObject) -> ImageEmbedding | None:
        """The embedding for the prompts of an object; None where it is not known yet."""
        return self._embedding

    def _learned_mask(self, event: Accepted, ended: CurrentObject) -> NDArray[np.bool_]:
        """The mask of an accepted object, in the model's view."""
        return event.mask()

    def _check_choice(self, event: Chosen) -> None:
        _ = self.opened
        found = self.prediction
        if found is None:
            raise SessionError("nothing to choose from: click on the object first")
        if not 0 <= event.index < len(found.masks):
            raise SessionError(
                f"candidate {event.index} does not exist: there are {len(found.masks)}, from 0 "
                f"to {len(found.masks) - 1}"
            )

    def _filled_mask(self) -> NDArray[np.bool_]:
        _ = self.embedding
        mask = self.mask
        if mask is None:
            raise SessionError("nothing to accept: click on the object first")
        if not mask.any():
            raise SessionError("the mask is empty: click on the object again, or skip it")
        return mask

    def _shown(self) -> NDArray[np.bool_]:
        mask = self.mask
        if mask is None:
            raise SessionError("this object has no mask yet")
        return mask

    def _part(self, what: str, mask: NDArray[np.bool_]) -> tuple[int, int, int, int, str]:
        """The tight rectangle of a mask (H, W), as events hold it."""
        if mask.shape != self.image_size:
            raise SessionError(f"a {what} of {mask.shape} for an image of {self.image_size}")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            raise SessionError(f"the {what} is empty: paint something first")
        (top, bottom), (left, right) = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
        rle = Rle.from_mask(mask[top : bottom + 1, left : right + 1])
        return left, top, *rle.size, rle.counts.decode("ascii")

    def _interaction(self, now: CurrentObject) -> Interaction | None:
        """An object in the form for adapters; None if the model got no prompt for it."""
        embedding = self._embedding_of(now)
        if embedding is None:
            return None
        answer = self._answers.shown(now, embedding)
        found = None if answer is None else answer.prediction
        chosen = 0 if found is None else found.best if now.chosen is None else now.chosen
        clicks, box = seen_prompts(now)
        return Interaction(
            model=self.model,
            adapters=self.adapters,
            embedding=embedding,
            prompts=self._answers.prompts(now, embedding),
            clicks=clicks,
            box=box,
            logits=None if found is None else found.logits[chosen],
            window=None if found is None else found.window,
            mask=model_mask(now, answer),
            step=now.step,
            candidates=1 if found is None else len(found.masks),
            painted=self._brushed(now),
        )

    def _brushed(self, now: CurrentObject) -> NDArray[np.bool_] | None:
        """The pixels (H, W) under an object's brush strokes; None without any."""
        if not now.brush or now.frame is not None:
            return None
        area = np.zeros(self.image_size, np.bool_)
        for stroke in now.brush:
            area[stroke.rows_and_columns()] |= stroke.part()
        return area


def _answer_shown(now: CurrentObject) -> tuple[object, ...]:
    return now.number, now.asked, now.chosen
