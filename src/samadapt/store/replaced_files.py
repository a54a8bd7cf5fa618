"""`ReplacedFileCheck`: notices that files of an open database were removed or replaced.

SQLite keeps on writing into files that were removed or replaced while they are open: it reports
no error, and the changes are gone after the next start.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

from samadapt.store.copies import RESCUED, look_into
from samadapt.store.errors import LostError
from samadapt.store.sqlite_file import PARTS, WAL, connect, connected, contents, copy_database

_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
)
"""Errors that do not concern the file: other writers, no memory, no more open files."""


class _UndecidedError(Exception):
    """The file cannot be read at the moment."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was last found in order."""

    place: tuple[int, int]
    size: int
    modified: int


class ReplacedFileCheck:
    """Checks a database's files before and after every change.

    Args:
        database: the file, which is open.
        identity: of the database.
    """

    def __init__(self, database: Path, identity: str) -> None:
        self._database, self._identity = database, identity
        self._lock = threading.Lock()
        self._lost: str | None = None
        # As long as this connection lives, nobody has a reason to remove the write-ahead log.
        self._keeper = connect(database)
        contents(self._keeper)
        self._seen: dict[str, _Seen] = {}
        for part in PARTS:
            found = self._look(part)
            if found is not None:
                self._seen[part] = found

    def check(self, events: int, *, wrote: bool = False) -> None:
        """Check that the database is in place, with all its events.

        Args:
            events: least number of saved events.
            wrote: whether a change was just written.

        Raises:
            LostError: it is not; the message has the remedy. All later checks fail too.
        """
        with self._lock:
            if self._lost is None:
                problem = self._problem(events, wrote)
                if problem is not None:
                    self._lost = self._explain(problem)
            if self._lost is not None:
                raise LostError(self._lost)

    def close(self) -> None:
        """Stop watching."""
        self._keeper.close()

    def _problem(self, events: int, wrote: bool) -> str | None:
        now: dict[str, _Seen] = {}
        for part, before in self._seen.items():
            found = self._look(part)
            name = self._database.name + part
            if found is None:
                return f"{name} was removed"
            if found.place != before.place:
                return f"{name} was replaced"
            now[part] = found
        if wrote and WAL in now and now[WAL].size and not self._has_log():
            return f"{self._database.name}{WAL} was emptied"
        is_cut = WAL in now and now[WAL].size < self._seen[WAL].size
        # SQLite itself writes into the file now and then: look whether all of it is there.
        if is_cut or now[""] != self._seen[""]:
            try:
                problem = self._inside(events)
            except _UndecidedError:
                return None  # the next change looks again
            if problem is not None:
                return problem
        self._seen = now
        return None

    def _path(self, part: str) -> Path:
        return self._database.with_name(self._database.name + part)

    def _look(self, part: str) -> _Seen | None:
        # Never open the file itself here: closing it would drop SQLite's locks.
        try:
            state = self._path(part).stat()
        except OSError:
            return None
        return _Seen((state.st_dev, state.st_ino), state.st_size, state.st_mtime_ns)

    def _has_log(self) -> bool:
        try:
            with self._path(WAL).open("rb") as file:
                return file.read(4) in _WAL_MAGIC
        except OSError:
            return True  # it was there a moment ago: no more files can be opened just now

    def _inside(self, events: int) -> str | None:
        """Check through a new connection, since open ones cache pages."""
        name = self._database.name
        try:
            with connected(self._database) as other:
                found = contents(other)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
                raise _UndecidedError from None
            return f"{name} was emptied or damaged ({error})"
        except sqlite3.Error as error:
            return f"{name} was emptied or damaged ({error})"
        if found is None:
            return f"{name} was emptied"
        if found.identity != self._identity:
            return f"{name} was replaced by another project"
        if found.events < events or found.rows != found.events:
            return f"{name} was replaced by an earlier copy or damaged"
        return None

    def _explain(self, problem: str) -> str:
        rescued = self._rescue()
        saved = "" if rescued is None else f" All earlier changes are in {rescued.name}."
        return (
            f"{problem} while it was in use: nothing can be saved any more.{saved} End samadapt, "
            f"then run: samadapt doctor {self._database}"
        )

    def _rescue(self) -> Path | None:
        """Copy the contents of the open files to a new file."""
        target = self._database.with_name(self._database.name + RESCUED)
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            self._keeper.execute("PRAGMA busy_timeout=1000")
            found = copy_database(self._keeper, temporary)
            before = look_into(target) if target.is_file() else None
            if found.identity != self._identity:
                return None
            if before is None or before.identity != self._identity or before.events < found.events:
                temporary.replace(target)
            return target
        except (sqlite3.Error, OSError):
            return None
        finally:
            temporary.unlink(missing_ok=True)
