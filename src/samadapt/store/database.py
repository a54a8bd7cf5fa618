"""`Database`: SQLite in a file, or PostgreSQL by URL; transactions that are on the disk or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from samadapt.store.errors import ConflictError, FullError, StoreError
from samadapt.store.migrations import MIGRATIONS, Migration, migrate

_SQLITE_HEADER = b"SQLite format 3\0"
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000")


class Database:
    """Reads and writes in transactions; when a write returns, it is on the disk.

    Args:
        where: a path (SQLite), or a URL such as "postgresql://user@host/name".
        migrations: see `migrations`.

    Raises:
        StoreError: cannot be opened; the message says why.
    """

    def __init__(self, where: str | Path, migrations: Mapping[int, Migration] = MIGRATIONS) -> None:
        url, self.name = _url(where)
        self.path = Path(url.database or "") if url.drivername.startswith("sqlite") else None
        if self.path is not None:
            _check_file(self.path)
        self.engine = _engine(url, self.name)
        try:
            with self.write() as tx:
                migrate(tx, self.name, migrations)
        except StoreError as error:
            self.close()
            if type(error) in (FullError, ConflictError):
                raise StoreError(f"cannot open {self.name}: {error}") from None
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A view of the data as of one moment."""
        with _readable(self.name), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed durably when the block ends well and undone when it raises.

        Raises:
            FullError: it could not be saved.
            ConflictError: another writer was in the way for too long, or wrote the same.
        """
        engine = self.engine.execution_options(samadapt_writes=True)
        with _readable(self.name), engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


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


def _engine(url: URL, name: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=not url.drivername.startswith("sqlite"))
    except (NoSuchModuleError, ModuleNotFoundError):
        raise StoreError(
            f"{name} needs PostgreSQL's driver: pip install 'samadapt[postgres]'"
        ) from None
    if url.drivername.startswith("sqlite"):
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, record: Any) -> None:
    del record
    connection.isolation_level = None  # transactions begin when we say so, see `_begin_sqlite`
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: one that read first could not wait for another to finish.
    writes = connection.get_execution_options().get("samadapt_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"{path} is a folder: give the file of a project")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: the folder {path.parent} does not exist, make it first")
    try:
        if path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                if file.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:
                    raise StoreError(f"{path} is no project of samadapt: give another file")
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror})") from None


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
        return ConflictError(f"{name} is being written by somebody else: try again")
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
        return StoreError(f"{name} is damaged ({text}): restore it from a copy")
    return StoreError(f"{name}: {text}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
