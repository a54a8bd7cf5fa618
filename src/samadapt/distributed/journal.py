"""`RunJournal`: the finished results of a run on the disk, from which a killed run resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from samadapt.errors import DataError

try:
    import fcntl
except ImportError:  # Windows: nobody keeps two runs apart there
    fcntl = None  # type: ignore[assignment]

FORMAT = "samadapt-run-1"


class RunJournal:
    """One line of JSON per finished image, appended and synchronised; the first describes the run.

    A line that a kill cut off is removed, and its image is done again. Only the positions of the
    lines are in memory.

    Args:
        path: the file; created when it is missing.
        run: description of the run, on which the results depend.

    Raises:
        DataError: the file is of another run, of something else, in use, or cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        plain = json.loads(json.dumps(run))
        try:
            # Unbuffered: after a failed write nothing waits to be written by `close`.
            self._file = path.open("ab", buffering=0)
            self._reader = path.open("rb")
        except OSError as error:
            raise self._refused(error) from None
        try:
            self._lock()
            self._take_up(plain)
        except BaseException:  # what is in the file stays as it is
            self._close_files()
            raise

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def add(self, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Append finished images; they are on the disk when this returns.

        Raises:
            DataError: the disk is full.
        """
        end = start = self._file.seek(0, os.SEEK_END)
        lines, places = list[bytes](), dict[str, int]()
        for name, record in records:
            line = json.dumps({"image": name, **record}, allow_nan=False).encode() + b"\n"
            places[name] = end
            end += len(line)
            lines.append(line)
        self._append(start, b"".join(lines))
        self._places |= places

    def get(self, name: str) -> dict[str, Any]:
        """The record of an image.

        Raises:
            KeyError: the image is not finished.
        """
        self._reader.seek(self._places[name])
        found: dict[str, Any] = json.loads(self._reader.readline())
        return found

    def forget(self, name: str) -> None:
        """Treat an image as not finished, because its file has changed."""
        self._places.pop(name, None)

    def close(self) -> None:
        """Close the file, from which the next run resumes; remove it if it has no image."""
        if self._places or self._file.closed:
            self._close_files()
        else:
            self.remove()

    def remove(self) -> None:
        """Remove the file: the run is over."""
        self.path.unlink(missing_ok=True)
        self._close_files()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- private ------------------------------------------------------------------------------

    def _close_files(self) -> None:
        self._file.close()
        self._reader.close()

    def _append(self, start: int, data: bytes) -> None:
        """Append at the end, which is `start`, completely or not at all."""
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(start)
            raise self._refused(error) from None

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{self.path} is in use: another run writes the same output") from None

    def _take_up(self, run: Mapping[str, Any]) -> None:
        good = 0
        for number, line in enumerate(self._reader):
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            if record is None and number:
                break
            if number == 0 and record is not None:
                self._check_run(record, run)
            elif number == 0 and line.endswith(b"\n"):
                raise DataError(f"{self.path} is no journal of a run: move it elsewhere")
            elif record is not None:
                self._places[record["image"]] = good
            good += len(line) if record is not None else 0
        self._file.truncate(good)
        if good == 0:
            self._append(0, json.dumps({"format": FORMAT, "run": run}).encode() + b"\n")

    def _check_run(self, header: Any, run: Mapping[str, Any]) -> None:
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise DataError(f"{self.path} is no journal of a run: move it elsewhere")
        before = header["run"]
        differing = [key for key in run if before.get(key) != run[key]]
        if differing:
            raise DataError(
                f"{self.path} is of an unfinished run with another {differing[0]} "
                f"({before.get(differing[0])} there, {run[differing[0]]} now): finish that run, "
                "give another output, or delete the file to start anew"
            )

    def _refused(self, error: OSError) -> DataError:
        return DataError(
            f"{self.path} cannot be written ({error.strerror or error}): free some space, or give "
            "an output in a folder that you may write to"
        )
