"""`Session`: one person, one image at a time, one object at a time."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from samadapt.data.images import ImageLike
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.session.core import SessionStatus as SessionStatus
from samadapt.session.editing import SessionEditing
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
from samadapt.session.images import encode_image, refer
from samadapt.session.lease import AdapterLease
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.state import SavedObject
from samadapt.session.steps import Addition, checked_label, checked_numbers


class Session(SessionEditing):
    """Clicks in, masks out; every action is an event in the log.

    The state is the result of `reduce` over the events. An action first computes its result, then
    saves its event, then takes effect, and finally lets the adapters learn. An action that fails
    before it is saved changes nothing. An adapter's error while it learns is raised too, but the
    action has taken effect by then.

    Masks are (H, W) bool at the image's original size, read-only. A session belongs to one
    thread at a time; sessions in several threads may share a model and embeddings.

    Args:
        model: answers the prompts.
        adapters: applied in order; adapters that learn in sessions learn from its events. Give a
            lease for adapters that are shared with other sessions.
        log: an empty log for the events; in memory when left out. `replay` continues a log that
            has events.
        options: how clicks become prompts.

    Attributes:
        state: the result of the events so far.

    Raises:
        AdapterError: an adapter made for another model.
        SessionError: the log has events already.
    """

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams] | AdapterLease = (),
        log: EventLog | None = None,
        options: SessionOptions | None = None,
    ) -> None:
        if log is not None and len(log):
            raise SessionError(
                f"the session log has {len(log)} events already: continue it with replay(), or "
                "give an empty one"
            )
        if not isinstance(adapters, AdapterLease):
            adapters = AdapterLease(adapters)
        log = EventLog() if log is None else log
        super().__init__(model, adapters, log, options or SessionOptions())

    # -- clicks, boxes and strokes ----------------------------------------------------------

    def open(
        self,
        image: ImageLike | None = None,
        name: str | None = None,
        *,
        embedding: ImageEmbedding | None = None,
        reference: ImageReference | None = None,
    ) -> None:
        """Open an image; an unfinished object of the previous image is dropped.

        Args:
            image: a path, a PIL image, or an array, as in `SegmentationModel.encode`. May be left
                out when `embedding` is given.
            name: its name in the log; the file's name by default.
            embedding: the image already encoded by this model; nothing is read or encoded then.
            reference: the reference of the image of `embedding` for the log, if known.

        Raises:
            ImageError: unreadable, truncated or empty image.
            ModelError: an embedding of another model.
        """
        if embedding is not None:
            self.model.check_embedding(embedding)
            reference = reference or refer(embedding, image, name)
        elif image is not None:
            embedding, reference = encode_image(self.model, image, name)
        else:
            raise SessionError("nothing to open: give an image or its embedding")
        self._take(self.opening(reference), embedding)

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
        x, y = checked_numbers("click", x, y)
        self._take(Clicked(x, y, bool(positive)))
        return self._shown()

    def box(self, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.bool_]:
        """Draw a box around the object, replacing an earlier one; returns the new mask.

        Raises:
            PromptError: not finite numbers, empty, or outside the image.
            SessionError: no image is open, or the log cannot be written.
        """
        x0, y0, x1, y1 = checked_numbers("box", x0, y0, x1, y1)
        self._take(Boxed(x0, y0, x1, y1))
        return self._shown()

    def choose(self, index: int) -> NDArray[np.bool_]:
        """Show another one of the candidates; returns its mask.

        Choosing the shown candidate again adds no event.

        Raises:
            SessionError: there is no such candidate.
        """
        event = Chosen(operator.index(index))
        self._check_choice(event)
        if event.index != self.chosen:
            self._take(event)
        return self._shown()

    def paint(self, stroke: NDArray[np.bool_], positive: bool = True) -> NDArray[np.bool_]:
        """Paint pixels, or erase them (positive=False); returns the new mask.

        Strokes stay on top of the model's mask, also after later clicks.

        Raises:
            SessionError: an empty stroke, or one of another size than the image.
        """
        part = self._part("stroke", stroke)
        self._take(Painted(*part, positive=bool(positive)))
        return self._shown()

    # -- undo ---------------------------------------------------------------------------------

    def undo(self) -> NDArray[np.bool_] | None:
        """Undo the last step; returns the mask of the current object after that.

        Clicks, boxes, strokes, labels, acceptance, edits and deletions are steps of one stack.

        Raises:
            SessionError: nothing to undo.
        """
        self._take(Undone())
        return self.mask

    def redo(self) -> NDArray[np.bool_] | None:
        """Redo the step undone last; returns the mask of the current object after that.

        Raises:
            SessionError: nothing to redo.
        """
        self._take(Redone())
        return self.mask

    # -- objects --------------------------------------------------------------------------------

    def accept(
        self, label: str | None = None, *, without: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Accept the mask as an object and begin the next one; returns the mask.

        Args:
            label: the class; defaults to the session's current label.
            without: pixels (H, W) of other objects, which are removed from the mask.

        Raises:
            SessionError: there is no mask, or it is empty.
        """
        label = self.state.object.label if label is None else checked_label(label)
        mask = self._filled_mask()
        if without is not None and (covered := mask & without).any():
            if np.array_equal(covered, mask):
                raise SessionError("the mask is empty: all of it belongs to earlier objects")
            self._take(Trimmed(*self._part("part", covered)))
            mask = self._filled_mask()
        edited = self.state.object.edited
        object_id = self.state.last_id + 1 if edited is None else edited.object_id
        self._take(Accepted.from_mask(object_id, label, mask))
        return mask

    def add(self, mask: NDArray[np.bool_], label: str | None = None) -> None:
        """Add a whole mask (H, W) as an object beside the current one: an accepted proposal.

        Raises:
            SessionError: an empty mask, or one of another size than the image.
        """
        self.add_all([Addition(Rle.from_mask(mask), label)])

    def edit(self, saved: SavedObject) -> NDArray[np.bool_]:
        """Open an accepted object again; returns its mask.

        The next prompt carries the mask, and accepting saves a new version.

        Raises:
            SessionError: another object is in progress, or the mask does not fit the image.
        """
        if saved.rle is None or saved.rle.size != self.image_size:
            raise SessionError(f"object {saved.object_id} has no mask of this image's size")
        counts = saved.rle.counts.decode("ascii")
        self._take(Reopened(saved.version, *saved.rle.size, counts))
        return self._shown()

    def restore(self, events: Iterable[Event], embedding: ImageEmbedding) -> None:
        """Continue after events that are in the log already; `embedding` is their last image.

        Only the prompts of the current object are predicted again, and the adapters are notified
        of them.

        Raises:
            SessionError: invalid events.
            SamadaptError: a prompt cannot be answered.
        """
        self._embedding = embedding
        self._restore(events)
