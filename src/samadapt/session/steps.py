"""`SessionSteps`: actions of a session besides clicks, boxes and strokes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.adapters.base import Interaction
from samadapt.clicks import next_click
from samadapt.data.rle import Rle
from samadapt.errors import PromptError, SessionError
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt
from samadapt.session.core import SessionCore
from samadapt.session.events import (
    Added,
    Deleted,
    Edited,
    Forgotten,
    ImageReference,
    Labelled,
    Opened,
    Rejected,
    Relabelled,
    Reset,
    Skipped,
)
from samadapt.session.state import SavedObject
from samadapt.version import installed_version


@dataclass(frozen=True, slots=True)
class Addition:
    """An object to add: its mask, its label, and its number if it was a proposal."""

    rle: Rle
    label: str | None = None
    proposal: int | None = None


class SessionSteps(SessionCore):
    """Labels, skipping, deleting, adding: one event each; and learning a mask, which is none."""

    def label(self, label: str | None) -> None:
        """Set the label of the current object and the following ones; None for no label.

        Setting the present label adds no event.
        """
        if checked_label(label) != self.state.object.label:
            self._take(Labelled(label))

    def reset(self) -> None:
        """Remove all clicks, strokes and the box of this object.

        Raises:
            SessionError: the object has no click, stroke or box.
        """
        self._take(Reset())

    def forget(self, *, redo: bool = False) -> None:
        """Drop the next step of undo or redo, which cannot be taken any more."""
        self._take(Forgotten(redo))

    def skip(self) -> None:
        """Skip the current object and begin the next one.

        Raises:
            SessionError: no image is open.
        """
        self._take(Skipped())

    def delete(self, saved: Iterable[SavedObject]) -> None:
        """Delete accepted objects, as one step of undo.

        Raises:
            SessionError: an object was deleted already.
        """
        self._take(Deleted(tuple(one.version for one in saved)))

    def relabel(self, saved: Iterable[SavedObject], label: str | None) -> None:
        """Change the label of accepted objects, as one step of undo.

        Objects that have the label already are left out.

        Raises:
            SessionError: an object is being edited, or was deleted.
        """
        label = checked_label(label)
        if others := tuple(one.version for one in saved if one.label != label):
            self._take(Relabelled(others, label))

    def add_all(self, found: Sequence[Addition]) -> None:
        """Add whole masks as objects beside the current one, as one step of undo.

        Raises:
            SessionError: an empty mask, or one of another size than the image.
        """
        added = tuple(self._added(place, one) for place, one in enumerate(found))
        if added:
            self._take(added[0] if len(added) == 1 else Edited("accept all", added=added))

    def reject(self, proposal: int) -> None:
        """Reject a proposal of a project; undo restores it."""
        self._take(Rejected(proposal))

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

    def teach(self, mask: NDArray[np.bool_]) -> None:
        """Let the adapters learn an object (H, W) that was accepted without a click.

        It is learned as if it had been accepted after one click on its middle. While another
        object is in progress nothing is learned, because adapters handle one at a time.
        """
        self._teach_mask(mask, self.embedding)

    @torch.inference_mode(False)
    @torch.enable_grad()  # the caller may have switched gradients off
    def _teach_mask(self, mask: NDArray[np.bool_], embedding: ImageEmbedding) -> None:
        if not self.is_teachable:
            return
        click = next_click(mask, np.zeros_like(mask))
        if click is None:  # an empty mask
            return
        self._tell_of(embedding)
        prompt = Prompt([(click.x, click.y)])
        adapters = self.lease.answering(self.model, embedding)
        found = self.model.predict(embedding, prompt, False, adapters)
        interaction = Interaction(
            model=self.model,
            adapters=self.adapters,
            embedding=embedding,
            prompts=(prompt,),
            clicks=prompt.clicks,
            logits=found.logits[found.best],
            window=found.window,
            mask=found.masks[found.best],
            step=1,
        )
        for adapter in self.lease.learners():
            adapter.on_accept(interaction, mask)

    def _added(self, place: int, new: Addition) -> Added:
        """The event that adds an object; a project replaces its number."""
        if new.rle.size != self.image_size:
            raise SessionError(f"a mask of {new.rle.size} for an image of {self.image_size}")
        if not new.rle.area:
            raise SessionError("the mask is empty: paint something first")
        number, counts = self.state.last_id + 1 + place, new.rle.counts.decode("ascii")
        return Added(number, checked_label(new.label), *new.rle.size, counts, new.proposal)


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
