"""Salvage of the readable rows of a damaged database into a new one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.errors import SamadaptError
from samadapt.session.record import Record
from samadapt.store.events import read_event
from samadapt.store.sqlite_file import WAL, Contents, connected, contents, copy_database, is_sound

_COLUMNS = "project_id, number, time, person, image_id, stream, sequence, kind, body"
_NUMBER, _STREAM, _KIND, _BODY = 1, 5, 7, 8
_COMPARED = 100
_BLOCK = 500

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that may hold a project, examined in a copy.

    Attributes:
        origin: the file itself.
        path: the examined copy.
        contents: its identity and state; None if they cannot be read.
        is_sound: whether its structure is in order and its log without gaps.
        problem: reason why it is not sound.
    """

    origin: Path
    path: Path
    contents: Contents | None
    is_sound: bool
    problem: str


def look_at(origin: Path, scratch: Path, *, is_in_use: bool = False) -> Source:
    """Examine a copy of a file, with its write-ahead log, in a separate folder.

    Args:
        origin: the file.
        scratch: the folder, which is created.
        is_in_use: whether other processes may write to it; then a snapshot is examined.
    """
    scratch.mkdir()
    path = scratch / "project.sqlite"
    if is_in_use and origin.is_file():
        try:
            with connected(origin, "ro") as connection:
                return Source(origin, path, copy_database(connection, path), True, "")
        except sqlite3.Error:
            path.unlink(missing_ok=True)  # damaged: examine the file itself
    found, sound, problem = None, False, ""
    try:
        shutil.copyfile(origin, path)
        log = origin.with_name(origin.name + WAL)
        if log.is_file():
            shutil.copyfile(log, path.with_name(path.name + WAL))
        if not path.stat().st_size:
            return Source(origin, path, None, False, "it is empty")
        with connected(path) as connection:
            found = contents(connection)
            sound = found is not None and found.rows == found.events and is_sound(connection)
            problem = "" if sound else "its pages or its log are damaged"
    except FileNotFoundError:
        problem = "it is gone"
    except (sqlite3.Error, OSError) as error:
        problem = f"it cannot be read ({error})"
    return Source(origin, path, found, sound, problem)


def join(base: Path, others: list[Path], result: Path) -> tuple[int, list[str]]:
    """Merge a sound database with the events that only others have.

    Args:
        base: a sound database.
        others: possibly damaged; used where their log continues that of `base`.
        result: the new file.

    Returns:
        The number of events from the others, and a line about every unreadable event.

    Raises:
        sqlite3.Error: `base` is not sound.
    """
    with connected(base) as connection:
        copy_database(connection, result)
    damaged: list[str] = []
    added = 0
    with connected(result) as made, made:
        for project_id, events in made.execute("SELECT id, events FROM projects").fetchall():
            known = list(_rows(made, project_id, 0, events))
            longer = [_continuation(other, project_id, known) for other in others]
            more = max(longer, key=len, default=[])
            rows = [row for row in (*known, *more) if _is_readable(row, damaged)]
            added += sum(row in more for row in rows[len(known) :]) if more else 0
            if rows != known:
                _replace(made, project_id, rows)
    return added, damaged


def _rows(connection: sqlite3.Connection, project_id: int, after: int, until: int) -> Iterator[Row]:
    """The readable events from `after` + 1 to `until`, block by block, then one by one."""
    wanted = f"SELECT {_COLUMNS} FROM events WHERE project_id = ? AND number"  # noqa: S608
    for start in range(after, until, _BLOCK):
        end = min(start + _BLOCK, until)
        try:
            yield from connection.execute(
                f"{wanted} > ? AND number <= ? ORDER BY number", (project_id, start, end)
            ).fetchall()
        except sqlite3.DatabaseError:
            for number in range(start + 1, end + 1):
                try:
                    yield from connection.execute(f"{wanted} = ?", (project_id, number)).fetchall()
                except sqlite3.DatabaseError:
                    continue


def _continuation(other: Path, project_id: int, known: list[Row]) -> list[Row]:
    """The events of a file beyond the known ones, if its earlier events equal those."""
    try:
        with connected(other) as connection:
            (until,) = connection.execute(
                "SELECT coalesce(max(events), 0) FROM projects WHERE id = ?", (project_id,)
            ).fetchone()
            after = len(known)
            last = {row[_NUMBER]: row for row in known[-_COMPARED:]}
            theirs = _rows(connection, project_id, max(0, after - _COMPARED), after)
            if any(last.get(row[_NUMBER]) != row for row in theirs):
                return []
            return list(_rows(connection, project_id, after, int(until)))
    except sqlite3.DatabaseError:
        return []


def _is_readable(row: Row, damaged: list[str]) -> bool:
    try:
        if row[_STREAM] is None:
            read_event(row[_KIND], row[_BODY])
        else:
            Record.from_json(row[_BODY])
    except (SamadaptError, ValueError, TypeError) as error:
        damaged.append(f"event {row[_NUMBER]} ({row[_KIND]}): {error}")
        return False
    return True


def _replace(made: sqlite3.Connection, project_id: int, rows: list[Row]) -> None:
    """Rewrite a project's log, without gaps in its numbers."""
    made.execute("DELETE FROM events WHERE project_id = ?", (project_id,))
    numbered = [(row[0], number, *row[2:]) for number, row in enumerate(rows, 1)]
    places = ", ".join("?" * len(_COLUMNS.split(", ")))
    made.executemany(f"INSERT INTO events ({_COLUMNS}) VALUES ({places})", numbered)  # noqa: S608
    made.execute("UPDATE projects SET events = ? WHERE id = ?", (len(rows), project_id))
