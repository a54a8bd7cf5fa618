"""Connections that say nothing, or too much, or never end, keep nobody else out."""

from __future__ import annotations

import http.client
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from annotator import TOKEN, Annotator

from samadapt.server.connections import ConnectionLimits
from samadapt.server.logs import SparingFilter

LIMITS = ConnectionLimits(
    total=12,
    per_address=8,
    head_seconds=0.4,
    body_seconds=0.3,
    body_rate=1000.0,
    answer_seconds=0.4,
    every=0.05,
)


@pytest.fixture
def annotator(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    running = Annotator(folder, tmp_path / "cache", limits=LIMITS).start()
    yield running
    running.stop()


def connect(annotator: Annotator) -> socket.socket:
    return socket.create_connection(("127.0.0.1", annotator.port), timeout=10)


def head(annotator: Annotator, rest: str, path: str = "/api/leave") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{annotator.port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\n{rest}"
    ).encode()


def status(raw: socket.socket) -> int:
    """Of the answer; 0 when the connection was closed without."""
    try:
        answer = raw.recv(200).split()
    except ConnectionResetError:
        return 0
    return int(answer[1]) if answer else 0


@pytest.mark.parametrize("size", [58_000, 20_000])
def test_a_large_cookie_costs_nothing(annotator: Annotator, size: int) -> None:
    cookie = 'a="' + "\\\\" * (size // 2)
    began = time.monotonic()
    with connect(annotator) as raw:
        raw.sendall(head(annotator, f"Cookie: {cookie}\r\n\r\n"))
        assert status(raw) in (0, 400, 431)
    assert annotator.person().get("/api/project")
    assert time.monotonic() - began < 2


def test_many_cookies_are_read_in_time(annotator: Annotator) -> None:
    http = annotator.person().http
    began = time.monotonic()
    answer = http.get("/api/project", headers={"cookie": 'a="\\' * 3000})
    assert answer.status_code == 200
    assert time.monotonic() - began < 1


def test_silent_connections_keep_nobody_out_and_are_closed(annotator: Annotator) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(annotator)) for _ in range(40)]
        for raw in silent[::2]:
            raw.sendall(b"GET / HT")
        person = annotator.person()
        assert person.get("/api/project")  # somebody else gets in at once
        assert person.click(1, 14, 12)["mask"]
        assert len(annotator.server.server_state.connections) <= LIMITS.per_address
        began = time.monotonic()
        answers = [status(raw) for raw in silent]
        assert set(answers) <= {0, 408}
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("sent", ["", "Content-Length: 1000\r\n", "Content-Le"])
def test_a_request_that_drips_is_given_up(annotator: Annotator, sent: str) -> None:
    with connect(annotator) as raw:
        raw.sendall(head(annotator, sent))
        if sent.endswith("\r\n"):
            raw.sendall(b"\r\n")
        began = time.monotonic()
        answered = None
        raw.settimeout(0.05)
        while answered is None and time.monotonic() - began < 5:
            try:
                raw.sendall(b"x")
                answered = status(raw)
            except TimeoutError:
                continue
            except OSError:
                answered = 0
        assert answered in (0, 400, 408)
        assert time.monotonic() - began < 3


def test_a_slow_but_steady_request_is_answered(annotator: Annotator) -> None:
    body = b"{" + b" " * 3000 + b"}"
    with connect(annotator) as raw:
        raw.sendall(head(annotator, f"Content-Length: {len(body)}\r\n\r\n"))
        for start in range(0, len(body), 300):
            raw.sendall(body[start : start + 300])
            time.sleep(0.1)
        assert status(raw) == 200


def test_a_connection_that_is_used_is_never_late(annotator: Annotator) -> None:
    """Requests that are answered between two looks at the connection."""
    used = http.client.HTTPConnection("127.0.0.1", annotator.port, timeout=10)
    used.auto_open = 0  # one connection for all of them
    used.connect()
    began = time.monotonic()
    while time.monotonic() - began < 3 * LIMITS.head_seconds:
        used.request("POST", "/api/leave", "{}", {"authorization": f"Bearer {TOKEN}"})
        answer = used.getresponse()
        assert (answer.status, answer.read()) == (200, b"{}")
        time.sleep(0.06)
    used.close()


def test_a_connection_without_a_request_is_closed_without_a_word(annotator: Annotator) -> None:
    """An answer would be taken for that of the next request."""
    with connect(annotator) as raw:
        assert raw.recv(200) == b""


def test_when_all_are_at_work_the_next_is_told(annotator: Annotator) -> None:
    limits = ConnectionLimits(total=12, per_address=3, body_seconds=5.0)
    annotator.server.config.http_protocol_class.limits = limits  # type: ignore[union-attr]
    with ExitStack() as stack:
        for _ in range(3):
            busy = stack.enter_context(connect(annotator))
            busy.sendall(head(annotator, "Content-Length: 10\r\n\r\n"))
        time.sleep(0.2)
        raw = stack.enter_context(connect(annotator))
        assert b"connections at work: try again" in raw.recv(1000)
    time.sleep(0.2)
    assert annotator.person().get("/api/project")


def test_a_log_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.Logger("flooded")
    logger.addFilter(SparingFilter(most=3, seconds=0.2))
    logger.addHandler(caplog.handler)
    for number in range(1000):
        logger.error("the same %d", number)
    logger.error("another")
    time.sleep(0.25)
    logger.error("the same %d", 1)
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        *(f"the same {number}" for number in range(3)),
        "another",
        "the same 1 (997 more like this were left out)",
    ]


def test_descriptors_of_this_machine() -> None:
    limits = ConnectionLimits.of_this_machine()
    assert 4 <= limits.per_address <= limits.total <= 512
