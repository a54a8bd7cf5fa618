"""Limits of connections: how many there may be, and how long they may be idle or slow."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows has no limit on descriptors that matters here
    resource = None  # type: ignore[assignment]

LARGEST_HEAD = 32 << 10
"""Most bytes of a request's first line and headers."""

_LOG = logging.getLogger("samadapt.server")
_WANTED_DESCRIPTORS = 4096
_MOST_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on the number, idle time and transfer rate of connections.

    Attributes:
        total: most connections at once.
        per_address: most connections at once from one client address.
        head_seconds: longest time until a request's headers have arrived, counted from the start
            of the connection or from the last answer.
        body_seconds: time after which a request's body has to arrive at `body_rate`.
        body_rate: least bytes per second of a body.
        answer_seconds: longest time in which a client may accept no byte of an answer.
        every: seconds between two checks of a connection.
    """

    total: int = 256
    per_address: int = 128
    head_seconds: float = 15.0
    body_seconds: float = 20.0
    body_rate: float = 2048.0
    answer_seconds: float = 60.0
    every: float = 1.0

    @classmethod
    def of_this_machine(cls) -> ConnectionLimits:
        """Raise the limit of file descriptors if possible, and use a quarter for connections."""
        descriptors = _WANTED_DESCRIPTORS
        if resource is not None:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if soft != resource.RLIM_INFINITY and soft < _WANTED_DESCRIPTORS:
                unlimited = hard == resource.RLIM_INFINITY
                soft = _WANTED_DESCRIPTORS if unlimited else min(_WANTED_DESCRIPTORS, hard)
                try:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                except (OSError, ValueError):
                    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            descriptors = _WANTED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
        total = max(8, min(_MOST_CONNECTIONS, descriptors // 4))
        return cls(total=total, per_address=max(4, total // 2))


def limited_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol class with limits on its connections.

    When there are too many connections, a new one replaces an idle one, the one that has been idle
    longest first. So a client that opens connections and sends nothing cannot lock others out, and
    requests that are being answered are never broken off for new ones.
    """
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits})


class _LimitedProtocol(H11Protocol):
    limits: ConnectionLimits

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._waited = 0.0
        self._received = 0
        self._unsent = 0
        self._stage, self._request = "", self.cycle
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, in place of an idle one if necessary; refuse it if all are busy."""
        super().connection_made(transport)
        others = [c for c in self.connections if c is not self and isinstance(c, _LimitedProtocol)]
        near = [c for c in others if c.client and self.client and c.client[0] == self.client[0]]
        for known, most in ((near, self.limits.per_address), (others, self.limits.total)):
            if len(known) >= most and not _give_way(known):
                self._refuse(f"this server has {len(known)} connections at work: try again later")
                return
        self._watch = self.loop.call_later(self.limits.every, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the checks of the connection."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes received, and process them."""
        self._received += len(data)
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer status 400 to data that cannot be parsed as an HTTP request."""
        self._refuse("this is no HTTP request, or its headers are too long", 400)

    @property
    def is_waiting(self) -> bool:
        """True if the connection is idle: the headers of its next request have not arrived."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waited(self) -> float:
        """Seconds that the client has kept the server waiting at this stage of the request."""
        return self._waited

    def _look(self) -> None:
        """Check how long the client has kept the server waiting; close the connection if too long.

        The time starts again when the stage or the request is not the one of the last check.
        """
        limits, stage = self.limits, self._stage_now()
        if stage != self._stage or self.cycle is not self._request:
            self._stage, self._request, self._waited, self._received = stage, self.cycle, 0.0, 0
            self._unsent = self.transport.get_write_buffer_size()
        elif stage == "answer" and (left := self.transport.get_write_buffer_size()) < self._unsent:
            self._waited, self._unsent = 0.0, left
        elif stage != "work":
            self._waited += limits.every
        late = self._waited - limits.body_seconds
        if stage == "answer" and self._waited > limits.answer_seconds:
            self.transport.abort()
            return
        if stage == "head" and self._waited > limits.head_seconds and not self._received:
            # No request is under way: an answer would be taken for that of the next one.
            self.transport.close()
            return
        if (stage == "head" and self._waited > limits.head_seconds) or (
            stage == "body" and late > 0 and self._received < late * limits.body_rate
        ):
            self._refuse("the request took too long to arrive", 408)
            return
        self._watch = self.loop.call_later(limits.every, self._look)

    def _stage_now(self) -> str:
        """Return what the client has to send or take ("head", "body", "answer"), else "work"."""
        if self.is_waiting:
            return "head"
        if self.flow.write_paused:
            return "answer"
        return "body" if self.cycle.more_body and not self.flow.read_paused else "work"

    def _refuse(self, text: str, status: int = 503) -> None:
        body = json.dumps({"error": text}).encode()
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()


def _give_way(connections: list[_LimitedProtocol]) -> bool:
    """Close the connection that has been idle longest; return False if none is idle."""
    waiting = [c for c in connections if c.is_waiting]
    if not waiting:
        return False
    oldest = max(waiting, key=lambda c: (c.waited, not c.cycle))
    oldest.connections.discard(oldest)
    oldest.transport.abort()
    return True


def quiet_about_descriptors(loop: asyncio.AbstractEventLoop) -> None:
    """Log one line instead of a traceback when a connection cannot be accepted."""

    def told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and "accept" in str(context.get("message", "")):
            _LOG.error("no further connection can be accepted: %s", error.strerror or error)
            return
        loop.default_exception_handler(context)

    loop.set_exception_handler(told)
