"""`SavedObject`: an accepted object, as a session's events tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from samadapt.data.rle import Rle
from samadapt.session.events import ObjectVersion


@dataclass(frozen=True, slots=True)
class SavedObject:
    """An object that was accepted.

    Attributes:
        object_id, revision, label: which version of which object, and its label.
        rle: its mask; None where no event of this session holds it.
        deleted: whether it was deleted. It can be brought back.
    """

    object_id: int
    revision: int
    label: str | None
    rle: Rle | None = field(default=None, repr=False)
    deleted: bool = False

    @property
    def version(self) -> ObjectVersion:
        """What events say of it."""
        return ObjectVersion(self.object_id, self.revision, self.label)
