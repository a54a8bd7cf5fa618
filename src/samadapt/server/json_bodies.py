"""Checks of JSON from clients before it is parsed, so that it cannot exhaust time or memory."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from samadapt.errors import DataError
from samadapt.server.asgi import App, Receive, Scope, Send, answer, whole_body, with_body

DEEPEST = 32
"""Most levels of nested lists and objects."""
MOST_CONTAINERS = 200_000
"""Most lists and objects; parsed, an empty one takes twenty times the memory of its text."""

_QUOTE = ord('"')
_OPENING, _CLOSING = ord("{"), ord("}")
_CURLY = 0x20
"""The bit in which a curly bracket differs from a square one."""
_NOT_FINITE = re.compile(rb"NaN|Infinity|[eE]\+?0*[1-9][0-9]{2}|[0-9]{100}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def check_json(data: bytes) -> None:
    """Check JSON for content that a parser cannot handle safely, in time linear in its length.

    Raises:
        DataError: the text is not UTF-8 or has lone surrogates, a number is not finite or has a
            hundred digits or more, or lists and objects are too many or nested too deeply.
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        raise DataError("the JSON is not UTF-8") from None
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if b"\\u" in plain and _SURROGATE.search(_PAIR.sub(b"", plain)):
        raise DataError("the JSON has half a character (a lone surrogate) in a text")
    bare = _without_texts(np.frombuffer(plain, np.uint8))
    if _NOT_FINITE.search(bare.data):
        raise DataError("the JSON has a number that is not finite, or far too large")
    brackets = bare | _CURLY
    if np.count_nonzero(brackets == _OPENING) > MOST_CONTAINERS:
        raise DataError(f"the JSON has more than {MOST_CONTAINERS} lists and objects: send fewer")
    brackets = brackets[(brackets == _OPENING) | (brackets == _CLOSING)]
    steps = np.where(brackets == _OPENING, 1, -1)
    if np.cumsum(steps).max(initial=0) > DEEPEST:
        raise DataError(f"the JSON is nested deeper than {DEEPEST} levels")


def _without_texts(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bytes of JSON outside of its strings, which must have no escapes."""
    quotes = data == _QUOTE
    outside = np.cumsum(quotes, dtype=np.uint8) % 2 == 0  # only odd or even matters
    return np.asarray(data[outside & ~quotes])


class JsonMiddleware:
    """Reads a request's body, and passes it on if `check_json` accepts it.

    Args:
        app: the next ASGI application.
        streamed: paths whose bodies are files, which are passed on unread and unchecked.
    """

    def __init__(self, app: App, streamed: frozenset[str] = frozenset()) -> None:
        self._app, self._streamed = app, streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer status 400 to a body that is refused; pass any other request on."""
        if scope["type"] != "http" or scope["path"] in self._streamed:
            await self._app(scope, receive, send)
            return
        data = await whole_body(receive)
        if data is None:
            return  # the client has disconnected
        try:
            check_json(data)
        except DataError as error:
            await answer(send, 400, {"error": str(error)})
            return
        again = with_body(data, receive)
        del data
        await self._app(scope, again, send)
