"""`Session`: one person, one image at a time, one object at a time."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from samadapt.data.images import ImageLike
from samadapt.errors import PromptError, SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Click
from samadapt.session.core import SessionCore
from samadapt.session.events import (
    Accepted,
    Boxed,
    Chosen,
    Clicked,
    ImageReference,
    Opened,
    Redone,
    Reset,
    Skipped,
    Undone,
)
from samadapt.session.images import encode_image, refer
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions


class SessionStatus(StrEnum):
    """Where a session stands."""

    NO_IMAGE = "no image"
    """`open` comes first."""
    READY = "ready"
    """An image is open, the next object has no click or box yet."""
    CLICKING = "clicking"
    """The current object has a mask."""


class Session(SessionCore):
    """Clicks in, masks out; every action is an event in the log.

    An action first computes its result, then saves its event, then takes effect, and only then
    lets the adapters learn. One that fails before it is saved changes nothing. An adapter's own
    error while it learns surfaces too, but then the action already stands.

    Masks are (H, W) bool at the image's original size, read-only. A session belongs to one
    thread at a time; sessions in several threads may share a model and embeddings.

    Args:
        model: answers the prompts.
        adapters: applied in order; those that learn do so while the session goes on.
        log: where events go, empty so far; in memory when left out. `replay` continues a log
            that has events.
        options: how clicks become prompts.

    Raises:
        AdapterError: an adapter made for another model.
        SessionError: the log has events already.
    """

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams] = (),
        log: EventLog | None = None,
        options: SessionOptions | None = None,
    ) -> None:
        if log is not None and len(log):
            raise SessionError(
                f"the session log has {len(log)} events already: continue it with replay(), or "
                "give an empty one"
            )
        log = EventLog() if log is None else log
        super().__init__(model, adapters, log, options or SessionOptions())

    # -- what one sees --------------------------------------------------------------------

    @property
    def status(self) -> SessionStatus:
        """Where the session stands."""
        if self._embedding is None:
            return SessionStatus.NO_IMAGE
        if self._object.prediction is None:
            return SessionStatus.READY
        return SessionStatus.CLICKING

    @property
    def image(self) -> ImageReference | None:
        """The open image."""
        return None if self._opened is None else self._opened.image

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the open image; `SessionError` without one."""
        return self.embedding.original_size

    @property
    def prediction(self) -> Prediction | None:
        """All candidates for the current object, None before its first click or box."""
        return self._object.prediction

    @property
    def chosen(self) -> int:
        """Index of the candidate that is shown."""
        return self._object.chosen

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The mask shown, None before the object's first click or box."""
        return self._object.mask

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """Decoder logits (h, w) of the mask shown."""
        return self._object.logits

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Clicks in force for the current object, in order."""
        return self._object.clicks

    @property
    def current_box(self) -> Box | None:
        """The box in force for the current object."""
        return self._object.box

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would do something."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would do something."""
        return self._history.can_redo

    @property
    def accepted(self) -> tuple[Accepted, ...]:
        """Accepted objects of the open image, in order; `.mask()` decodes one."""
        return tuple(self._accepted)

    # -- what one does --------------------------------------------------------------------

    def open(
        self,
        image: ImageLike | None = None,
        name: str | None = None,
        *,
        embedding: ImageEmbedding | None = None,
    ) -> None:
        """Open an image; an unfinished object of the image before is given up.

        Args:
            image: a path, a PIL image, or an array, as `SegmentationModel.encode` takes it. May
                be left out when `embedding` is given.
            name: what to call it in the log; the file's name by default.
            embedding: the image already encoded by this model; nothing is read or encoded then.

        Raises:
            ImageError: unreadable, truncated or empty image.
            ModelError: an embedding of another model.
        """
        if embedding is not None:
            self.model.check_embedding(embedding)
            reference = refer(embedding, image, name)
        elif image is not None:
            embedding, reference = encode_image(self.model, image, name)
        else:
            raise SessionError("nothing to open: give an image or its embedding")
        self._open(self.opening(reference), embedding)

    def click(self, x: float, y: float, positive: bool = True) -> NDArray[np.bool_]:
        """Click on the object, or on the background; returns the new mask.

        Args:
            x: pixels from the left edge; a pixel's centre is at +0.5.
            y: pixels from the top edge.
            positive: True marks the object, False the background.

        Raises:
            PromptError: not finite numbers, or outside the image.
            SessionError: no image is open, or the log cannot be written.
        """
        x, y = _numbers("click", x, y)
        return self._prompt(Clicked(x, y, bool(positive)))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.bool_]:
        """Draw a box around the object, in place of an earlier one; returns the new mask.

        Raises:
            PromptError: not finite numbers, empty, or outside the image.
            SessionError: no image is open, or the log cannot be written.
        """
        return self._prompt(Boxed(*_numbers("box", x0, y0, x1, y1)))

    def undo(self) -> NDArray[np.bool_] | None:
        """Take the last click, box, choice or reset of this object back; returns the mask then.

        Raises:
            SessionError: nothing to undo.
        """
        return self._step_back(Undone())

    def redo(self) -> NDArray[np.bool_] | None:
        """Do again what was undone last; returns the mask then.

        Raises:
            SessionError: nothing to redo.
        """
        return self._step_back(Redone())

    def reset(self) -> None:
        """Remove all clicks and the box of this object.

        Raises:
            SessionError: there are none.
        """
        self._reset(Reset())

    def choose(self, index: int) -> NDArray[np.bool_]:
        """Show another one of the candidates; returns its mask.

        Choosing the one that is shown already is no event.

        Raises:
            SessionError: there is no such candidate.
        """
        return self._choose(Chosen(operator.index(index)))

    def accept(self, label: str | None = None) -> NDArray[np.bool_]:
        """Accept the mask as an object and go on to the next one; returns the mask.

        Raises:
            SessionError: there is no mask, or it is empty.
        """
        if label is not None and not isinstance(label, str):
            raise SessionError(f"label {label!r}: give the name of the class as text")
        mask = self._filled_mask()
        return self._accept(Accepted.from_mask(self._accepted_count + 1, label, mask), mask)

    def skip(self) -> None:
        """Give the current object up and go on to the next one.

        Raises:
            SessionError: no image is open.
        """
        self._skip(Skipped())

    def opening(self, image: ImageReference) -> Opened:
        """The event of opening `image` in this session."""
        return Opened(
            image,
            self.model.identity.name,
            self.model.identity.weights_hash,
            self.model.preprocessing,
            tuple(adapter.title for adapter in self.adapters),
            self.options,
            _version(),
        )


def _numbers(what: str, *values: float) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise PromptError(f"{what} at {values}: coordinates must be numbers") from None
    if not all(math.isfinite(number) for number in numbers):
        raise PromptError(f"{what} at {values}: coordinates must be finite numbers")
    return numbers


@cache
def _version() -> str:
    try:
        return metadata.version("samadapt")
    except metadata.PackageNotFoundError:
        return "unknown"
