"""`SavedObject`: an accepted object in a session's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from samadapt.data.rle import Rle
from samadapt.session.events import ObjectVersion


@dataclass(frozen=True, slots=True)
class SavedObject:
    """An object that was accepted.

    Attributes:
        object_id, revision, label: number and version of the object, and its label.
        rle: its mask; None where no event of this session holds it.
        deleted: whether it was deleted; undo restores it.
    """

    object_id: int
    revision: int
    label: str | None
    rle: Rle | None = field(default=None, repr=False)
    deleted: bool = False

    @property
    def version(self) -> ObjectVersion:
        """Its version, for events."""
        return ObjectVersion(self.object_id, self.revision, self.label)
