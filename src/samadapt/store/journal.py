"""`Journal`: the append-only log of a project, and each session's part of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from samadapt.session.events import Accepted, Event, Opened, Record, Skipped
from samadapt.session.log import EventLog
from samadapt.store.database import Database
from samadapt.store.events import EditBegan, ProjectEvent, read_event
from samadapt.store.tables import events, projects

_ENDS = (Accepted.kind, Opened.kind, Skipped.kind)

Alongside = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a project's log.

    Attributes:
        number: 1, 2, ... in the order in which they were written.
        time: seconds since 1970 by the wall clock, for people only: clocks jump.
        person: who did it.
        image_id: where, if anywhere.
        stream, sequence: session and place in it, for a session's events.
        event: what happened.
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
        """Wait until nobody else writes to this project, and keep others waiting until the end."""
        # SQLite's writers are alone from the beginning and pass over FOR UPDATE.
        row = select(projects.c.id).where(projects.c.id == self._project).with_for_update()
        tx.execute(row)

    def next_number(self, tx: Connection) -> int:
        """Take the next number; whoever writes after waits until this transaction ends."""
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

    def unfinished(self, client: str, image_id: int) -> StoredLog | None:
        """The session of a client at an image whose last object has neither been accepted nor
        given up; None when there is none.
        """
        prefix = f"{client}:{image_id}:"
        wanted = (
            select(events.c.stream, events.c.kind, events.c.person)
            .where(
                events.c.project_id == self._project,
                events.c.image_id == image_id,
                events.c.stream.startswith(prefix, autoescape=True),
            )
            .order_by(events.c.number.desc())
            .limit(1)
        )
        with self._database.read() as tx:
            row = tx.execute(wanted).first()
        if row is None or row.kind in _ENDS:
            return None
        return StoredLog(self, self._database, self._project, row.stream, row.person, image_id)

    def edited(self, log: StoredLog) -> EditBegan | None:
        """Return the edit of a stored object that a session has begun, if any."""
        found: EditBegan | None = None
        for entry in self.entries(image_id=log.image_id):
            if isinstance(entry.event, EditBegan) and entry.event.stream == log.stream:
                found = entry.event
            elif entry.stream == log.stream and entry.event.kind in _ENDS:
                found = None
        return found

    def log(self, client: str, image_id: int, person: str) -> StoredLog:
        """A new log for a session of a client at an image."""
        stream = f"{client}:{image_id}:{time.time_ns()}"
        return StoredLog(self, self._database, self._project, stream, person, image_id)


class StoredLog(EventLog):
    """A session's log inside a project's: durable when `append` returns."""

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
        self._alongside: Alongside | None = None
        self._count = sum(1 for _ in self)

    @contextmanager
    def alongside(self, write: Alongside) -> Iterator[None]:
        """Within the block, `write` is part of the transaction that saves an accepted object."""
        self._alongside = write
        try:
            yield
        finally:
            self._alongside = None

    def append(self, event: Event) -> Record:
        """Append an event and run `alongside` in one transaction.

        Raises:
            FullError: it could not be saved; the log then still ends with the event before.
        """
        record = Record(self._count, round(time.time(), 3), event)
        with self._database.write() as tx:
            tx.execute(
                insert(events).values(
                    project_id=self._project,
                    number=self._journal.next_number(tx),
                    time=record.time,
                    person=self.person,
                    image_id=self.image_id,
                    stream=self.stream,
                    sequence=record.sequence,
                    kind=event.kind,
                    body=record.to_json(),
                )
            )
            if self._alongside is not None and isinstance(event, Accepted):
                self._alongside(tx)
        self._count += 1
        return record

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
