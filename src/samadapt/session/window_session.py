"""`WindowSession`: a session on an image larger than memory, which works in windows."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.data.frames import Frame, without
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Box, Prompt
from samadapt.session.answers import model_mask
from samadapt.session.events import (
    Accepted,
    Boxed,
    Chosen,
    Clicked,
    Event,
    ImageReference,
    Painted,
    Redone,
    Reopened,
    Trimmed,
    Undone,
)
from samadapt.session.state import SavedObject, reduce
from samadapt.session.steps import Addition, checked_label, checked_numbers
from samadapt.session.window_editing import WindowEditing
from samadapt.session.window_masks import tight_part

Extent: TypeAlias = tuple[float, float, float, float]
"""(x0, y0, x1, y1) of a click or box, in pixels of the image."""
_MARGIN = 1 / 16
"""A click nearer to the window's edge than this share of its side gets another window."""
_ROOM = 1.6
"""A window is this many times as wide as a box in it."""
_GROWTHS = 2
"""How often a first prompt is decoded again in a window twice as wide if its mask is cut."""


class WindowSession(WindowEditing):
    """Clicks in, masks out, on an image of any size: as `Session`, with masks as run lengths.

    A prompt is decoded on a window around it, at the caller's step (pixels of the image per point
    of the window). If the next prompt needs another window or step, the mask so far is kept
    outside of the new window, and is the mask prompt inside. The window is part of the event, so
    that a replay gives the same masks. A mask of all pixels is never allocated.

    Args:
        model: answers the prompts.
        windows: the image.
        adapters: as in `Session`.
        log: as in `Session`.
        options: how clicks become prompts.
    """

    def preview(self, x: float, y: float, step: int = 1) -> tuple[ImageEmbedding, Frame, Prompt]:
        """Return the model's input for one click at (x, y), without an event."""
        frame = self.windows.frame((x, y, x, y), step)
        return self.windows.embedding(frame), frame, Prompt([frame.inside(x, y)])

    # -- clicks, boxes and strokes ----------------------------------------------------------

    def open(self, reference: ImageReference | None = None) -> None:
        """Open the image; `reference` goes into the log and defaults to the image's path."""
        if reference is None:
            path = Path(self.windows.image.name).absolute()
            reference = ImageReference(*self.image_size, path.name, str(path))
        self._take(self.opening(reference))

    def click(self, x: float, y: float, positive: bool = True, step: int = 1) -> None:
        """Click on the object, or on the background.

        Args:
            x: pixels from the left edge of the image.
            y: pixels from its top edge.
            positive: True marks the object, False the background.
            step: pixels of the image per pixel that the person sees, a power of two.

        Raises:
            PromptError: not finite numbers, or outside the image.
            ImageError: the window cannot be read.
            SessionError: no image is open, or the log cannot be written.
        """
        x, y = checked_numbers("click", x, y)
        Prompt([(x, y)]).check_inside(self.image_size)
        self._ask(Clicked(x, y, bool(positive)), (x, y, x, y), step)

    def box(self, x0: float, y0: float, x1: float, y1: float, step: int = 1) -> None:
        """Draw a box around the object, replacing an earlier one; errors as in `click`."""
        x0, y0, x1, y1 = checked_numbers("box", x0, y0, x1, y1)
        box = Box(x0, y0, x1, y1)
        Prompt(box=box).check_inside(self.image_size)
        height, width = self.image_size
        extent = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        self._ask(Boxed(x0, y0, x1, y1), extent, step)

    def choose(self, index: int) -> None:
        """Show another one of the candidates; `SessionError` if it does not exist."""
        event = Chosen(operator.index(index))
        self._check_choice(event)
        if event.index != self.chosen:
            self._take(event)

    def paint(self, stroke: Rle, positive: bool = True) -> None:
        """Paint pixels of the image, or erase them.

        Raises:
            SessionError: an empty stroke.
        """
        if not stroke.area:
            raise SessionError("the stroke is empty: paint something first")
        self._take(Painted(*tight_part(stroke), positive=bool(positive)))

    def undo(self) -> None:
        """Undo the last step; `SessionError` if there is none."""
        self._take(Undone())

    def redo(self) -> None:
        """Redo the step undone last; `SessionError` if there is none."""
        self._take(Redone())

    # -- objects --------------------------------------------------------------------------------

    def accept(self, label: str | None = None, *, others: Sequence[Rle] = ()) -> Rle:
        """Accept the mask as an object and begin the next one; returns the mask.

        Args:
            label: the class; defaults to the session's current label.
            others: objects whose pixels are removed from the mask.

        Raises:
            SessionError: there is no mask, or it is empty.
        """
        label = self.state.object.label if label is None else checked_label(label)
        mask = self._filled()
        if others:
            left = mask
            for other in others:
                left = without(left, other)
            if not left.area:
                raise SessionError("the mask is empty: all of it belongs to earlier objects")
            covered = without(mask, left)
            if covered.area:
                self._take(Trimmed(*tight_part(covered)))
                mask = self._filled()
        edited = self.state.object.edited
        number = self.state.last_id + 1 if edited is None else edited.object_id
        self._take(Accepted(number, label, *mask.size, mask.counts.decode("ascii")))
        return mask

    def add(self, mask: Rle, label: str | None = None) -> None:
        """Add a whole mask as an object beside the current one: an accepted proposal.

        Raises:
            SessionError: an empty mask, or one of another size than the image.
        """
        self.add_all([Addition(mask, label)])

    def edit(self, saved: SavedObject) -> None:
        """Open an accepted object again; accepting saves a new version.

        Raises:
            SessionError: another object is in progress, or the mask does not fit the image.
        """
        mask = self._saved(saved)
        self._take(Reopened(saved.version, *mask.size, mask.counts.decode("ascii")))

    def learn(self, mask: Rle) -> None:
        """Let the adapters learn an object that was accepted without a click; see `teach`."""
        x, y, width, height = mask.box
        frame = self.windows.frame((x, y, x + width, y + height), 1)
        self._teach_mask(frame.points(mask), self.windows.embedding(frame))

    def restore(self, events: Iterable[Event]) -> None:
        """Continue after events that are in the log already; see `Session.restore`."""
        self._restore(events)

    # -- private ------------------------------------------------------------------------------

    def _ask(self, event: Clicked | Boxed, extent: Extent, step: int) -> None:
        _ = self.opened
        now, frame = self.state.object, self._next_frame(extent, step)
        if frame != now.frame:
            is_as_saved = now.base is None and not now.asked and not now.strokes
            mask = None if is_as_saved else self.rle
            base = None if mask is None else mask.counts.decode("ascii")
            event = replace(event, base=base)
        event = replace(event, frame=frame)
        try:
            self._take(self._grown(event, extent) if now.is_blank else event)
        except BaseException:
            self._answers.keep(self.state)
            raise

    def _next_frame(self, extent: Extent, step: int) -> Frame:
        """The window for the next prompt, which is the present one if it still fits."""
        now, (x0, y0, x1, y1) = self.state.object.frame, extent
        wide = (_ROOM - 1) / 2 * max(x1 - x0, y1 - y0)
        wanted = (x0 - wide, y0 - wide, x1 + wide, y1 + wide)
        found = self.windows.frame(wanted, step)
        if now is None or now.step != found.step:
            return found
        height, width = self.image_size
        edge = _MARGIN * self.windows.side * now.step
        left, top, right, bottom = now.window
        is_inside = (
            (x0 >= left + edge or left == 0)
            and (y0 >= top + edge or top == 0)
            and (x1 <= right - edge or right > width - now.step)
            and (y1 <= bottom - edge or bottom > height - now.step)
        )
        return now if is_inside else found

    def _grown(self, event: Clicked | Boxed, extent: Extent) -> Clicked | Boxed:
        """The prompt on a wider window, if its window cuts the object."""
        for _ in range(_GROWTHS):
            now = reduce(self.state, event).object
            embedding = self._embedding_of(now)
            if now.frame is None or embedding is None or max(now.frame.size) < self.windows.side:
                break
            self._tell_of(embedding)
            mask = model_mask(now, self._answers.shown(now, embedding))
            wider = self.windows.frame(extent, 2 * now.frame.step)
            if mask is None or wider == now.frame or not is_cut(mask, now.frame, self.image_size):
                break
            self._answers.keep(self.state)
            event = replace(event, frame=wider)
        return event


def is_cut(mask: NDArray[np.bool_], frame: Frame, size: tuple[int, int]) -> bool:
    """Whether a mask (h, w) reaches an edge of its window that is inside of the image."""
    left, top, right, bottom = frame.window
    return bool(
        (left > 0 and mask[:, 0].any())
        or (top > 0 and mask[0].any())
        or (right <= size[1] - frame.step and mask[:, -1].any())
        or (bottom <= size[0] - frame.step and mask[-1].any())
    )
