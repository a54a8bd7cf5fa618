"""`LearningWatch`: exchanges what is learned with the other servers of a project."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from samadapt.errors import SamadaptError
from samadapt.server.learning import Learning

_LOG = logging.getLogger("samadapt.server")
_SECONDS = 1.0


class LearningWatch:
    """Checks every second, in a thread of its own, what other servers of the project did.

    Args:
        learning: the learning of this server.
        changing: returns a context manager within which adapters may be changed.
        learned: called after the adapters took over what another server learned.
    """

    def __init__(
        self,
        learning: Learning,
        changing: Callable[[], AbstractContextManager[Learning]],
        learned: Callable[[], None],
    ) -> None:
        self._learning, self._changing, self._learned = learning, changing, learned
        self._closed = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="samadapt-servers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.wait(_SECONDS):
            try:
                self._look()
                self._said = ""
            except SamadaptError as error:  # such as no connection to the database: try again
                if str(error) != self._said:
                    _LOG.warning("learning with other servers: %s", error)
                self._said = str(error)
            except Exception:  # the next check may succeed
                _LOG.exception("unexpected error in learning with other servers")

    def _look(self) -> None:
        if self._learning.is_behind():
            with self._changing() as learning:
                learning.follow()
        if self._learning.exchange():
            self._learned()
