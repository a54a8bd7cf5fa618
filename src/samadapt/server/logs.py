"""A filter that limits how often a message is logged."""

from __future__ import annotations

import logging
import threading
import time

_LOGGERS = ("uvicorn.error", "asyncio", "samadapt.server", "samadapt.server.label_studio_app")
_MOST = 10
_SECONDS = 60.0


class SparingFilter(logging.Filter):
    """Lets the first few messages of a kind pass in each period, and reports how many followed.

    Messages of one logger with the same format string are of one kind.

    Args:
        most: most messages of one kind in a period.
        seconds: length of the period.
    """

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._most, self._seconds = most, seconds
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if a record is logged; appends how many of its kind were left out before."""
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
    """Add a new `SparingFilter` to each logger of the server, in place of an earlier one."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for known in [f for f in logger.filters if isinstance(f, SparingFilter)]:
            logger.removeFilter(known)
        logger.addFilter(SparingFilter())
