"""Secrets that give access to the server: its token, one-time codes, keys and a cookie."""

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
    """Storage of the one-time codes that were issued and not used yet."""

    def add(self, code: str) -> None:
        """Make a code valid; beyond a limit, the oldest codes become invalid."""

    def has(self, code: str) -> bool:
        """Return True if a code is valid."""

    def take(self, code: str) -> bool:
        """Make a code invalid; return False if it was not valid."""


class MemoryCodes:
    """One-time codes in memory, for a server that shares its token with no other."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, code: str) -> None:
        """Make a code valid; beyond a limit, the oldest codes become invalid."""
        with self._lock:
            self._codes[code] = None
            while len(self._codes) > _MOST_CODES:
                self._codes.popitem(last=False)

    def has(self, code: str) -> bool:
        """Return True if a code is valid."""
        return code in self._codes

    def take(self, code: str) -> bool:
        """Make a code invalid; return False if it was not valid."""
        with self._lock:
            return self._codes.pop(code, "") is None


class Access:
    """Issues and checks the secrets of one server, or of several that share a token and codes.

    The token itself never leaves the terminal. A printed URL holds a code that is valid once. The
    page exchanges it for a key, which it sends in a header and which no other server gets to see.
    Browsers also send the cookie to servers on other ports, so it gives access to nothing but the
    page's own files. Keys and cookie are derived from the token: they stay valid when the server
    is started again with the same token.

    Args:
        token: the secret.
        codes: storage of the unused one-time codes; in memory if left out.
    """

    def __init__(self, token: str, codes: Codes | None = None) -> None:
        self._token, self._codes = token, codes or MemoryCodes()

    def new_code(self) -> str:
        """Return a new code for a URL; it is valid for one exchange."""
        code = secrets.token_urlsafe(18)
        self._codes.add(code)
        return code

    def is_code(self, given: str | None) -> bool:
        """Return True if a code is valid and not used yet."""
        return given is not None and self._codes.has(given)

    def exchange(self, code: str | None) -> str | None:
        """Use up a code and return a new key; None if the code is not valid."""
        if code is None or not self._codes.take(code):
            return None
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self._signed(f'key {nonce}')}"

    def is_secret(self, given: str | None) -> bool:
        """Return True for the token or a key; every wrong text takes the same time to compare."""
        if given is None:
            return False
        nonce, _, signature = given.partition(".")
        is_key = _same(signature, self._signed(f"key {nonce}"))
        return _same(given, self._token) or is_key

    @cached_property
    def cookie(self) -> str:
        """Value of the page's cookie, the same for all browsers."""
        return self._signed("cookie")

    def is_cookie(self, given: str | None) -> bool:
        """Return True if a text is the value of the page's cookie."""
        return given is not None and _same(given, self.cookie)

    @cached_property
    def _root(self) -> bytes:
        """Signing key, derived from the token by scrypt so that guessing it is slow."""
        return hashlib.scrypt(self._token.encode(), salt=b"samadapt", n=1 << 14, r=8, p=1)

    def _signed(self, text: str) -> str:
        digest = hmac.digest(self._root, text.encode("utf-8", "replace"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Slowdown:
    """Delays the answers to wrong secrets, longer with each one from the same client address.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wrong(self, address: str) -> float | None:
        """Count a wrong secret, and return the seconds to wait before the request is refused.

        None if too many requests of the address are waiting already. The delays of an address add
        up, so that guessing in parallel is no faster.
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
