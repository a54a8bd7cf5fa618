"""`WindowEditing`: tools that change masks of a large image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.data.frames import Frame, changed_in, without
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.session.events import Added, ChangedMask, Edited, Painted
from samadapt.session.mask_tools import apply_tool, split
from samadapt.session.state import SavedObject
from samadapt.session.window_masks import WindowMasks, tight_part

Mask: TypeAlias = NDArray[np.bool_]
MOST_POINTS = 1 << 22
"""Points at which a tool looks at an object: larger ones are changed at a coarser step."""


class WindowEditing(WindowMasks):
    """Mask tools as in `SessionEditing`; each is one event, and one step of undo.

    A tool sees an object in a frame of its own, and changes only what differs there.
    """

    def apply(self, tool: str, saved: Sequence[SavedObject] = ()) -> int:
        """Apply one of `mask_tools.TOOLS`; returns how many objects changed.

        Raises:
            SessionError: there is no such tool or no mask, nothing would be left of an object, or
                it is being edited or was deleted.
        """
        return self.change(tool, lambda mask: tooled(mask, lambda m: apply_tool(tool, m)), saved)

    def split(self, cut: Rle, saved: Sequence[SavedObject] = ()) -> int:
        """Split objects along a stroke; as `SessionEditing.split`."""
        changed, pieces = list[ChangedMask](), list[tuple[Rle, str | None]]()
        strokes: tuple[Painted, ...] = ()
        if saved:
            for one in saved:
                mask = self._saved(one)
                kept, others = _divided(mask, cut)
                if others:
                    changed.append(_changed(one, mask, kept))
                    pieces += [(other, one.label) for other in others]
        else:
            mask = self._filled()
            kept, others = _divided(mask, cut)
            strokes = _strokes(mask, kept)
            pieces = [(other, self.state.object.label) for other in others]
        if not pieces:
            raise SessionError("the cut divides nothing: draw it from one side to the other")
        first = max((self.state.last_id, *(one.object_id for one in saved))) + 1
        added = [
            Added(first + k, label, *m.size, m.counts.decode("ascii"))
            for k, (m, label) in enumerate(pieces)
        ]
        self._take(Edited("split", tuple(changed), (), tuple(added), strokes))
        return len(added)

    def merge(self, saved: Sequence[SavedObject]) -> None:
        """Make objects one: the current one if there is one, else the first of `saved`.

        The others are deleted.

        Raises:
            SessionError: fewer than two objects, or as `apply`.
        """
        masks = [self._saved(one) for one in saved]
        changed: tuple[ChangedMask, ...] = ()
        strokes: tuple[Painted, ...] = ()
        if self.state.object.is_blank:
            if len(saved) < 2:
                raise SessionError("nothing to merge: select two objects or more")
            changed = (_changed(saved[0], masks[0], Rle.union(masks)),)
            deleted = [one.version for one in saved[1:]]
        else:
            if not saved:
                raise SessionError("nothing to merge: select an object to merge with this one")
            mask = self._filled()
            strokes = _strokes(mask, Rle.union([mask, *masks]))
            deleted = [one.version for one in saved]
        self._take(Edited("merge", changed, tuple(deleted), (), strokes))

    def change(
        self, tool: str, change: Callable[[Rle], Rle], saved: Sequence[SavedObject] = ()
    ) -> int:
        """Give objects the masks that `change` makes of theirs; returns how many changed.

        Args:
            tool: what it is called in the log.
            change: from a mask of the image to another one.
            saved: the objects; none for the one under way.

        Raises:
            SessionError: as `apply`.
        """
        if not saved:
            mask = self._filled()
            strokes = _strokes(mask, _something(change(mask)))
            if strokes:
                self._take(Edited(tool, strokes=strokes))
            return int(bool(strokes))
        changed = []
        for one in saved:
            mask = self._saved(one)
            found = _something(change(mask))
            if found != mask:
                changed.append(_changed(one, mask, found))
        if changed:
            self._take(Edited(tool, tuple(changed)))
        return len(changed)


def _something(mask: Rle) -> Rle:
    """The mask, if a pixel of it is left."""
    if not mask.area:
        raise SessionError("nothing would be left of the object: delete it instead")
    return mask


def tooled(mask: Rle, change: Callable[[Mask], Mask]) -> Rle:
    """What a tool makes of a mask, which it sees with a rim of background."""
    frame = Frame.over(_wider(mask.box), MOST_POINTS)
    return changed_in(mask, frame, change)


def _divided(mask: Rle, cut: Rle) -> tuple[Rle, list[Rle]]:
    """The largest piece into which a cut divides a mask, and the others."""
    frame = Frame.over(_wider(mask.box), MOST_POINTS)
    pixels = frame.pixels(mask)
    _, *others = split(pixels > 0, frame.points(cut), pixels)
    kept, found = mask, []
    for other in others:
        piece = frame.rle(other, mask.size)
        rest = without(kept, piece)
        found.append(without(kept, rest))
        kept = rest
    return kept, found


def _wider(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    left, top = min(x, _RIM), min(y, _RIM)
    return x - left, y - top, width + left + _RIM, height + top + _RIM


_RIM = 16


def _strokes(before: Rle, after: Rle) -> tuple[Painted, ...]:
    """What turns a mask into another one."""
    parts = (without(after, before), True), (without(before, after), False)
    return tuple(Painted(*tight_part(part), positive=add) for part, add in parts if part.area)


def _changed(saved: SavedObject, before: Rle, after: Rle) -> ChangedMask:
    then, now = (mask.counts.decode("ascii") for mask in (before, after))
    return ChangedMask(saved.version, *before.size, then, now)
