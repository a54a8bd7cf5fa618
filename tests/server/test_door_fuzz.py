"""Whoever has no secret: any request at all gets a refusal, and nothing of use."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from annotator import TOKEN, Annotator
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import blobs
from samadapt.server import access

PATHS = (
    *("/", "/enter", "/api/enter", "/api/code", "/api/images", "/api/project", "/api/import"),
    *("/static/js/main.js", "/api/openapi.json", "/api/images/1/pixels", "/api/export", "*", "//"),
)
NAMES = (
    *("authorization", "cookie", "x-samadapt-code", "x-samadapt-client", "x-samadapt-person"),
    *("origin", "sec-fetch-site", "content-length", "transfer-encoding", "expect", "upgrade"),
    *("connection", "content-type", "range", "if-none-match", "x-forwarded-for", "host"),
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(
                "Bearer",
                "Bearer x",
                "Basic !!!",
                "Basic YTpi",
                "Bearer " + "x" * 5000,
                "bearer  y.z",
            ),
            *("samadapt-{port}=x", 'a="\\', ";=;;", "a=b; " * 1000, "null", "cross-site", "-1"),
            *(
                "chunked",
                "100-continue",
                "websocket",
                "upgrade",
                "\xff\xfe",
                "bytes=0-",
                "999999999",
            ),
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Annotator]:
    from PIL import Image

    folder = tmp_path_factory.mktemp("door") / "images"
    folder.mkdir()
    Image.fromarray(blobs()).save(folder / "a.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "_FIRST_SECONDS", 0.0)  # what is held back is tested elsewhere
        running = Annotator(folder, folder.parent / "cache").start()
        yield running
        running.stop()


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PRI", "X"]),
    path=st.sampled_from(PATHS),
    query=st.sampled_from(
        ["", "?code=x", "?token=" + TOKEN, "?code=&code=", "?%00", "?" + "a&" * 900]
    ),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
    body=st.sampled_from(["", "token=x", "token=" + "x" * 9000, "{", "0\r\n\r\n"]),
)
def test_any_request_is_refused(
    server: Annotator,
    method: str,
    path: str,
    query: str,
    headers: list[tuple[str, str]],
    body: str,
) -> None:
    lines = [f"{method} {path}{query} HTTP/1.1", "Connection: close"]
    if not any(name == "host" for name, _ in headers):
        lines.append(f"Host: 127.0.0.1:{server.port}")
    if not any(name in ("content-length", "transfer-encoding") for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}".replace("{port}", str(server.port)) for name, value in headers]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall("\r\n".join([*lines, "", body]).encode("latin-1"))
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while block := raw.recv(65536):
                answer += block
        except ConnectionResetError:
            pass
    if answer:  # nothing is an answer too, to what was never finished
        status = int(answer.split()[1])
        assert 400 <= status < 500 or status == 100, answer
    assert TOKEN.encode() not in answer
    assert b"set-cookie" not in answer
    assert b'"key"' not in answer
