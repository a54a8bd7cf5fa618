"""Running the annotator: its socket, token, address and server."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from samadapt.errors import DataError
from samadapt.server.connections import (
    LARGEST_HEAD,
    ConnectionLimits,
    limited_protocol,
    quiet_about_descriptors,
)
from samadapt.server.logs import write_sparingly

LOCAL = "127.0.0.1"
_FIRST_PORT, _LAST_PORT = 8760, 8799
_LEAST_TOKEN = 16


def listen(host: str, port: int | None) -> socket.socket:
    """Return a listening socket.

    Args:
        host: address or name of this machine.
        port: the port; None for the first free one from 8760.

    Raises:
        DataError: the port is in use, or the host is not this machine's.
    """
    if port is not None:
        return _bind(host, port)
    for candidate in range(_FIRST_PORT, _LAST_PORT + 1):
        try:
            return _bind(host, candidate)
        except _InUseError:
            continue
    raise DataError(f"all ports from {_FIRST_PORT} to {_LAST_PORT} are in use: give --port N")


def check_token(token: str | None, host: str) -> str:
    """Return the token to use: the one given, or a new one.

    Raises:
        DataError: the token is too short, or has characters that are not safe in a URL.
    """
    if token is None:
        return secrets.token_urlsafe(24)
    if not is_local(host) and len(token) < _LEAST_TOKEN:
        raise DataError(
            f"--token has {len(token)} characters: other machines can reach this server, give at "
            f"least {_LEAST_TOKEN} (or none, and one is made)"
        )
    if len(token) < 4 or not all(c.isascii() and (c.isalnum() or c in "-_.~") for c in token):
        raise DataError("--token: use at least 4 letters, digits, '-', '_', '.' and '~'")
    return token


def is_local(host: str) -> bool:
    """Return True if the host can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int, code: str = "") -> str:
    """Return the URL of the page; a code from `Access.new_code` gives a browser access."""
    shown = LOCAL if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}" + (f"/?code={code}" if code else "")


def configured(app: FastAPI, limits: ConnectionLimits | None = None) -> uvicorn.Config:
    """Return uvicorn's configuration to serve an application.

    Args:
        app: the application.
        limits: limits of connections; those of this machine if left out.
    """
    write_sparingly()
    return uvicorn.Config(
        app,
        # Name the parser: another one, which uvicorn prefers if installed, does not limit headers.
        http=limited_protocol(limits or ConnectionLimits.of_this_machine()),
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        backlog=128,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        lifespan="on",
    )


def serve(app: FastAPI, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until interrupted, which is told on stderr before what is in progress is finished.

    `ready` is called as soon as requests are answered.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = Server(configured(app), ready, _tell_ending)
    server.run(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn's server, which calls `ready` when it answers requests, and `ending` when it ends."""

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._ready, self._ending = ready, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests, and call `ready`."""
        quiet_about_descriptors(asyncio.get_running_loop())
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `ending`, finish the requests in progress, and close the application."""
        self._ending()
        await super().shutdown(sockets)


def _tell_ending() -> None:
    with contextlib.suppress(OSError):  # nobody reads the terminal any more
        sys.stderr.write("finishing what is in progress and saving ...\n")
        sys.stderr.flush()


class _InUseError(DataError):
    pass


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        text = f"port {port} on {host} cannot be used ({error.strerror or error})"
        remedy = "choose another with --port N, or leave it out to take a free one"
        raise _InUseError(f"{text}: {remedy}") from None
    except OverflowError:
        listener.close()
        raise DataError(f"--port {port}: use a number from 1 to 65535") from None
    return listener
