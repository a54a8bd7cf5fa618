"""Logs that a flood of the same message cannot fill."""

from __future__ import annotations

import logging
import threading
import time

_LOGGERS = ("uvicorn.error", "asyncio", "samadapt.server", "samadapt.server.label_studio_app")
_MOST = 10
_SECONDS = 60.0


class SparingFilter(logging.Filter):
    """Lets through the first few messages of a kind in a minute, and then says how many followed.

    Args:
        most: messages of one kind per period.
        seconds: the period.
    """

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._most, self._seconds = most, seconds
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written; appends how many of its kind were left out before it."""
        kind, now = (record.name, str(record.msg)[:200]), time.monotonic()
        with self._lock:
            began, count = self._kinds.get(kind, (now, 0))
            if now - began > self._seconds:
                left_out = max(0, count - self._most)
                began, count = now, 0
                if left_out:
                    record.msg = f"{record.msg} ({left_out} more like this were left out)"
            self._kinds[kind] = began, count + 1
            while len(self._kinds) > 1000:
                self._kinds.pop(next(iter(self._kinds)))
            return count < self._most


def write_sparingly() -> None:
    """Put a fresh filter on the loggers of the server."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for known in [f for f in logger.filters if isinstance(f, SparingFilter)]:
            logger.removeFilter(known)
        logger.addFilter(SparingFilter())
