"""Who may talk to the server: token, host, origin, and sizes of requests. Pure ASGI."""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MEGABYTE = 1 << 20

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self'; object-src 'none'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_SAFE = ("GET", "HEAD")
_STALE = (
    "<!doctype html><meta charset=utf-8><title>samadapt</title><h1>This link is no longer "
    "valid</h1><p>Open the address that <code>samadapt annotate</code> printed when it started: "
    "it ends in a token that is new each time. Your work is saved in the project.</p>"
)


@dataclass(frozen=True, slots=True)
class Guard:
    """What is allowed.

    Attributes:
        token: the secret that every request needs: in the cookie, as "Authorization: Bearer", or,
            for the page itself, in the address.
        port: the server's; part of the cookie's name, because browsers share cookies over ports.
        hosts: names that the server may be called by, besides addresses in numbers and
            "localhost". A page of another site that lets its name point here is turned away.
        limit: most bytes of a request.
        import_limit: most bytes of a file that is imported.
    """

    token: str
    port: int
    hosts: tuple[str, ...] = ()
    limit: int = 24 * MEGABYTE
    import_limit: int = 512 * MEGABYTE

    @property
    def cookie(self) -> str:
        """The cookie's name."""
        return f"samadapt-{self.port}"

    def is_host(self, text: str) -> bool:
        """Whether a request's Host is this server."""
        try:
            parts = urlsplit(f"//{text}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.path:
            return False
        if name in {host.lower() for host in self.hosts}:
            return True  # a proxy in front may have a port of its own
        if port not in (self.port, None):
            return False
        if name == "localhost":
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_token(self, given: str | None) -> bool:
        """Whether this is the token, in the same time for every wrong one."""
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())


class GuardMiddleware:
    """Turns away what `Guard` does not allow, before anything else sees it."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        guarded = _adding_headers(send, scope["path"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(guarded, scope, *refusal)
            return
        limit = self._limit(scope["path"])
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > limit:
            await _refuse(guarded, scope, 413, f"the request is larger than {limit} bytes")
            return
        bounded = _Bounded(receive, limit)
        cookie = self._new_cookie(scope)
        await self._app(scope, bounded, guarded if cookie is None else _setting(guarded, cookie))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        guard = self._guard
        host = headers.get("host", "")
        if not guard.is_host(host):
            return 421, f"this server is not {host[:100]!r}: use the address that it printed"
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope.get('scheme', 'http')}://{host}":
            return 403, "requests from other sites are refused"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and (
            scope["method"] not in _SAFE or headers.get("sec-fetch-mode") != "navigate"
        ):
            return 403, "requests from other sites are refused"
        if not self._is_known(scope, headers):
            return 401, "the token is missing or stale: use the address that the server printed"
        return None

    def _is_known(self, scope: Scope, headers: dict[str, str]) -> bool:
        guard = self._guard
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and guard.is_token(given.strip()):
            return True
        if scheme.lower() == "basic" and guard.is_token(_password(given)):
            return True
        if guard.is_token(_cookie(headers.get("cookie", ""), guard.cookie)):
            return True
        return guard.is_token(_asked_token(scope))

    def _new_cookie(self, scope: Scope) -> bytes | None:
        """The cookie to set: whoever opens the page with the token needs it only once."""
        if scope["path"] != "/" or not self._guard.is_token(_asked_token(scope)):
            return None
        text = f"{self._guard.cookie}={self._guard.token}; Path=/; HttpOnly; SameSite=Strict"
        return text.encode()

    def _limit(self, path: str) -> int:
        return self._guard.import_limit if path == "/api/import" else self._guard.limit


class _Bounded:
    """A request's body that ends the connection when it is longer than announced or allowed."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return {"type": "http.disconnect"}
        return message


def _asked_token(scope: Scope) -> str | None:
    """The token in the address; only the page itself takes it from there."""
    if scope["path"] != "/":
        return None
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
    return given[0] if given else None


def _cookie(header: str, name: str) -> str | None:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return None if found is None else found.value


def _password(given: str) -> str | None:
    import base64

    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _adding_headers(send: Send, path: str) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if not any(name == b"cache-control" for name, _ in headers):
                kept = b"no-store" if path.startswith("/api") else b"no-cache"
                headers.append((b"cache-control", kept))
            message["headers"] = [*headers, *_HEADERS]
        await send(message)

    return adding


def _setting(send: Send, cookie: bytes) -> Send:
    async def setting(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie)]
        await send(message)

    return setting


async def _refuse(send: Send, scope: Scope, status: int, text: str) -> None:
    if status == 401 and scope["path"] == "/":
        kind, body = b"text/html; charset=utf-8", _STALE.encode()
    else:
        kind, body = b"application/json", json.dumps({"error": text}).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
