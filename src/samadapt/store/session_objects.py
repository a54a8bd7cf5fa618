"""Application of a session's events to the objects of its project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from samadapt.errors import SessionError
from samadapt.session.events import Accepted, Added, Edited, Event, Painted, Redone, Undone
from samadapt.session.state import SavedObject, SessionState, reduce
from samadapt.store.events import Source
from samadapt.store.objects import NewMask, ObjectTable
from samadapt.store.proposals import ProposalTable
from samadapt.store.records import StoredObject
from samadapt.store.tracks import TrackTable


@dataclass(slots=True)
class SessionObjects:
    """The objects of one image, as changed by one session.

    The session's state has the objects and the decisions about proposals; its differences from
    the state before are applied to the project, in the transaction that saves the event.

    Attributes:
        table: the project's objects.
        proposals: the project's proposals.
        tracks: the tracks of objects along stacks.
        image_id: the session's image.
        content_hash: of its pixels.
        is_adapted: returns True if predictions use a trained adapter.
        person: the person who acts.
        key: of the request, for new objects.
        source: of an object that is added without clicks.
        labels: names of labels for objects that are made of proposals, by the proposal's number:
            those that are missing are added with the objects, or not at all.
    """

    table: ObjectTable
    proposals: ProposalTable
    tracks: TrackTable
    image_id: int
    content_hash: str | None
    is_adapted: Callable[[], bool]
    person: str = ""
    key: str | None = None
    source: Source = "brush"
    labels: Mapping[int, str] = field(default_factory=dict)

    def complete(self, tx: Connection, before: SessionState, event: Event) -> Event:
        """Apply an event to the project; returns it with the numbers of new objects.

        Raises:
            ConflictError: somebody else changed an object meanwhile.
            MissingError: the label was removed, or somebody else decided about the proposal.
        """
        new: set[int] = set()
        event = self._labelled(tx, event)
        is_new = isinstance(event, Added) or before.object.edited is None
        if isinstance(event, Accepted) and is_new:
            event = replace(event, object_id=self._add(tx, before, event, self.key).id)
            new.add(event.object_id)
            self._follow(tx, event)
        elif isinstance(event, Edited):
            added = [self._add(tx, before, one, None).id for one in event.added]
            numbered = zip(event.added, added, strict=True)
            event = replace(event, added=tuple(replace(e, object_id=n) for e, n in numbered))
            new.update(added)
            for one in event.added:
                self._follow(tx, one)
        after = reduce(before, event)
        self._decide(tx, before.decided, after.decided)
        for number, saved in after.objects.items():
            if number in new:
                continue
            if before.objects.get(number) != saved and saved != before.object.edited:
                more = _prompts_in_force(before) if isinstance(event, Accepted) else 0
                if isinstance(event, Undone | Redone):  # with a label that was removed meanwhile
                    self.table.bring_back_label(tx, label_number(saved.label), self.person)
                self._change(tx, before.objects.get(number), saved, more)
        return event

    def _labelled(self, tx: Connection, event: Event) -> Event:
        """The event with the numbers of the labels that are named for its proposals."""
        added = event.added if isinstance(event, Edited) else (event,)
        named = [self._name_of(one) for one in added if isinstance(one, Added)]
        names = [name for name in named if name is not None]
        if not names:
            return event
        numbers = self.table.labels.named_in(tx, names, self.person)

        def labelled(one: Added) -> Added:
            name = self._name_of(one)
            return one if name is None else replace(one, label=label_text(numbers[name]))

        if isinstance(event, Edited):
            return replace(event, added=tuple(map(labelled, event.added)))
        return labelled(event) if isinstance(event, Added) else event

    def _name_of(self, new: Added) -> str | None:
        """The name of the label that an object of a proposal gets, if one is named."""
        return None if new.proposal is None else self.labels.get(new.proposal)

    def _add(
        self, tx: Connection, before: SessionState, event: Accepted, key: str | None
    ) -> StoredObject:
        saved = reduce(before, event).objects[event.object_id]
        if saved.rle is None:
            raise SessionError("an object without a mask")
        prompts = 0 if isinstance(event, Added) else _prompts_in_force(before)
        is_clicked = prompts > 0 and bool(before.object.asked)
        new = NewMask(
            self.image_id,
            saved.rle,
            label_number(saved.label),
            "clicks" if is_clicked else self.source,
            key,
            prompts or None,
            is_clicked and self.is_adapted(),
            self.content_hash,
        )
        return self.table.add_in(tx, new, self.person)

    def _follow(self, tx: Connection, event: Accepted) -> None:
        """Add an accepted object that was carried from another slice to that object's track."""
        if isinstance(event, Added) and event.proposal is not None:
            origin = self.proposals.origin_in(tx, event.proposal)
            if origin is not None:
                self.tracks.follow_in(tx, event.object_id, origin, self.person)

    def _decide(
        self, tx: Connection, before: Mapping[int, bool], after: Mapping[int, bool]
    ) -> None:
        for number in before.keys() - after.keys():
            self.proposals.bring_back_in(tx, number)
        for number in after.keys() - before.keys():
            self.proposals.decide_in(tx, number, self.image_id, after[number])

    def _change(
        self, tx: Connection, known: SavedObject | None, saved: SavedObject, more_prompts: int
    ) -> None:
        where = tx, saved.object_id, saved.revision - 1, self.person
        if saved.deleted:
            self.table.delete_in(*where)
        elif known is not None and known.deleted:
            self.table.restore_in(*where)
        else:
            self.table.change_in(*where, label_number(saved.label), saved.rle, more_prompts)


def label_number(label: str | None) -> int | None:
    """The number of a label that a session's event names."""
    return None if label is None else int(label)


def label_text(label_id: int | None) -> str | None:
    """The label of a number in the form of a session's events."""
    return None if label_id is None else str(label_id)


def saved_object(thing: StoredObject) -> SavedObject:
    """A project's object in the form of a session's state."""
    return SavedObject(
        thing.id, thing.revision, label_text(thing.label_id), thing.rle, thing.deleted
    )


def _prompts_in_force(state: SessionState) -> int:
    now = state.object
    strokes = sum(isinstance(stroke, Painted) for stroke in now.strokes)
    return len(now.clicks) + (now.box is not None) + strokes
