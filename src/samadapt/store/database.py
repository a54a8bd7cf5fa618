"""`Database`: SQLite in a file, or PostgreSQL by URL; transactions that are on the disk or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from samadapt.store.duties import Duty, FileDuty, ServerDuty
from samadapt.store.errors import ConflictError, FullError, LostError, StoreError
from samadapt.store.migrations import MIGRATIONS, Migration, migrate
from samadapt.store.project_file import ProjectFile
from samadapt.store.sqlite_file import connect
from samadapt.store.tables import identities, projects

_MAKING = 0x73616D61
"""Number of the lock for making tables and projects."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000")


class Database:
    """Reads and writes in transactions; when a write returns, it is on the disk.

    Args:
        where: a path (SQLite), or a URL such as "postgresql://user@host/name".
        migrations: see `migrations`.

    Attributes:
        identity: unique to this database.

    Raises:
        StoreError: the database cannot be opened; the message says why.
    """

    def __init__(self, where: str | Path, migrations: Mapping[int, Migration] = MIGRATIONS) -> None:
        url, self.name = _url(where)
        self.path = Path(url.database or "") if url.drivername.startswith("sqlite") else None
        self._file = None if self.path is None else ProjectFile(self.path)
        self._saved, self._is_open = 0, False
        self._duties: list[Duty] = []
        self.engine = _engine(url, self.name, self.path)
        try:
            with self.write() as tx:
                self.alone(tx)
                migrate(tx, self.name, migrations)
                identity, events = str(tx.execute(select(identities)).scalar_one()), _events(tx)
            if self._file is not None:
                self._file.begin(identity, events)
            self.identity = identity
            self._saved, self._is_open = events, True
        except StoreError as error:
            self.close()
            if type(error) in (FullError, ConflictError):
                raise StoreError(f"cannot open {self.name}: {error}") from None
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A view of the data as of one moment."""
        with self._explaining_loss(), _readable(self.name), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed durably when the block ends well and undone when it raises.

        Raises:
            LostError: the file was removed, emptied or replaced, or events are missing.
            FullError: it could not be saved.
            ConflictError: another writer held the lock for too long, or wrote the same row.
        """
        engine = self.engine.execution_options(samadapt_writes=True)
        before = self._saved
        if self._file is not None:
            self._file.check(before)
        with (
            self._explaining_loss(),
            _readable(self.name),
            engine.connect() as connection,
            connection.begin(),
        ):
            if self._is_open and (there := _events(connection)) < before:
                raise LostError(
                    f"{self.name} has {there} changes, but {before} were saved: it was reset to an "
                    "earlier state, so nothing is saved any more; end samadapt and restore it"
                )
            yield connection
            now = _events(connection) if self._is_open else 0
        if self._is_open:
            if self._file is not None:
                self._file.saved(now)
            self._saved = max(self._saved, now)

    def project_names(self) -> list[str]:
        """The names of all projects."""
        with self.read() as tx:
            return list(tx.execute(select(projects.c.name).order_by(projects.c.id)).scalars())

    def alone(self, tx: Connection) -> None:
        """Let one process at a time create tables and projects; the others wait."""
        if self.path is None:  # SQLite's writers are alone from the beginning
            tx.execute(select(func.pg_advisory_xact_lock(_MAKING)))

    def lock(self, tx: Connection, project_id: int) -> None:
        """Lock a project for writing until the transaction ends."""
        # SQLite's writers are alone from the beginning and pass over FOR UPDATE.
        tx.execute(select(projects.c.id).where(projects.c.id == project_id).with_for_update())

    def duty(self, name: str) -> Duty:
        """A lock for work that one process at a time does for this database."""
        if self.path is not None:
            found: Duty = FileDuty(self.path.with_name(f"{self.path.name}.{name}"))
        else:
            found = ServerDuty(self.engine, f"samadapt {self.identity} {name}")
        self._duties.append(found)
        return found

    def close(self) -> None:
        """Close all connections."""
        for duty in self._duties:
            duty.release()
        self.engine.dispose()
        if self._file is not None:
            self._file.close()

    @contextmanager
    def _explaining_loss(self) -> Iterator[None]:
        """Raise `LostError` instead of other errors when the file is lost."""
        try:
            yield
        except StoreError as error:
            if self._file is not None and not isinstance(error, LostError):
                self._file.check(self._saved)
            raise


def _events(tx: Connection) -> int:
    """Number of events of all projects."""
    return int(tx.execute(select(func.coalesce(func.sum(projects.c.events), 0))).scalar_one())


def _url(where: str | Path) -> tuple[URL, str]:
    text = str(where)
    if isinstance(where, Path) or "://" not in text:
        return URL.create("sqlite", database=str(Path(where).absolute())), text
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(
            f"{text!r} is not the address of a database: give a file, or "
            "postgresql://user@host/name"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(
            f"{url.drivername} databases are not supported: use a file (SQLite) or PostgreSQL"
        )
    return url, url.render_as_string(hide_password=True)


def _engine(url: URL, name: str, path: Path | None) -> Engine:
    if path is not None:
        engine = create_engine(url, creator=lambda: connect(path))
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise StoreError(
            f"{name} needs PostgreSQL's driver: pip install 'samadapt[postgres]'"
        ) from None


def _set_up_sqlite(connection: Any, record: Any) -> None:
    del record
    connection.isolation_level = None  # transactions begin when we say so, see `_begin_sqlite`
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: one that read first could not wait for another to finish.
    writes = connection.get_execution_options().get("samadapt_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn a database's errors into one line for a person."""
    try:
        yield
    except DBAPIError as error:
        raise _explained(name, error) from None
    except SQLAlchemyError as error:
        raise StoreError(f"{name}: {_line(error)}") from None


def _explained(name: str, error: DBAPIError) -> StoreError:
    original = error.orig
    text = _line(original or error)
    code = getattr(original, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_BUSY or "deadlock" in text:
        return ConflictError(f"another process is writing to {name}: try again")
    state = getattr(original, "sqlstate", "")
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY or state == "23503":
        return ConflictError(
            f"{name}: somebody else removed what this belongs to, or added to it ({text}): look "
            "and do it again"
        )
    if primary == sqlite3.SQLITE_CONSTRAINT or state == "23505":
        return ConflictError(f"{name}: somebody else just wrote the same ({text})")
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return FullError(f"{name} could not be saved ({text}): free some space, then do it again")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return FullError(
            f"{name} cannot be written ({text}): give --project FILE in a folder that you may "
            "write to"
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(f"{name} is damaged ({text}): run samadapt doctor {name}")
    return StoreError(f"{name}: {text}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
