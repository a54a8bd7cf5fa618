"""`ProjectFile`: the file of a project with its receipt, its copies and its watch."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import ExitStack
from pathlib import Path

from samadapt.store.copies import Copies, kept_copies, look_into
from samadapt.store.errors import LostError, StoreError
from samadapt.store.receipt import Receipt, in_use, read_receipt, receipt_path, write_receipt
from samadapt.store.replaced_files import ReplacedFileCheck
from samadapt.store.sqlite_file import WAL, connected, contents


class ProjectFile:
    """Guards the SQLite file of a database, from before it is opened until it is closed.

    Args:
        path: the file; created if no project has been there.

    Raises:
        LostError: a project has been there, and the present file has fewer changes or is another.
        StoreError: the file is not samadapt's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._watch: ReplacedFileCheck | None = None
        self._identity, self._written = "", -1
        self._lock = threading.Lock()
        _check_place(path)
        refuse_what_is_lost(path)
        try:
            if not path.exists():
                path.touch()
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written ({error.strerror or error}): give --project FILE in a "
                "folder that you may write to"
            ) from None

    def begin(self, identity: str, events: int) -> None:
        """Begin to guard the open database.

        Raises:
            StoreError: somebody is repairing it, or the receipt cannot be written.
        """
        self._identity = identity
        self._receive(events)
        self._stack.enter_context(in_use(self._path))
        self._copies = Copies(self._path, identity)
        self._watch = ReplacedFileCheck(self._path, identity)
        self._stack.callback(self._watch.close)

    def check(self, events: int) -> None:
        """Check before a change that the database is in place; `events` were saved.

        Raises:
            LostError: it was removed or replaced.
        """
        if self._watch is not None:
            self._watch.check(events)

    def saved(self, events: int) -> None:
        """Check the database again after a commit, with `events` in total, before acknowledging it.

        Raises:
            LostError: the change was written into a file that is gone.
            StoreError: the receipt cannot be written.
        """
        if self._watch is None:
            return
        self._watch.check(events, wrote=True)
        with self._lock:
            if events <= self._written:
                return  # another thread was faster, and has acknowledged more
            self._receive(events)
        self._copies.consider(events)

    def close(self) -> None:
        """Make a last copy, after the connections are closed."""
        if self._watch is None:
            return
        try:
            self._watch.check(self._written)
            self._copies.finish(self._written)
        except LostError:
            pass  # it was told, or nothing was changed since
        self._watch = None
        self._stack.close()

    def _receive(self, events: int) -> None:
        write_receipt(self._path, Receipt(self._identity, events))
        self._written = events


def known_before(path: Path) -> Receipt | None:
    """Return the saved state of a project by its receipt and copies, None if there is none.

    Raises:
        StoreError: the receipt is damaged.
    """
    receipt = read_receipt(path)
    found = [
        Receipt(copy.identity, copy.events)
        for copy in map(look_into, kept_copies(path))
        if copy is not None and copy.identity is not None
    ]
    if receipt is not None:
        found = [receipt, *(one for one in found if one.identity == receipt.identity)]
    return max(found, key=lambda one: one.events, default=None)


def refuse_what_is_lost(path: Path) -> None:
    """Raise `LostError` when a project has been at a place, and less or another is there now."""
    before = known_before(path)
    had = before is not None and before.events > 0
    name = path.name
    remedy = (
        f"put the right file back, or run: samadapt doctor {path} (to begin anew, move "
        f"{receipt_path(path).name} and the copies of it away)"
    )
    if not path.exists() or not path.stat().st_size:
        log = path.with_name(name + WAL)
        is_left = log.is_file() and log.stat().st_size > 0
        if before is not None and (had or is_left):
            what = "is empty" if path.exists() else "is gone"
            raise LostError(
                f"{path} {what}, but a project with {before.events} saved changes has been there: "
                + remedy
            )
        if is_left:
            raise LostError(f"{path} is gone or empty, but its log {log.name} is there: {remedy}")
        return
    try:
        with connected(path) as connection:
            now = contents(connection)
    except sqlite3.OperationalError:
        return  # another database, or one that cannot be opened now: opening says which
    except sqlite3.DatabaseError as error:
        if had:
            raise LostError(f"{path} is damaged ({error}): {remedy}") from None
        raise StoreError(f"{path} is no project of samadapt ({error}): give another file") from None
    if now is not None and now.rows != now.events:
        raise LostError(f"{path} is damaged (its log has gaps): {remedy}")
    if before is None or not had:
        return
    if now is not None and now.identity != before.identity:
        raise LostError(f"{path} is another project than the one that has been there: {remedy}")
    events = 0 if now is None else now.events
    if events < before.events:
        raise LostError(
            f"{path} has {events} of {before.events} saved changes (is it an earlier copy, or "
            f"was {name}{WAL} removed?): {remedy}"
        )


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"{path} is a folder: give the file of a project")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: the folder {path.parent} does not exist, make it first")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"{path} is a device or a pipe: give the file of a project")
