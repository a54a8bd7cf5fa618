"""`SessionSteps`: what one does in a session that needs no mask."""

from __future__ import annotations

import math
from collections.abc import Iterable

from samadapt.errors import PromptError, SessionError
from samadapt.session.core import SessionCore
from samadapt.session.events import (
    Deleted,
    Forgotten,
    ImageReference,
    Labelled,
    Opened,
    Relabelled,
    Reset,
    Skipped,
)
from samadapt.session.state import SavedObject
from samadapt.version import installed_version


class SessionSteps(SessionCore):
    """Labels, giving up, deleting; each is one event."""

    def label(self, label: str | None) -> None:
        """Give the current object a label, and those that follow; None for no label.

        The label that it has already is no event.
        """
        if checked_label(label) != self.state.object.label:
            self._take(Labelled(label))

    def reset(self) -> None:
        """Remove all clicks, strokes and the box of this object.

        Raises:
            SessionError: there are none.
        """
        self._take(Reset())

    def forget(self, *, redo: bool = False) -> None:
        """Pass over the next step of undo, or redo, that cannot be taken any more."""
        self._take(Forgotten(redo))

    def skip(self) -> None:
        """Give the current object up and go on to the next one.

        Raises:
            SessionError: no image is open.
        """
        self._take(Skipped())

    def delete(self, saved: Iterable[SavedObject]) -> None:
        """Delete accepted objects, as one step of undo.

        Raises:
            SessionError: one was deleted already.
        """
        self._take(Deleted(tuple(one.version for one in saved)))

    def relabel(self, saved: Iterable[SavedObject], label: str | None) -> None:
        """Give accepted objects another label, as one step of undo.

        Those that have it already are left out.

        Raises:
            SessionError: one is being edited, or was deleted.
        """
        label = checked_label(label)
        if others := tuple(one.version for one in saved if one.label != label):
            self._take(Relabelled(others, label))

    def opening(self, image: ImageReference) -> Opened:
        """The event of opening `image` in this session."""
        return Opened(
            image,
            self.model.identity.name,
            self.model.identity.weights_hash,
            self.model.preprocessing,
            tuple(adapter.title for adapter in self.adapters),
            self.options,
            installed_version(),
        )


def checked_label(label: str | None) -> str | None:
    """A label, checked to be a text or None."""
    if label is not None and not isinstance(label, str):
        raise SessionError(f"label {label!r}: give the name of the class as text")
    return label


def checked_numbers(what: str, *values: float) -> tuple[float, ...]:
    """Coordinates, checked to be finite numbers."""
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise PromptError(f"{what} at {values}: coordinates must be numbers") from None
    if not all(math.isfinite(number) for number in numbers):
        raise PromptError(f"{what} at {values}: coordinates must be finite numbers")
    return numbers
