"""What a session's events mean for the objects of its project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from samadapt.errors import SessionError
from samadapt.session.events import Accepted, Added, Event
from samadapt.session.state import SavedObject, SessionState, reduce
from samadapt.store.events import Source
from samadapt.store.objects import NewMask, ObjectTable
from samadapt.store.records import StoredObject


@dataclass(slots=True)
class SessionObjects:
    """The objects of one image, as one session changes them.

    The session's state says which objects there should be; what differs from the state before is
    changed in the project, in the transaction that saves the event.

    Attributes:
        table: the project's objects.
        image_id: the session's image.
        content_hash: of its pixels.
        is_adapted: tells whether answers use something that was learned.
        person: who acts.
        key: of the request, which a new object gets.
        source: of an object that is added without clicks.
    """

    table: ObjectTable
    image_id: int
    content_hash: str | None
    is_adapted: Callable[[], bool]
    person: str = ""
    key: str | None = None
    source: Source = "brush"

    def complete(self, tx: Connection, before: SessionState, event: Event) -> Event:
        """Make the changes of an event; returns it with the number of a new object.

        Raises:
            ConflictError: somebody else changed an object meanwhile.
            MissingError: the label was removed.
        """
        is_new = isinstance(event, Added) or before.object.edited is None
        if isinstance(event, Accepted) and is_new:
            return replace(event, object_id=self._add(tx, before, event).id)
        after = reduce(before, event)
        for number, saved in after.objects.items():
            if before.objects.get(number) != saved and saved != before.object.edited:
                self._change(tx, before.objects.get(number), saved)
        return event

    def _add(self, tx: Connection, before: SessionState, event: Accepted) -> StoredObject:
        saved = reduce(before, event).objects[event.object_id]
        if saved.rle is None:
            raise SessionError("an object without a mask")
        prompts = 0 if isinstance(event, Added) else _prompts_in_force(before)
        new = NewMask(
            self.image_id,
            saved.rle,
            label_number(saved.label),
            "clicks" if prompts else self.source,
            self.key,
            prompts or None,
            prompts > 0 and self.is_adapted(),
            self.content_hash,
        )
        return self.table.add_in(tx, new, self.person)

    def _change(self, tx: Connection, known: SavedObject | None, saved: SavedObject) -> None:
        where = tx, saved.object_id, saved.revision - 1, self.person
        if saved.deleted:
            self.table.delete_in(*where)
        elif known is not None and known.deleted:
            self.table.restore_in(*where)
        else:
            self.table.change_in(*where, label_number(saved.label), saved.rle)


def label_number(label: str | None) -> int | None:
    """The number of a label that a session's event names."""
    return None if label is None else int(label)


def saved_object(thing: StoredObject) -> SavedObject:
    """A project's object as sessions know it."""
    label = None if thing.label_id is None else str(thing.label_id)
    return SavedObject(thing.id, thing.revision, label, thing.rle, thing.deleted)


def _prompts_in_force(state: SessionState) -> int:
    return len(state.object.clicks) + (state.object.box is not None)
