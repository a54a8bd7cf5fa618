from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from samadapt.errors import DataError
from samadapt.server import run


def test_a_port_in_use_is_named() -> None:
    with run.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DataError, match=rf"port {port} .* choose another with --port"):
            run.listen("127.0.0.1", port)


def test_the_first_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with run.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(run, "_FIRST_PORT", port)
        monkeypatch.setattr(run, "_LAST_PORT", port)
        with pytest.raises(DataError, match="are in use"):
            run.listen("127.0.0.1", None)
        monkeypatch.setattr(run, "_LAST_PORT", port + 20)
        with run.listen("127.0.0.1", None) as other:
            assert port < other.getsockname()[1] <= port + 20


@pytest.mark.parametrize("port", [70000, 10**9])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(DataError, match="1 to 65535"):
        run.listen("127.0.0.1", port)


def test_a_host_of_somebody_else() -> None:
    with pytest.raises(DataError, match="cannot be used"):
        run.listen("192.0.2.1", 0)


def test_tokens() -> None:
    assert run.check_token(None, "127.0.0.1") != run.check_token(None, "127.0.0.1")
    assert len(run.check_token(None, "0.0.0.0")) >= 32  # noqa: S104
    assert run.check_token("short", "127.0.0.1") == "short"
    with pytest.raises(DataError, match="other machines can reach"):
        run.check_token("short", "0.0.0.0")  # noqa: S104
    for bad in ("a b c d", "x&y=zz", "äöüß", "abc"):
        with pytest.raises(DataError, match="--token"):
            run.check_token(bad, "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("pc", False)],  # noqa: S104
)
def test_what_is_local(host: str, local: bool) -> None:
    assert run.is_local(host) is local


def test_addresses() -> None:
    assert run.address("0.0.0.0", 1, "t") == "http://127.0.0.1:1/?code=t"  # noqa: S104
    assert run.address("::1", 1, "t") == "http://[::1]:1/?code=t"
    assert run.address("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert socket.has_ipv6 is not None


_INTERRUPTED = """
import os, signal, sys, threading
from contextlib import asynccontextmanager
from fastapi import FastAPI
from samadapt.server import run

@asynccontextmanager
async def working(app):
    yield
    sys.stderr.write("saved\\n")

interrupt = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    run.serve(FastAPI(lifespan=working), run.listen("127.0.0.1", 0), interrupt.start)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interruption_is_told_before_the_work_is_ended() -> None:
    command = [sys.executable, "-c", _INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines() == ["finishing what is in progress and saving ...", "saved"]
    assert done.returncode == 130
