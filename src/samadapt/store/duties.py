"""`Duty`: a lock for work that only one of several processes does for a project."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

try:
    import fcntl
except ImportError:  # Windows: every process gets the duty
    fcntl = None  # type: ignore[assignment]


_ALIVE = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
}
"""Keep-alive settings, by which the server notices a lost machine after 25 seconds, not hours."""


class Duty(Protocol):
    """A lock that is released when its process ends in any way."""

    def is_mine(self) -> bool:
        """Whether this process has the duty; takes it when nobody has it."""

    def release(self) -> None:
        """Release the duty for good."""


class FileDuty:
    """A duty in a project's file: a lock on a file beside it.

    Args:
        path: the file to lock; created when it is needed.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._handle, self._released = path, -1, False
        self._lock = threading.Lock()

    def is_mine(self) -> bool:
        """Whether this process has the duty; always True on a file system without locks."""
        if fcntl is None:
            return True
        with self._lock:
            if self._handle >= 0 or self._released:
                return not self._released
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                return True
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            except OSError:
                os.close(handle)
                return True
            self._handle = handle
            return True

    def release(self) -> None:
        """Release the duty for good."""
        with self._lock, suppress(OSError):
            self._released = True
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = -1


class ServerDuty:
    """A duty in a database server: an advisory lock, held by a connection of its own.

    The server releases the lock when the connection ends, by the end of the process, its machine
    or the network. A process that lost the connection does not have the duty any more.

    Args:
        engine: the database.
        name: of the duty, unlike any other's in the database.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        digest = hashlib.sha256(name.encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._connection: Connection | None = None
        self._released = False
        self._lock = threading.Lock()

    def is_mine(self) -> bool:
        """Whether this process has the duty; takes it when nobody has it."""
        with self._lock:
            if self._released:
                return False
            if self._connection is not None:
                try:
                    self._connection.execute(select(1))
                    return True
                except SQLAlchemyError:
                    self._give_up()
            try:
                connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            except SQLAlchemyError:
                return False
            self._connection = connection
            try:
                for name, value in _ALIVE.items():
                    connection.exec_driver_sql(f"SET {name} = {value}")
                taken = bool(connection.scalar(select(func.pg_try_advisory_lock(self._key))))
            except SQLAlchemyError:
                taken = False
            if not taken:
                self._give_up()
            return taken

    def release(self) -> None:
        """Release the duty for good."""
        with self._lock:
            self._released = True
            if self._connection is not None:
                with suppress(SQLAlchemyError):
                    self._connection.execute(select(func.pg_advisory_unlock(self._key)))
            self._give_up()

    def _give_up(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.close()
        self._connection = None
