"""`Jobs`: runs requests in a background thread, and handles the answers in the GUI thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_samadapt.errors import SamadaptError


class Jobs(QObject):
    """Runs jobs one after the other in a background thread.

    Args:
        failed: called in the GUI thread with the error of a job that failed.
    """

    _ended = Signal(object, object)

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        super().__init__()
        self._failed = failed
        self._pool = ThreadPoolExecutor(1, "samadapt")
        self._left = 0
        self._ended.connect(self._tell)

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Call `work` in the background, and then `done` with its result in the GUI thread."""
        self._left += 1
        self._pool.submit(work).add_done_callback(lambda future: self._ended.emit(future, done))

    @property
    def is_busy(self) -> bool:
        """True if a job has not ended yet."""
        return self._left > 0

    def wait(self, seconds: float = 120.0) -> None:
        """Process events of the GUI until all jobs have ended.

        Args:
            seconds: the longest time to wait.

        Raises:
            SamadaptError: jobs are left after that time.
        """
        until = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if not self.is_busy:
                return
            if time.monotonic() > until:
                raise SamadaptError(f"the samadapt server did not answer for {seconds:.0f} s")
            time.sleep(0.005)

    def close(self) -> None:
        """Accept no more jobs, cancel those that wait, and wait for the one that runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _tell(self, future: Future[Any], done: Callable[[Any], None]) -> None:
        self._left -= 1
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            done(future.result())
        elif isinstance(error, Exception):
            self._failed(error)
