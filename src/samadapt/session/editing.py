"""`SessionEditing`: tools that change masks, of the current object or of accepted ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.session.events import Added, ChangedMask, Edited, Painted
from samadapt.session.mask_tools import apply_tool, split
from samadapt.session.state import SavedObject
from samadapt.session.steps import SessionSteps

Mask = NDArray[np.bool_]


class SessionEditing(SessionSteps):
    """Mask tools; each is one event, and one step of undo.

    Every tool works on the given accepted objects, in their present version, or on the current
    object if none is given. Objects that a tool does not change keep their version; if it changes
    none, there is no event.
    """

    def remove_islands(self, saved: Sequence[SavedObject] = ()) -> int:
        """Remove parts smaller than a tenth of an object's largest part.

        Returns:
            The number of changed objects.


        Raises:
            SessionError: there is no mask, or an object is being edited or was deleted.
        """
        return self.apply("remove islands", saved)

    def fill_holes(self, saved: Sequence[SavedObject] = ()) -> int:
        """Fill the holes of objects; otherwise as `remove_islands`."""
        return self.apply("fill holes", saved)

    def keep_largest(self, saved: Sequence[SavedObject] = ()) -> int:
        """Keep the largest part of each object; otherwise as `remove_islands`."""
        return self.apply("keep largest", saved)

    def smooth(self, saved: Sequence[SavedObject] = ()) -> int:
        """Smooth the outlines of objects; otherwise as `remove_islands`."""
        return self.apply("smooth", saved)

    def apply(self, tool: str, saved: Sequence[SavedObject] = ()) -> int:
        """Apply one of `mask_tools.TOOLS`; returns the number of changed objects.

        Raises:
            SessionError: there is no such tool or no mask, nothing would be left of an object, or
                it is being edited or was deleted.
        """
        return self._edit(tool, lambda mask: apply_tool(tool, mask), saved)

    def replace_mask(
        self, mask: Mask, saved: SavedObject | None = None, tool: str = "polygon"
    ) -> int:
        """Replace the mask (H, W) of an object; returns 1, or 0 if it has this mask already.

        Raises:
            SessionError: an empty mask, or as `apply`.
        """
        self._part("mask", mask)
        return self._edit(tool, lambda _: mask, () if saved is None else (saved,))

    def split(self, cut: Mask, saved: Sequence[SavedObject] = ()) -> int:
        """Split objects along a stroke (H, W); returns the number of new objects.

        The largest piece remains the object; the others become new accepted objects of the same
        label.

        Raises:
            SessionError: the stroke divides no object, or as `apply`.
        """
        self._part("stroke", cut)
        changed: list[ChangedMask] = []
        strokes: tuple[Painted, ...] = ()
        pieces: list[tuple[Mask, str | None]] = []
        if saved:
            for one in saved:
                mask = self._mask_of(one)
                kept, *others = split(mask, cut)
                if others:
                    changed.append(_changed(one, mask, kept))
                    pieces += [(other, one.label) for other in others]
        else:
            mask = self._filled_mask()
            kept, *others = split(mask, cut)
            strokes = self._strokes(mask, kept)
            pieces = [(other, self.state.object.label) for other in others]
        if not pieces:
            raise SessionError("the cut divides nothing: draw it from one side to the other")
        first = max((self.state.last_id, *(one.object_id for one in saved))) + 1
        added = [Added.from_mask(first + k, label, m) for k, (m, label) in enumerate(pieces)]
        self._take(Edited("split", tuple(changed), (), tuple(added), tuple(strokes)))
        return len(added)

    def merge(self, saved: Sequence[SavedObject]) -> None:
        """Merge objects into the current one if there is one, else into the first of `saved`.

        The others are deleted.

        Raises:
            SessionError: fewer than two objects, or as `apply`.
        """
        union = np.zeros(self.image_size, np.bool_)
        for one in saved:
            union |= self._mask_of(one)
        changed: tuple[ChangedMask, ...] = ()
        strokes: tuple[Painted, ...] = ()
        if self.state.object.is_blank:
            if len(saved) < 2:
                raise SessionError("nothing to merge: select two objects or more")
            changed = (_changed(saved[0], self._mask_of(saved[0]), union),)
            deleted = [one.version for one in saved[1:]]
        else:
            if not saved:
                raise SessionError("nothing to merge: select an object to merge with this one")
            mask = self._filled_mask()
            strokes = self._strokes(mask, mask | union)
            deleted = [one.version for one in saved]
        self._take(Edited("merge", changed, tuple(deleted), (), strokes))

    # -- private ------------------------------------------------------------------------------

    def _edit(self, tool: str, change: Callable[[Mask], Mask], saved: Sequence[SavedObject]) -> int:
        if not saved:
            mask = self._filled_mask()
            strokes = self._strokes(mask, change(mask))
            if strokes:
                self._take(Edited(tool, strokes=strokes))
            return int(bool(strokes))
        changed = []
        for one in saved:
            mask = self._mask_of(one)
            found = change(mask)
            if not np.array_equal(found, mask):
                changed.append(_changed(one, mask, found))
        if changed:
            self._take(Edited(tool, tuple(changed)))
        return len(changed)

    def _mask_of(self, saved: SavedObject) -> Mask:
        if saved.rle is None or saved.rle.size != self.image_size:
            raise SessionError(f"object {saved.object_id} has no mask of this image's size")
        return saved.rle.mask()

    def _strokes(self, before: Mask, after: Mask) -> tuple[Painted, ...]:
        """The strokes that turn one mask into another."""
        parts = (after & ~before, True), (before & ~after, False)
        return tuple(Painted(*self._part("stroke", p), positive=add) for p, add in parts if p.any())


def _changed(saved: SavedObject, before: Mask, after: Mask) -> ChangedMask:
    then, now = (Rle.from_mask(mask).counts.decode("ascii") for mask in (before, after))
    return ChangedMask(saved.version, before.shape[0], before.shape[1], then, now)
