"""What opens the door: the token, one-time codes in addresses, keys that pages hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

_MOST_CODES = 100
_MOST_ADDRESSES = 1000
_FIRST_SECONDS, _LONGEST_SECONDS = 0.1, 5.0
_FORGOTTEN_SECONDS = 120.0
_MOST_WAITING = 8


class Codes(Protocol):
    """The codes that nobody has used yet."""

    def add(self, code: str) -> None:
        """Let a code be good; the oldest of too many is good no more."""

    def has(self, code: str) -> bool:
        """Whether a code is good."""

    def take(self, code: str) -> bool:
        """Use a code up; False when it was not good."""


class MemoryCodes:
    """The codes of a server that is the only one."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, code: str) -> None:
        """Let a code be good; the oldest of too many is good no more."""
        with self._lock:
            self._codes[code] = None
            while len(self._codes) > _MOST_CODES:
                self._codes.popitem(last=False)

    def has(self, code: str) -> bool:
        """Whether a code is good."""
        return code in self._codes

    def take(self, code: str) -> bool:
        """Use a code up; False when it was not good."""
        with self._lock:
            return self._codes.pop(code, "") is None


class Access:
    """The secrets of one server, or of several that share a token and the codes.

    The token itself never leaves the terminal. An address holds a code that is good once; the page
    exchanges it for a key, which it sends in a header and which browsers show to no other port.
    The cookie, which they do show to servers on other ports, opens nothing but the page's own
    files. Keys and cookie are derived from the token: a server that is started again with the
    same token knows them.

    Args:
        token: the secret.
        codes: where the codes are kept that nobody has used yet; in memory if left out.
    """

    def __init__(self, token: str, codes: Codes | None = None) -> None:
        self._token, self._codes = token, codes or MemoryCodes()

    def new_code(self) -> str:
        """A code for an address, good for one exchange."""
        code = secrets.token_urlsafe(18)
        self._codes.add(code)
        return code

    def is_code(self, given: str | None) -> bool:
        """Whether a code is good still."""
        return given is not None and self._codes.has(given)

    def exchange(self, code: str | None) -> str | None:
        """A key for a code, which is good no more; None for any other text."""
        if code is None or not self._codes.take(code):
            return None
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self._signed(f'key {nonce}')}"

    def is_secret(self, given: str | None) -> bool:
        """Whether this is the token or a key, in the same time for every wrong one."""
        if given is None:
            return False
        nonce, _, signature = given.partition(".")
        is_key = _same(signature, self._signed(f"key {nonce}"))
        return _same(given, self._token) or is_key

    @cached_property
    def cookie(self) -> str:
        """The value of the page's cookie."""
        return self._signed("cookie")

    def is_cookie(self, given: str | None) -> bool:
        """Whether this is the page's cookie."""
        return given is not None and _same(given, self.cookie)

    @cached_property
    def _root(self) -> bytes:
        """Slow to compute, so that a short token cannot be found out from a cookie."""
        return hashlib.scrypt(self._token.encode(), salt=b"samadapt", n=1 << 14, r=8, p=1)

    def _signed(self, text: str) -> str:
        digest = hmac.digest(self._root, text.encode("utf-8", "replace"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Slowdown:
    """How long the answer to a wrong secret is held back: longer with every one of an address.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wrong(self, address: str) -> float | None:
        """Seconds to wait before saying no; None when too many of the address wait already.

        Answers are held back one after the other, so that asking at the same time wins nothing.
        """
        now = self._clock()
        count, until = self._known.pop(address, (0, now))
        if now - until > _FORGOTTEN_SECONDS:
            count, until = 0, now
        step = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** min(count, 10))
        is_crowded = until - now > _MOST_WAITING * step
        if not is_crowded:
            count, until = count + 1, max(now, until) + step
        self._known[address] = count, until
        while len(self._known) > _MOST_ADDRESSES:
            self._known.popitem(last=False)
        return None if is_crowded else until - now


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
