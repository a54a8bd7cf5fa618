"""Copies of a project's file beside it: the latest, and copies from an hour and a day before."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

from samadapt.store.sqlite_file import Contents, connected, contents, copy_database

_LOG = logging.getLogger("samadapt.store")

RESCUED = ".rescued"
"""Suffix of a database that was rescued from a removed file."""
COPIES = (".copy", ".copy-hour", ".copy-day")
_AGES = (0.0, 3600.0, 86400.0)
_INTERVAL = 60.0
_SHARE = 50
"""Making copies takes at most one part in this many of the time."""
_STALE = 3600.0


def kept_copies(database: Path) -> list[Path]:
    """The existing copies, the latest first."""
    names = (RESCUED, *COPIES)
    paths = [database.with_name(database.name + name) for name in names]
    return [path for path in paths if path.is_file()]


def look_into(copy: Path) -> Contents | None:
    """Return the contents of a copy, None if it is unreadable."""
    try:
        with connected(copy, "ro") as connection:
            return contents(connection)
    except sqlite3.Error:
        return None


class Copies:
    """Makes the copies of one database, in the background while it is in use.

    Args:
        database: the file.
        identity: of the database.
        interval: seconds between copies, longer where making one takes long.
    """

    def __init__(self, database: Path, identity: str, interval: float = _INTERVAL) -> None:
        self._database, self._identity, self._interval = database, identity, interval
        self._next = time.monotonic() + interval
        self._copied: int | None = None
        self._work: threading.Thread | None = None
        self._lock = threading.Lock()

    def consider(self, events: int) -> None:
        """Begin a copy if one is due; `events` is the present number of events."""
        if time.monotonic() < self._next or events == self._copied:
            return
        with self._lock:
            if self._work is not None and self._work.is_alive():
                return
            self._work = threading.Thread(target=self._try, name="samadapt-copy", daemon=True)
            self._work.start()

    def finish(self, events: int) -> None:
        """Make a last copy if something changed since the last."""
        if self._work is not None:
            self._work.join()
        newest = self._database.with_name(self._database.name + COPIES[0])
        found = look_into(newest) if newest.is_file() else None
        if events and (found is None or found.events != events):
            self._try()

    def _try(self) -> None:
        start = time.monotonic()
        try:
            self._copied = make_copy(self._database, self._identity)
        except (sqlite3.Error, OSError) as error:
            _LOG.warning("%s could not be copied (%s)", self._database, error)
        took = time.monotonic() - start
        self._next = time.monotonic() + max(self._interval, _SHARE * took)


def make_copy(database: Path, identity: str) -> int:
    """Copy a database beside it, and rotate the earlier copies; returns its number of events.

    The earlier copies are kept if the process is killed, or if the database was replaced by
    another one.

    Raises:
        sqlite3.Error: the database cannot be read, or is not sound.
        OSError: no space, or the folder cannot be written to.
    """
    places = [database.with_name(database.name + name) for name in COPIES]
    _remove_stale(database)
    temporary = database.with_name(f"{database.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with connected(database) as source:
            found = copy_database(source, temporary)
        if found.identity != identity:
            raise sqlite3.DatabaseError("it is another project now")
        _sync(temporary)
        for place, before, age in reversed(list(zip(places[1:], places, _AGES[1:], strict=False))):
            if before.exists() and (not place.exists() or _age(place) > age):
                before.replace(place)
        temporary.replace(places[0])
        _sync(database.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return found.events


def _age(path: Path) -> float:
    return abs(time.time() - path.stat().st_mtime)


def _remove_stale(database: Path) -> None:
    """Remove incomplete copies of killed processes."""
    for path in database.parent.glob(f"{database.name}.????????.part*"):
        with suppress(OSError):
            if _age(path) > _STALE:
                path.unlink()


def _sync(path: Path) -> None:
    with suppress(PermissionError):  # folders cannot be opened on every system
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
