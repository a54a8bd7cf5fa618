"""`LearningWatch`: what this server learns and what others learned, brought together."""

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
    """Looks every second, in a thread of its own, at what other servers of the project did.

    Args:
        learning: this server's.
        changing: within it adapters may be changed.
        learned: called when what was learned elsewhere is in use.
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
        """Stop."""
        self._closed.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.wait(_SECONDS):
            try:
                self._look()
                self._said = ""
            except SamadaptError as error:  # the database is away: it is looked for again
                if str(error) != self._said:
                    _LOG.warning("learning with other servers: %s", error)
                self._said = str(error)
            except Exception:  # whatever it was, the next look may do better
                _LOG.exception("unexpected error in learning with other servers")

    def _look(self) -> None:
        if self._learning.is_behind():
            with self._changing() as learning:
                learning.follow()
        if self._learning.exchange():
            self._learned()
