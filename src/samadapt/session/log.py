"""`EventLog`: an append-only list of events, in memory or in a file that survives crashes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from samadapt.errors import SessionError
from samadapt.session.events import Event
from samadapt.session.record import Record

try:
    import fcntl
except ImportError:  # Windows: no lock there
    fcntl = None  # type: ignore[assignment]

_LINE_START = b'{"version":'
_LINE_END = b"\n"


class EventLog:
    """An append-only log of events.

    `EventLog()` lives in memory. `EventLog.open(path)` writes one line of JSON per event and is
    durable: when `append` returns, the event is on the disk. A file-backed log keeps no events in
    memory; iterating reads the file.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._file: _LogFile | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> EventLog:
        """Open a log file for writing; a missing one is created.

        An incomplete last line, left by a crash during a write, is cut off, since that event was
        never confirmed.

        Raises:
            SessionError: the file cannot be written, is open for writing elsewhere, or is
                damaged before its last line (the message names the line).
        """
        log = cls()
        log._file = _LogFile(Path(path))
        return log

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> EventLog:
        """Copy a log file into memory. The file is neither locked nor changed.

        Raises:
            SessionError: the file cannot be read, or is damaged before its last line.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SessionError(f"cannot read the session log {path}: {error.strerror}") from None
        log = cls()
        log._records, _ = _parse(data, Path(path))
        return log

    @property
    def path(self) -> Path | None:
        """The file, or None for a log in memory."""
        return self._file.path if self._file else None

    def append(self, event: Event) -> Record:
        """Add an event; a file-backed log has it on the disk when this returns.

        Raises:
            SessionError: it could not be written; the log then ends with the event before.
        """
        record = Record(len(self), round(time.time(), 3), event)
        if self._file is None:
            self._records.append(record)
        else:
            self._file.append(record)
        return record

    def close(self) -> None:
        """Release the file and its lock. A closed log can still be read, not written."""
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._records) if self._file is None else self._file.count

    def __iter__(self) -> Iterator[Record]:
        """All records so far, in order; records appended meanwhile are not visited."""
        if self._file is None:
            return iter(self._records[:])
        return iter(_parse(self._file.content(), self._file.path)[0])

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _LogFile:
    """The file of a log: locked, appended to in whole lines, rolled back when a write fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            self._handle = os.open(path, flags, 0o666)
        except OSError as error:
            raise SessionError(
                f"cannot write the session log {path} ({error.strerror}): choose a file in an "
                "existing folder that you may write to"
            ) from None
        self._is_open = True
        try:
            _lock(self._handle, path)
            self.count, self._size = self._recover()
            if is_new:
                _sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise SessionError(
                f"cannot write the session log {path} ({error.strerror}): choose another file"
            ) from None
        except BaseException:
            self.close()
            raise

    def append(self, record: Record) -> None:
        if not self._is_open:
            raise SessionError(f"the session log {self.path} is closed: open it again")
        line = record.to_json().encode() + _LINE_END
        try:
            _write_at(self._handle, line, self._size)
            os.fsync(self._handle)
        except BaseException as error:
            self._roll_back()
            if not isinstance(error, OSError):
                raise
            raise SessionError(
                f"cannot write the session log {self.path} ({error.strerror}); the last action "
                "was not saved and has no effect: free some space and do it again"
            ) from None
        self._size += len(line)
        self.count += 1

    def content(self) -> bytes:
        """The confirmed part of the file."""
        try:
            with self.path.open("rb") as file:
                return file.read(self._size)
        except OSError as error:
            raise SessionError(
                f"cannot read the session log {self.path}: {error.strerror}"
            ) from None

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._handle)

    def _recover(self) -> tuple[int, int]:
        """Check the file, cut off a torn last line; returns the number of events and bytes."""
        data = self.path.read_bytes()
        records, size = _parse(data, self.path)
        if size < len(data):
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)
        return len(records), size

    def _roll_back(self) -> None:
        try:
            os.ftruncate(self._handle, self._size)
        except OSError:
            # The next `open` cuts off the torn line; until then nothing may be written after it.
            self.close()


def _parse(data: bytes, path: Path) -> tuple[list[Record], int]:
    """All records in `data`, and their number of bytes, without a torn last line."""
    records: list[Record] = []
    size = 0
    while size < len(data):
        end = data.find(_LINE_END, size) + 1
        line = data[size : end - 1] if end else data[size:]
        if end in (0, len(data)) and _is_torn(line, complete=end > 0):
            break
        place = f"session log {path}, line {len(records) + 1}"
        try:
            record = Record.from_json(line.decode(errors="replace"))
        except SessionError as error:
            raise SessionError(f"{place}: {error}") from None
        if not end or record.sequence != len(records):
            raise SessionError(
                f"{place}: event {record.sequence} instead of {len(records)}, lines are missing "
                "or repeated: restore the log from a copy"
            )
        records.append(record)
        size = end
    return records, size


def _is_torn(last: bytes, complete: bool) -> bool:
    """Whether the last line looks like a record cut off by a crash: its start, or zeros.

    Anything else must not be removed: the file may not be a log at all.
    """
    written = last.split(b"\0", 1)[0]
    is_start = written.startswith(_LINE_START) or _LINE_START.startswith(written)
    return is_start and not (complete and written == last)


def _write_at(handle: int, data: bytes, position: int) -> None:
    os.lseek(handle, position, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _lock(handle: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SessionError(
            f"the session log {path} is already open for writing: close the other session, or "
            "use another file"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable too."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
