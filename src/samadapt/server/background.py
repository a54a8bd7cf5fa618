"""`BackgroundRun`: one long task at a time in a thread, with progress, that can be stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from samadapt.errors import SamadaptError, first_line
from samadapt.store.errors import ConflictError

_LOG = logging.getLogger("samadapt.server")
_SECONDS = 10.0


class StoppedError(Exception):
    """Raised by `BackgroundRun.check` when the run was stopped."""


@dataclass(slots=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        running: whether the run is still going on.
        problem: why the run ended early; empty if it did not.
    """

    running: bool = False
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as a JSON object."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


Progress = TypeVar("Progress", bound=RunProgress)


class BackgroundRun(Generic[Progress]):
    """Runs one action at a time in a thread.

    Args:
        name: name of the thread, and of the run in the log.
        progress: progress to report before the first run.

    Attributes:
        progress: progress of the present or the last run.
    """

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress = progress

    def begin(self, progress: Progress, action: Callable[[], None], busy: str) -> None:
        """Begin a run.

        Args:
            progress: progress at the beginning of the run.
            action: what to run; it should call `check` regularly.
            busy: message of the error if another run is going on.

        Raises:
            ConflictError: another run is going on.
        """
        with self._lock:
            if self.progress.running:
                raise ConflictError(busy)
            progress.running = True
            self.progress = progress
            self._stopping.clear()
            self._thread = threading.Thread(
                target=self._run,
                args=(progress, action),
                name=f"samadapt-{self._name}",
                daemon=True,
            )
            self._thread.start()

    def check(self) -> None:
        """Raise `StoppedError` if the run was stopped."""
        if self._stopping.is_set():
            raise StoppedError

    def stop(self) -> None:
        """End the run at its next `check`."""
        self._stopping.set()

    def close(self) -> None:
        """Stop the run, and wait up to 10 seconds for its end."""
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout=_SECONDS)

    def _run(self, progress: Progress, action: Callable[[], None]) -> None:
        try:
            action()
        except StoppedError:
            progress.problem = "stopped"
        except SamadaptError as error:
            progress.problem = first_line(error)
        except Exception as error:
            _LOG.exception("%s ended", self._name, exc_info=error)
            progress.problem = first_line(error)
        finally:
            progress.running = False
