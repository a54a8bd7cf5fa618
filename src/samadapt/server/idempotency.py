"""`IdempotencyMiddleware`: a repeated request gets the first answer, and has no second effect."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from samadapt.server.asgi import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    answer,
    whole_body,
    with_body,
)

HEADER = b"idempotency-key"
MOST_BYTES = 64 << 20
"""Most bytes of all answers that are kept."""
MOST_ANSWERS = 4096

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LARGEST = 4 << 20
_LONGEST_KEY = 64
USED = "this Idempotency-Key was used for another request: take a new one for each"
_LATER = frozenset({202, 401, 421, 425, 429})
"""Status codes that mean that nothing was done and a repeat may succeed, as do all from 500."""


@dataclass(slots=True)
class _Request:
    """A request, and the messages of its answer once `done` is set; none if it failed."""

    what: str
    messages: list[Message] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size(self) -> int:
        return sum(len(message.get("body", b"")) for message in self.messages)


class IdempotencyMiddleware:
    """Keeps the answers to requests with an `Idempotency-Key`, by client and key.

    A request whose key is being answered waits for that answer. Answers are kept in memory only;
    events of a session are stored with their key in the log, which also protects them after a
    restart.

    A digest of the request (method, address and body) is passed to the application as `request` in
    the scope's state, so that it can be stored in the log as well.

    Args:
        app: the next ASGI application.
        streamed: paths whose bodies are files, which are left out of the digest.
    """

    def __init__(self, app: App, streamed: frozenset[str] = frozenset()) -> None:
        self._app, self._streamed = app, streamed
        self._requests: OrderedDict[tuple[bytes, bytes], _Request] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the kept answer to a repeated request; pass any other on."""
        if scope["type"] != "http" or scope["method"] not in _CHANGING:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = headers.get(HEADER, b"")
        if not 0 < len(key) <= _LONGEST_KEY:  # a key that is too long is refused by `who`
            await self._app(scope, receive, send)
            return
        name = headers.get(b"x-samadapt-client", b""), key
        digest = hashlib.sha256(f"{scope['method']} {scope['path']}\n".encode())
        digest.update(scope.get("query_string", b"") + b"\n")
        if scope["path"] not in self._streamed:
            body = await whole_body(receive)
            if body is None:
                return  # the client has disconnected
            digest.update(body)
            receive = with_body(body, receive)
            del body
        what = digest.hexdigest()[:32]
        scope.setdefault("state", {})["request"] = what
        while (known := self._requests.get(name)) is not None:
            if known.what != what:
                await answer(send, 422, {"error": USED})
                return
            await known.done.wait()
            if known.messages:
                for message in known.messages:
                    await send(message)
                return
        await self._first(name, _Request(what), scope, receive, send)

    async def _first(
        self,
        name: tuple[bytes, bytes],
        request: _Request,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._requests[name] = request
        messages: list[Message] = []

        async def kept(message: Message) -> None:
            messages.append(message)
            await send(message)

        try:
            await self._app(scope, receive, kept)
            if _is_final(messages):
                request.messages = messages
        finally:
            if not request.messages or request.size > _LARGEST:
                del self._requests[name]
            else:
                self._bytes += request.size
                self._give_up_the_oldest()
            request.done.set()

    def _give_up_the_oldest(self) -> None:
        for name, old in list(self._requests.items()):
            if self._bytes <= MOST_BYTES and len(self._requests) <= MOST_ANSWERS:
                return
            if old.done.is_set():
                del self._requests[name]
                self._bytes -= old.size


def _is_final(messages: list[Message]) -> bool:
    """Return True if an answer is complete, and would be the same if asked again."""
    if not messages or messages[0]["type"] != "http.response.start":
        return False
    status = int(messages[0]["status"])
    is_whole = not messages[-1].get("more_body") and len(messages) > 1
    return is_whole and status < 500 and status not in _LATER
