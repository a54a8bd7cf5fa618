"""The receipt beside a project's file: its identity, and its number of acknowledged changes.

A database that was emptied, replaced by an earlier copy, or lost its write-ahead log looks like a
project with fewer changes. The receipt shows the difference.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from samadapt.store.errors import ConflictError, StoreError

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

_SIZE = 256
"""Fixed size of a receipt in bytes, so that it is overwritten in place, in one sector."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The acknowledged state of a project.

    Attributes:
        identity: of the database.
        events: least number of events of all its projects together.
    """

    identity: str
    events: int


def receipt_path(database: Path) -> Path:
    """Return the path of a database's receipt."""
    return database.with_name(f"{database.name}.receipt")


def read_receipt(database: Path) -> Receipt | None:
    """The receipt of a database, None if there is none.

    Raises:
        StoreError: it cannot be read, or is damaged.
    """
    path = receipt_path(database)
    try:
        document = json.loads(path.read_bytes())
        found = Receipt(str(document["identity"]), int(document["events"]))
        if document["check"] != _check(found):
            raise ValueError("its check sum is wrong")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}, which says how much was saved, cannot be read ({error}): run samadapt "
            f"doctor {database}"
        ) from None
    return found


def write_receipt(database: Path, receipt: Receipt) -> None:
    """Replace the receipt of a database; survives a kill, and is durable where it is new.

    Raises:
        StoreError: it cannot be written.
    """
    path = receipt_path(database)
    values = {"samadapt": "receipt", "identity": receipt.identity, "events": receipt.events}
    text = json.dumps({**values, "check": _check(receipt)})
    try:
        is_new = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.write(handle, text.ljust(_SIZE - 1).encode() + b"\n")
            if is_new:
                os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error})") from None


@contextmanager
def in_use(database: Path, *, alone: bool = False) -> Iterator[None]:
    """Within the block the database counts as in use; with `alone`, exclusively.

    Raises:
        ConflictError: another process uses it, and one of the two is exclusive.
    """
    path = receipt_path(database)
    if fcntl is None or not path.is_file():
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"{database} is in use by another samadapt: end that one first"
            ) from None
        except OSError:
            pass  # a file system without locks keeps nobody out
        yield
    finally:
        with suppress(OSError):
            os.close(handle)


def _check(receipt: Receipt) -> str:
    return f"{zlib.crc32(f'{receipt.identity} {receipt.events}'.encode()):08x}"
