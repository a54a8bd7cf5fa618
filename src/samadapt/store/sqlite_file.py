"""Access to one SQLite file: connecting without creating it, and its contents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

WAL = "-wal"
PARTS = ("", WAL, "-shm")
"""Suffixes of the files that make up the database while it is in use."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Identity and state of a database.

    Attributes:
        identity: None before schema 2.
        events: number of events according to its projects.
        rows: number of events in the log.
    """

    identity: str | None
    events: int
    rows: int


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """Connect to an existing file; unlike SQLite's default, this never creates one."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, check_same_thread=False, timeout=15
    )


@contextmanager
def connected(path: Path, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """Connect as `connect` does, and close at the end of the block."""
    connection = connect(path, mode)
    try:
        yield connection
    finally:
        connection.close()


def contents(connection: sqlite3.Connection) -> Contents | None:
    """Return the contents of a database at one moment; None for one without tables.

    Raises:
        sqlite3.Error: unreadable, or no database of samadapt.
    """
    connection.execute("BEGIN")
    try:
        return _contents(connection)
    finally:
        connection.execute("ROLLBACK")


def _contents(connection: sqlite3.Connection) -> Contents | None:
    wanted = "SELECT name FROM sqlite_master WHERE type = 'table'"
    tables = {name for (name,) in connection.execute(wanted)}
    if not tables:
        return None
    identity = None
    if "samadapt_database" in tables:
        row = connection.execute("SELECT identity FROM samadapt_database").fetchone()
        identity = None if row is None else str(row[0])
    (events,) = connection.execute("SELECT coalesce(sum(events), 0) FROM projects").fetchone()
    (rows,) = connection.execute("SELECT count(*) FROM events").fetchone()
    return Contents(identity, int(events), int(rows))


def is_sound(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds the structure of the file in order."""
    try:
        return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]
    except sqlite3.DatabaseError:
        return False


def copy_database(source: sqlite3.Connection, target: Path) -> Contents:
    """Copy a snapshot of a database into a new file, and check it.

    Raises:
        sqlite3.Error: unreadable, or the copy is not sound.
    """

    def give_up(status: int, remaining: int, total: int) -> None:
        # Python would wait forever for a lock that is not released.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise sqlite3.OperationalError("it is locked")

    target.touch(exist_ok=False)
    with connected(target) as copy:
        source.backup(copy, progress=give_up)
        # One file, without a write-ahead log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        found = contents(copy)
        if found is None or found.events != found.rows or not is_sound(copy):
            raise sqlite3.DatabaseError("the copy is not sound")
    return found
