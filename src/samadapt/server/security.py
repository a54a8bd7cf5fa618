"""Who may talk to the server: secrets, host, origin, and sizes of requests. Pure ASGI."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

from samadapt.server.access import Access, Slowdown
from samadapt.server.asgi import App, Message, Receive, Scope, Send, answer, answer_bytes

MEGABYTE = 1 << 20
IMPORT_AT_START = "import it with `samadapt annotate FOLDER --import FILE`"
"""What to do with a file that a request cannot bring."""

_LARGEST_HEADERS = 16 << 10
_LARGEST_FORM = 4 << 10
_CODE_HEADER = "x-samadapt-code"
_IMPORT, _UPLOAD = "/api/import", "/api/images"
STREAMED = frozenset({_IMPORT, _UPLOAD})
"""Paths whose bodies are files, which go to the disk as they come."""
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
    """What is allowed.

    Attributes:
        token: the secret that every request needs, as "Authorization: Bearer" or as the password
            of a basic login; pages have a key instead, see `Access`.
        port: the server's; part of the cookie's name, because browsers share cookies over ports.
        hosts: names that the server may be called by, besides addresses in numbers and
            "localhost". A page of another site that lets its name point here is turned away.
        limit: most bytes of a request.
        import_limit: most bytes of a file that is imported; as objects in memory it takes up to
            fifteen times that.
        upload_limit: most bytes of an image that is uploaded.
        body_limit: most bytes of all requests that are being read or answered at once, files that
            are imported or uploaded not counted: those are on the disk.
        entered: called with the code when a browser was let in by one.
    """

    token: str
    port: int
    hosts: tuple[str, ...] = ()
    limit: int = 24 * MEGABYTE
    import_limit: int = 64 * MEGABYTE
    upload_limit: int = 1024 * MEGABYTE
    body_limit: int = 96 * MEGABYTE
    entered: Callable[[str], None] = lambda code: None
    access: Access = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", Access(self.token))

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


class GuardMiddleware:
    """Turns away what `Guard` does not allow, before anything else sees it."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard, self._access = app, guard, guard.access
        self._slowdown = Slowdown()
        self._in_flight = _InFlight()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
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
        elif (secrets := self._secrets(scope, headers)) is not True:
            await self._turn_away(scope, send, secrets is not None)
        elif scope["method"] == "POST" and scope["path"] == "/api/code":
            await answer(send, 200, {"code": self._access.new_code()})
        else:
            await self._pass_on(scope, headers, receive, send)

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is not from a page of this server, or from no page at all."""
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

    def _secrets(self, scope: Scope, headers: dict[str, str]) -> bool | None:
        """Whether the secrets of a request are right; None when it has none."""
        access, found = self._access, False
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if given.strip():
            secret = _password(given) if scheme.lower() == "basic" else given.strip()
            if scheme.lower() in ("basic", "bearer") and access.is_secret(secret):
                return True
            found = True
        if scope["method"] in _SAFE and _is_page(scope["path"]):
            if access.is_cookie(_cookie(headers.get("cookie", ""), self._guard.cookie)):
                return True
            if (code := _asked_code(scope)) is not None:
                return access.is_code(code)
        return False if found else None

    async def _turn_away(self, scope: Scope, send: Send, is_wrong: bool) -> None:
        """Say no: slowly to whoever gave a wrong secret, at once to whoever gave none."""
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
        """Exchange the code of an address for a key."""
        code = headers.get(_CODE_HEADER)
        key = self._access.exchange(code)
        if code is None or key is None:
            await self._turn_away(scope, send, is_wrong=True)
            return
        self._guard.entered(code)
        await answer(send, 200, {"key": key})

    async def _enter_by_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exchange a token that a person typed for an address with a code."""
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
        place = b"location", f"/?code={self._access.new_code()}".encode()
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
            text = f"{self._guard.cookie}={self._access.cookie}; Path=/; HttpOnly; SameSite=Strict"
            send = _setting(send, text.encode())
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
        """Most bytes of a request to a path, and what to say of a larger one."""
        guard = self._guard
        if path == _IMPORT:
            limit = guard.import_limit
            return limit, f"the file is larger than {limit} bytes: {IMPORT_AT_START}"
        if path == _UPLOAD:
            limit = guard.upload_limit
            return limit, f"the image is larger than {limit} bytes: copy it into the folder"
        return guard.limit, f"the request is larger than {guard.limit} bytes"


class _InFlight:
    """Bytes of all bodies that are being read or answered."""

    def __init__(self) -> None:
        self.bytes = 0


class _Body:
    """A request's body, which ends in an error when it, or all together, are too long."""

    def __init__(
        self, receive: Receive, limit: int, too_large: str, in_flight: _InFlight, most: int
    ) -> None:
        self._receive, self._limit, self._too_large = receive, limit, too_large
        self._in_flight, self._most = in_flight, most
        self._size = 0

    async def __call__(self) -> Message:
        """The next part.

        Raises:
            HTTPException: too long.
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
        """The request was answered."""
        self._in_flight.bytes -= self._size


def _is_page(path: str) -> bool:
    """Whether a path is the page or one of its files, the same for everybody."""
    return path == "/" or path.startswith("/static/")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _asked_code(scope: Scope) -> str | None:
    """The code in the page's address."""
    if scope["path"] != "/":
        return None
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("code")
    return given[0] if given else None


def _cookie(header: str, name: str) -> str | None:
    """A cookie's value. Python's own parser takes time with the square of the header's length."""
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
