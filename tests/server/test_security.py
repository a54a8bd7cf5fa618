from __future__ import annotations

import base64
import socket
from collections.abc import Iterator

import httpx
import pytest
from annotator import TOKEN, Annotator

from samadapt.server.security import Guard


@pytest.fixture
def bare(annotator: Annotator) -> Iterator[httpx.Client]:
    """Somebody without the token."""
    with httpx.Client(base_url=annotator.url) as client:
        yield client


def every_route(annotator: Annotator) -> Iterator[tuple[str, str]]:
    schema = annotator.app.openapi()
    for path, operations in schema["paths"].items():
        for method in operations:
            yield method.upper(), path.replace("{image_id}", "1").replace("{object_id}", "1")


def test_every_path_without_the_token_answers_401(annotator: Annotator, bare: httpx.Client) -> None:
    routes = {*every_route(annotator)}
    assert len(routes) > 24
    extra = [("GET", "/"), ("GET", "/api/openapi.json"), ("GET", "/nowhere")]
    extra += [("GET", "/static/js/main.js"), ("POST", "/api/code"), ("PUT", "/enter")]
    extra += [("GET", f"/?token={TOKEN}"), ("GET", f"/api/images?token={TOKEN}")]
    extra += [("GET", f"/static/js/main.js?code={annotator.guard.access.new_code()}")]
    for method, path in [*routes, *extra]:
        assert bare.request(method, path).status_code == 401, (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": "samadapt-{port}=" + TOKEN},
        {"cookie": "\x01;;=;"},
    ],
)
def test_other_ways_in_are_closed(
    annotator: Annotator, bare: httpx.Client, headers: dict[str, str]
) -> None:
    given = {name: value.format(port=annotator.port) for name, value in headers.items()}
    assert bare.get("/api/images", headers=given).status_code == 401


def test_basic_authentication_for_other_tools(bare: httpx.Client) -> None:
    given = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    headers = {"authorization": f"Basic {given}"}
    assert bare.get("/api/images", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),  # a name of somebody else that points here
        ({"host": "127.0.0.1:1"}, 421),
        ({"host": "evil.example:{port}"}, 421),
        ({"host": "u@127.0.0.1:{port}"}, 421),
        ({"host": "localhost:{port}"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "https://127.0.0.1:{port}"}, 403),
        ({"origin": "http://127.0.0.1:{port}"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_hosts_and_origins(annotator: Annotator, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(port=annotator.port) for name, value in headers.items()}
    person = annotator.person()
    assert person.http.get("/api/project", headers=given).status_code == status


def test_a_proxy_in_front_needs_its_name() -> None:
    plain, named = Guard("t", 8760), Guard("t", 8760, ("cells.example.org",))
    assert not plain.is_host("cells.example.org")
    for host in ("cells.example.org", "cells.example.org:443", "CELLS.example.org"):
        assert named.is_host(host)
    assert not named.is_host("example.org")
    assert not named.is_host("127.0.0.1:443")
    assert named.is_host("[::1]:8760")


def test_too_much_is_refused(annotator: Annotator) -> None:
    person = annotator.person()
    limit = Guard("x", 1).limit
    answer = person.http.post("/api/images/1/click", content=b"x" * (limit + 1))
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:  # no length is announced
        for _ in range(limit // 2**20 + 2):
            yield b"x" * 2**20

    try:
        answer = person.http.post("/api/images/1/click", content=endless())
        assert answer.status_code in (400, 413)
    except httpx.HTTPError:
        pass  # closing the connection is an answer too
    assert person.get("/api/project")


def test_a_wrong_length_is_refused(annotator: Annotator) -> None:
    with socket.create_connection(("127.0.0.1", annotator.port)) as raw:
        raw.sendall(
            f"POST /api/leave HTTP/1.1\r\nHost: 127.0.0.1:{annotator.port}\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: -5\r\n\r\n".encode()
        )
        assert raw.recv(100).split()[1] in (b"400", b"413")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fapp.py",
        "/static//etc/passwd",
        "/static/js/../../../../pyproject.toml",
    ],
)
def test_no_path_leads_out_of_the_static_files(annotator: Annotator, path: str) -> None:
    with socket.create_connection(("127.0.0.1", annotator.port)) as raw:
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{annotator.port}\r\n"
            f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode()
        )
        assert raw.recv(100).split()[1] in (b"404", b"401")


def test_an_image_that_is_a_link_out_of_the_folder_is_not_shown(annotator: Annotator) -> None:
    secret = annotator.folder.parent / "secret.png"
    secret.write_bytes((annotator.folder / "a 1.png").read_bytes())
    (annotator.folder / "link.png").symlink_to(secret)
    annotator.workspace.gallery.scan()
    person = annotator.person()
    image = next(row[0] for row in person.get("/api/images")["images"] if row[1] == "link.png")
    for path in (f"/api/images/{image}/pixels", f"/api/images/{image}/thumbnail"):
        answer = person.http.get(path)
        assert answer.status_code == 404
        assert "leads out of the folder" in answer.json()["error"]
    assert person.refused(f"/api/images/{image}/open")[0] == 404


def test_the_page_may_load_nothing_from_elsewhere(annotator: Annotator) -> None:
    page = annotator.person().http.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "http" not in page.text.replace("http-equiv", "")
