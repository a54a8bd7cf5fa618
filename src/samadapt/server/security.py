"""ASGI middleware that checks a request's secret, host, origin and size."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from samadapt.server.access import Access, Codes, Slowdown
from samadapt.server.asgi import App, Message, Receive, Scope, Send, answer, answer_bytes

MEGABYTE = 1 << 20
IMPORT_AT_START = "import it with `samadapt annotate FOLDER --import FILE`"
"""Remedy in the error for a file that is too large for a request."""

_LARGEST_HEADERS = 16 << 10
_LARGEST_FORM = 4 << 10
_CODE_HEADER = "x-samadapt-code"
_IMPORT, _UPLOAD = "/api/import", "/api/images"
STREAMED = frozenset({_IMPORT, _UPLOAD})
"""Paths whose bodies are files, which are written to the disk as they arrive."""
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action {}; frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE = ("GET", "HEAD")
_STALE = (
    "<!doctype html><meta charset=utf-8><title>samadapt</title><h1>This link is no longer "
    "valid</h1><p>Every address that <code>samadapt annotate</code> prints is good once: open the "
    "one that it printed last, or enter the token. Your work is saved in the project.</p>"
    "<form method=post action=/enter><input type=password name=token aria-label=token "
    "autocomplete=off> <button>Enter</button></form>"
)
_TURNED_AWAY = "the token is missing or stale: use the address that the server printed"
_CROWDED = "too many wrong tokens from this address: wait a minute"


@dataclass(frozen=True, slots=True)
class Guard:
    """Rules for which requests are allowed.

    Attributes:
        token: the secret that every request needs, as "Authorization: Bearer" or as the password
            of a basic login; pages have a key instead, see `Access`.
        port: port of the server.
        hosts: host names of the server, besides IP addresses and "localhost". Other names in the
            header "Host" are refused, which prevents DNS rebinding.
        limit: most bytes of a request.
        import_limit: most bytes of a file that is imported; parsed, it takes up to fifteen times
            that in memory.
        upload_limit: most bytes of an image that is uploaded.
        body_limit: most bytes of the bodies of all requests that are being read or answered at
            once; files that are imported or uploaded are on the disk and do not count.
        entered: called with the one-time code by which a browser was given access.
        codes: storage of one-time codes that several servers share; in memory if left out.
    """

    token: str
    port: int
    hosts: tuple[str, ...] = ()
    limit: int = 24 * MEGABYTE
    import_limit: int = 64 * MEGABYTE
    upload_limit: int = 1024 * MEGABYTE
    body_limit: int = 96 * MEGABYTE
    entered: Callable[[str], None] = lambda code: None
    codes: Codes | None = None
    access: Access = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", Access(self.token, self.codes))

    def is_host(self, text: str) -> bool:
        """Return True if the header "Host" of a request names this server."""
        try:
            parts = urlsplit(f"//{text}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.path:
            return False
        if name in {host.lower() for host in self.hosts}:
            return True  # a reverse proxy may have another port
        if port not in (self.port, None):
            return False
        if name == "localhost":
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class GuardMiddleware:
    """Refuses requests that `Guard` does not allow, before the application receives them."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard, self._access = app, guard, guard.access
        self._slowdown = Slowdown()
        self._in_flight = _InFlight()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of the access control, refuse it, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        send = _adding_headers(_without_body(send) if scope["method"] == "HEAD" else send, scope)
        if sum(len(k) + len(v) for k, v in scope["headers"]) > _LARGEST_HEADERS:
            await answer(send, 431, {"error": "the request's headers are too large"})
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = self._foreign(scope, headers)
        if refusal is not None:
            await answer(send, refusal[0], {"error": refusal[1]})
        elif scope["method"] == "POST" and scope["path"] == "/enter":
            await self._enter_by_token(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] == "/api/enter":
            await self._enter_by_code(scope, headers, send)
        elif (secrets := await self._secrets(scope, headers)) is not True:
            await self._turn_away(scope, send, secrets is not None)
        elif scope["method"] == "POST" and scope["path"] == "/api/code":
            await answer(send, 200, {"code": await run_in_threadpool(self._access.new_code)})
        else:
            await self._pass_on(scope, headers, receive, send)

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason if a request has another host or is from another site's page."""
        host = headers.get("host", "")
        if not self._guard.is_host(host):
            return 421, f"this server is not {host[:100]!r}: use the address that it printed"
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope.get('scheme', 'http')}://{host}":
            return 403, "requests from other sites are refused"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and (
            scope["method"] not in _SAFE or headers.get("sec-fetch-mode") != "navigate"
        ):
            return 403, "requests from other sites are refused"
        return None

    async def _secrets(self, scope: Scope, headers: dict[str, str]) -> bool | None:
        """Return True for a request with a valid secret, False for a wrong one, None for none."""
        access, found = self._access, False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if given.strip():
            secret = _password(given) if scheme.lower() == "basic" else given.strip()
            if scheme.lower() in ("basic", "bearer") and access.is_secret(secret):
                return True
            found = True
        if scope["method"] in _SAFE and _is_page(scope["path"]):
            if access.is_cookie(_cookie(headers.get("cookie", ""), _cookie_name(headers))):
                return True
            if (code := _asked_code(scope)) is not None:
                return await run_in_threadpool(access.is_code, code)
        return False if found else None

    async def _turn_away(self, scope: Scope, send: Send, is_wrong: bool) -> None:
        """Refuse a request; with a delay if its secret was wrong, at once if it had none."""
        if is_wrong:
            seconds = self._slowdown.wrong(_address(scope))
            if seconds is None:
                await answer(send, 429, {"error": _CROWDED})
                return
            await asyncio.sleep(seconds)
        if scope["path"] in ("/", "/enter"):
            policy = b"content-security-policy", _POLICY.format("'self'").encode()
            await answer_bytes(send, 401, _STALE.encode(), b"text/html; charset=utf-8", policy)
        else:
            await answer(send, 401, {"error": _TURNED_AWAY})

    async def _enter_by_code(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        """Exchange a one-time code for a key."""
        code = headers.get(_CODE_HEADER)
        key = await run_in_threadpool(self._access.exchange, code)
        if code is None or key is None:
            await self._turn_away(scope, send, is_wrong=True)
            return
        self._guard.entered(code)
        await answer(send, 200, {"key": key})

    async def _enter_by_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect a person who typed the token to a URL with a one-time code."""
        form = bytearray()
        while True:
            message = await receive()
            form += message.get("body", b"")
            if not message.get("more_body") or len(form) > _LARGEST_FORM:
                break
        given = parse_qs(form[:_LARGEST_FORM].decode("latin-1")).get("token", [""])
        if not self._access.is_secret(given[0]):
            await self._turn_away(scope, send, is_wrong=True)
            return
        code = await run_in_threadpool(self._access.new_code)
        place = b"location", f"/?code={code}".encode()
        await answer_bytes(send, 303, b"", b"text/plain", place)

    async def _pass_on(
        self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send
    ) -> None:
        limit, too_large = self._limit(scope["path"])
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > limit:
            await answer(send, 413, {"error": too_large})
            return
        if scope["path"] == "/" and _asked_code(scope) is not None:
            cookie = f"{_cookie_name(headers)}={self._access.cookie}"
            send = _setting(send, f"{cookie}; Path=/; HttpOnly; SameSite=Strict".encode())
        is_file = scope["path"] in STREAMED
        most = sys.maxsize if is_file else self._guard.body_limit
        in_flight = _InFlight() if is_file else self._in_flight
        body = _Body(receive, limit, too_large, in_flight, most)
        try:
            await self._app(scope, body, send)
        except HTTPException as error:  # raised by the body before the application got it
            await answer(send, error.status_code, {"error": str(error.detail)})
        finally:
            body.done()

    def _limit(self, path: str) -> tuple[int, str]:
        """Return the most bytes of a request to a path, and the error for a larger one."""
        guard = self._guard
        if path == _IMPORT:
            limit = guard.import_limit
            return limit, f"the file is larger than {limit} bytes: {IMPORT_AT_START}"
        if path == _UPLOAD:
            limit = guard.upload_limit
            return limit, f"the image is larger than {limit} bytes: copy it into the folder"
        return guard.limit, f"the request is larger than {guard.limit} bytes"


class _InFlight:
    """Counts the bytes of the bodies of all requests that are being read or answered."""

    def __init__(self) -> None:
        self.bytes = 0


class _Body:
    """A `receive` that raises an error if the body, or all bodies together, are too large."""

    def __init__(
        self, receive: Receive, limit: int, too_large: str, in_flight: _InFlight, most: int
    ) -> None:
        self._receive, self._limit, self._too_large = receive, limit, too_large
        self._in_flight, self._most = in_flight, most
        self._size = 0

    async def __call__(self) -> Message:
        """Return the next part of the body.

        Raises:
            HTTPException: the body (413) or all bodies together (503) are too large.
        """
        message = await self._receive()
        size = len(message.get("body", b""))
        self._size += size
        self._in_flight.bytes += size
        if self._size > self._limit:
            raise HTTPException(413, self._too_large)
        if self._in_flight.bytes > self._most:
            raise HTTPException(503, "too many large requests at this moment: try again")
        return message

    def done(self) -> None:
        """Release the bytes of the body after the request was answered."""
        self._in_flight.bytes -= self._size


def _is_page(path: str) -> bool:
    """Return True for the path of the page or of one of its static files."""
    return path == "/" or path.startswith("/static/")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _asked_code(scope: Scope) -> str | None:
    """Return the one-time code in a request for the page, if any."""
    if scope["path"] != "/":
        return None
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("code")
    return given[0] if given else None


def _cookie_name(headers: dict[str, str]) -> str:
    """Return the cookie's name, with the port in the browser's URL.

    Browsers send a host's cookies to all of its ports, so servers on different ports need different
    names. Servers behind one reverse proxy share its port, and so the cookie.
    """
    return f"samadapt-{urlsplit('//' + headers.get('host', '')).port or 'web'}"


def _cookie(header: str, name: str) -> str | None:
    """Return a cookie's value. Unlike Python's own parser, this takes linear time."""
    for part in header.split(";"):
        key, _, value = part.partition("=")
        if key.strip() == name:
            return value.strip()
    return None


def _password(given: str) -> str | None:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _adding_headers(send: Send, scope: Scope) -> Send:
    kept = b"no-store" if scope["path"].startswith("/api") else b"no-cache"
    ours = (
        *_HEADERS,
        (b"cache-control", kept),
        (b"content-security-policy", _POLICY.format("'none'").encode()),
    )

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            given = {name for name, _ in headers}
            message["headers"] = [*headers, *(pair for pair in ours if pair[0] not in given)]
        await send(message)

    return adding


def _setting(send: Send, cookie: bytes) -> Send:
    async def setting(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie)]
        await send(message)

    return setting


def _without_body(send: Send) -> Send:
    async def without(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return without
