"""`Journal`: the append-only log of a project, and each session's part of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from samadapt.session.events import (
    Accepted,
    Event,
    ObjectVersion,
    Opened,
    Reopened,
    Skipped,
    Trimmed,
)
from samadapt.session.log import EventLog
from samadapt.session.record import Record
from samadapt.store.database import Database
from samadapt.store.errors import BehindError
from samadapt.store.events import (
    EditBegan,
    ObjectAdded,
    ObjectChanged,
    ProjectEvent,
    read_event,
)
from samadapt.store.tables import events, projects

Complete = Callable[[Connection, Event], Event]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a project's log.

    Attributes:
        number: 1, 2, ... in the order in which they were written.
        time: seconds since 1970 by the wall clock, for people only: clocks jump.
        person: the person who acted.
        image_id: number of the image, if any.
        stream, sequence: session and position in it, for a session's events.
        event: the event.
    """

    number: int
    time: float
    person: str
    image_id: int | None
    stream: str | None
    sequence: int | None
    event: ProjectEvent | Event


class Journal:
    """The log of one project."""

    def __init__(self, database: Database, project_id: int) -> None:
        self._database = database
        self._project = project_id

    def add(
        self, tx: Connection, event: ProjectEvent, *, person: str, image_id: int | None = None
    ) -> float:
        """Append an event of the project; returns its time."""
        now = time.time()
        number = self.next_number(tx)
        tx.execute(
            insert(events).values(
                project_id=self._project,
                number=number,
                time=now,
                person=person,
                image_id=image_id,
                kind=event.kind,
                body=event.model_dump_json(),
            )
        )
        return now

    def lock(self, tx: Connection) -> None:
        """Lock this project for writing until the transaction ends."""
        self._database.lock(tx, self._project)

    def next_number(self, tx: Connection) -> int:
        """Take the next number; later writers wait until this transaction ends."""
        statement = (
            update(projects)
            .where(projects.c.id == self._project)
            .values(events=projects.c.events + 1)
            .returning(projects.c.events)
        )
        return int(tx.execute(statement).scalar_one())

    def last_number(self) -> int:
        """The number of the last event, 0 without any."""
        with self._database.read() as tx:
            found = select(projects.c.events).where(projects.c.id == self._project)
            return int(tx.execute(found).scalar_one())

    def entries(self, after: int = 0, image_id: int | None = None) -> Iterator[Entry]:
        """Return all events after number `after`, in order; only those of one image, if given.

        Raises:
            StoreError: a damaged event.
            SessionError: a damaged event of a session.
        """
        wanted = select(events).where(events.c.project_id == self._project, events.c.number > after)
        if image_id is not None:
            wanted = wanted.where(events.c.image_id == image_id)
        with self._database.read() as tx:
            rows = tx.execute(wanted.order_by(events.c.number)).all()
        for row in rows:
            if row.stream is None:
                event: ProjectEvent | Event = read_event(row.kind, row.body)
            else:
                event = Record.from_json(row.body).event
            yield Entry(
                row.number, row.time, row.person, row.image_id, row.stream, row.sequence, event
            )

    def last_change(self, image_id: int) -> int:
        """Number of the last event that changed objects or mark of an image, 0 without any."""
        wanted = (
            select(events.c.number)
            .where(
                events.c.project_id == self._project,
                events.c.image_id == image_id,
                events.c.stream.is_(None),
                events.c.kind != EditBegan.kind,
            )
            .order_by(events.c.number.desc())
            .limit(1)
        )
        with self._database.read() as tx:
            return int(tx.execute(wanted).scalar() or 0)

    def changed_since(self, number: int) -> set[int]:
        """Images of which objects, mark, tags or review changed after event `number`."""
        wanted = select(events.c.image_id).where(
            events.c.project_id == self._project,
            events.c.number > number,
            events.c.image_id.is_not(None),
            events.c.stream.is_(None),
        )
        with self._database.read() as tx:
            return {int(image) for image in tx.execute(wanted.distinct()).scalars()}

    def log(self, client: str, image_id: int, person: str) -> StoredLog:
        """A new log for a session of a client at an image.

        Its first event is refused (`BehindError`) if another server began a session meanwhile.
        """
        with self._database.read() as tx:
            before = self.last_event(tx, client, image_id)
        stream = f"{client}:{image_id}:{time.time_ns()}"
        log = StoredLog(self, self._database, self._project, stream, person, image_id)

        def is_next(tx: Connection) -> bool:
            return bool(self.last_event(tx, client, image_id) == before)

        log.is_next = is_next
        return log

    def last_log(self, client: str, image_id: int) -> StoredLog | None:
        """The log of the last session of a client at an image; None when there was none."""
        with self._database.read() as tx:
            row = self.last_event(tx, client, image_id)
        if row is None:
            return None
        return StoredLog(self, self._database, self._project, row.stream, row.person, image_id)

    def is_last(self, client: str, log: StoredLog) -> bool:
        """Whether no other server has added to a client's session at an image since."""
        with self._database.read() as tx:
            row = self.last_event(tx, client, log.image_id)
        here = None if row is None else (row.stream, row.sequence + 1)
        return here == (log.stream, len(log)) or (here is None and not len(log))

    def last_event(self, tx: Connection, client: str, image_id: int) -> Any:
        """Stream, person and sequence of the last event of a client's sessions at an image."""
        prefix = f"{client}:{image_id}:"
        wanted = (
            select(events.c.stream, events.c.person, events.c.sequence)
            .where(
                events.c.project_id == self._project,
                events.c.image_id == image_id,
                events.c.stream.startswith(prefix, autoescape=True),
            )
            .order_by(events.c.number.desc())
            .limit(1)
        )
        return tx.execute(wanted).first()

    def find_request(self, client: str, image_id: int, key: str) -> Record | None:
        """What ended a client's request at an image, in any of its sessions there."""
        wanted = select(events.c.body).where(
            events.c.project_id == self._project,
            events.c.image_id == image_id,
            events.c.stream.startswith(f"{client}:{image_id}:", autoescape=True),
            events.c.body.contains(key, autoescape=True),
        )
        with self._database.read() as tx:
            bodies = tx.execute(wanted.order_by(events.c.number)).scalars().all()
        found = [one for one in map(Record.from_json, bodies) if one.key == key]
        return next((one for one in reversed(found) if _ends_request(one)), None)

    def maybe_unfinished(self, client: str) -> list[int]:
        """Images on which a client's last session may have an unfinished object."""
        mine = select(func.max(events.c.number)).where(
            events.c.project_id == self._project,
            events.c.stream.startswith(f"{client}:", autoescape=True),
        )
        wanted = select(events.c.image_id).where(
            events.c.project_id == self._project,
            events.c.number.in_(mine.group_by(events.c.image_id)),
            events.c.kind.not_in((Opened.kind, Accepted.kind, Skipped.kind)),
        )
        with self._database.read() as tx:
            return [int(number) for number in tx.execute(wanted).scalars()]

    def taken_up(self) -> set[int]:
        """Objects that somebody opened again for editing."""
        wanted = select(events.c.kind, events.c.body).where(
            events.c.project_id == self._project,
            events.c.kind.in_((Reopened.kind, EditBegan.kind)),
        )
        with self._database.read() as tx:
            rows = tx.execute(wanted).all()
        found = set()
        for kind, body in rows:
            if kind == EditBegan.kind:
                event: ProjectEvent | Event = read_event(kind, body)
            else:
                event = Record.from_json(body).event
            if isinstance(event, EditBegan):
                found.add(event.object)
            elif isinstance(event, Reopened):
                found.add(event.object.object_id)
        return found

    def session_events(self, log: StoredLog) -> list[Event]:
        """The events of a session in the form of the present version.

        Earlier versions numbered accepted objects by session; their number in the project is in
        the project's event that was saved with them. The edited object was an event of the
        project, too.
        """
        found: list[Event] = []
        known: dict[int, ObjectAdded] = {}
        before: tuple[str | None, int] = None, 0
        for entry in self.entries(image_id=log.image_id):
            event = entry.event
            if entry.stream == log.stream and isinstance(event, Event):
                found.append(event)
            elif isinstance(event, EditBegan) and event.stream == log.stream:
                if event.object in known:  # else the log was repaired
                    found.append(_reopened(event, known[event.object]))
            elif isinstance(event, ObjectAdded | ObjectChanged):
                if isinstance(event, ObjectAdded):
                    known[event.object] = event
                elif event.object in known:
                    changes = {"label": event.label, "counts": event.counts}
                    known[event.object] = known[event.object].model_copy(update=changes)
                last = found[-1] if before == (log.stream, entry.number - 1) else None
                if isinstance(last, Accepted):
                    found[-1] = replace(last, object_id=event.object)
            before = entry.stream, entry.number
        return found


