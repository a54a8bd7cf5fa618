"""Accepted objects that an event of a session takes away, puts back or changes."""

from __future__ import annotations

from collections.abc import Mapping

from samadapt.data.rle import Rle
from samadapt.session.events import Accepted
from samadapt.session.state import SavedObject


def vanished(
    before: Mapping[int, SavedObject], after: Mapping[int, SavedObject], changed: bool
) -> list[Accepted]:
    """The objects, as they were accepted, that `after` lacks or, if `changed`, has otherwise."""
    found = []
    for number, one in before.items():
        other = after.get(number)
        is_gone = other is None or other.deleted
        is_other = changed and other is not None and other.rle != one.rle
        if one.rle is not None and not one.deleted and (is_gone or is_other):
            found.append(as_accepted(one, one.rle))
    return found


def as_accepted(saved: SavedObject, mask: Rle) -> Accepted:
    """The event that accepts an object with `mask`."""
    return Accepted(saved.object_id, saved.label, *mask.size, mask.counts.decode("ascii"))