def _reopened(event: EditBegan, known: ObjectAdded) -> Reopened:
    label = None if known.label is None else str(known.label)
    version = ObjectVersion(event.object, event.revision, label)
    return Reopened(version, known.height, known.width, known.counts)


class StoredLog(EventLog):
    """A session's log inside a project's: durable when `append` returns.

    Attributes:
        complete: is called in the transaction that saves an event. It applies the event to the
            project, and returns the event with the project's numbers.
        is_next: tells in the transaction of the first event whether the log may begin.
        keys: of the requests whose events are in the log, each with the record that ended it.
    """

    def __init__(
        self,
        journal: Journal,
        database: Database,
        project_id: int,
        stream: str,
        person: str,
        image_id: int,
    ) -> None:
        super().__init__()
        self._journal, self._database, self._project = journal, database, project_id
        self.stream, self.person, self.image_id = stream, person, image_id
        self.complete: Complete | None = None
        self.is_next: Callable[[Connection], bool] | None = None
        self._key: str | None = None
        self._request: str | None = None
        self._count = 0
        records = list(self)
        self.keys = {r.key: r for r in records if _ends_request(r)}
        self._count = records[-1].sequence + 1 if records else 0

    @contextmanager
    def keyed(self, key: str | None, person: str, request: str | None = None) -> Iterator[None]:
        """Within the block, events get this person and the key of the request."""
        self._key, self._request, self.person = key, request, person
        try:
            yield
        finally:
            self._key = self._request = None

    def append(self, event: Event) -> Record:
        """Add an event and apply it to the project, in one transaction.

        Raises:
            BehindError: another server has added to the log; nothing was saved.
            FullError: it could not be saved; the log then ends with the event before.
            StoreError: the change is not possible; nothing was saved.
        """
        with self._database.write() as tx:
            number = self._journal.next_number(tx)
            may_begin = self._count > 0 or self.is_next is None or self.is_next(tx)
            if not may_begin or self._length(tx) != self._count:
                raise BehindError(
                    "another server has done the next step of this session: look at the image and "
                    "do it again"
                )
            if self.complete is not None:
                event = self.complete(tx, event)
            now = round(time.time(), 3)
            record = Record(self._count, now, event, self._key, self._request)
            tx.execute(
                insert(events).values(
                    project_id=self._project,
                    number=number,
                    time=record.time,
                    person=self.person,
                    image_id=self.image_id,
                    stream=self.stream,
                    sequence=record.sequence,
                    kind=event.kind,
                    body=record.to_json(),
                )
            )
        self._count += 1
        if _ends_request(record):
            self.keys[record.key] = record
        return record

    def _length(self, tx: Connection) -> int:
        here = events.c.project_id == self._project, events.c.stream == self.stream
        last = tx.execute(select(func.max(events.c.sequence)).where(*here)).scalar()
        return 0 if last is None else int(last) + 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        """All records so far, in order."""
        wanted = (
            select(events.c.body)
            .where(events.c.project_id == self._project, events.c.stream == self.stream)
            .order_by(events.c.sequence)
        )
        with self._database.read() as tx:
            bodies = list(tx.execute(wanted).scalars())
        return iter([Record.from_json(body) for body in bodies])


def _ends_request(record: Record) -> bool:
    """Whether an event is the last one of its request; `Trimmed` is followed by `Accepted`."""
    return record.key is not None and not isinstance(record.event, Trimmed)
