"""Any request at all, as far as the API's own description goes: never an error of the server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotator import Annotator, Person
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EDGES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**63, 5e-324, 1e308, -0.0, 14.0, 12.5, 40, 56]),
    st.text(max_size=12),
    st.sampled_from(
        ["", "done", "skipped", "brush", "online", "none", "\x00", "\ud800", "key-0001"]
    ),
)
JSON = st.recursive(
    EDGES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Annotator]:
    from PIL import Image

    from fakes import blobs

    folder = tmp_path_factory.mktemp("fuzz") / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(blobs()).save(folder / f"{name}.png")
    running = Annotator(folder, Path(folder).parent / "cache").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def person(server: Annotator) -> Person:
    someone = server.person()
    someone.click(1, 14, 12)
    someone.accept(1, "key-0001")
    return someone


@pytest.fixture(scope="module")
def operations(server: Annotator) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, what the description says of the body) of every route."""
    schema = server.app.openapi()
    found = []
    for path, methods in sorted(schema["paths"].items()):
        for method, about in sorted(methods.items()):
            content = about.get("requestBody", {}).get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").split("/")[-1]
            fields = schema["components"]["schemas"].get(name, {}).get("properties", {})
            found.append((method.upper(), path, fields))
    return found


def test_every_integer_of_a_request_has_bounds(server: Annotator, person: Person) -> None:
    schema = server.app.openapi()
    answers = {"ValidationError", "HTTPValidationError"}
    bodies = {k: v for k, v in schema["components"]["schemas"].items() if k not in answers}
    asked = [
        parameter
        for methods in schema["paths"].values()
        for about in methods.values()
        for parameter in about.get("parameters", [])
    ]
    assert [one for one in _integers([bodies, asked]) if not _has_bounds(one)] == []
    for path in ("/api/proposals/next", "/api/next", "/api/changes"):
        answer = person.http.get(path, params={"after": 2**63})
        assert (answer.status_code, "query.after" in answer.json()["error"]) == (422, True), path
    body = {"objects": [], "revision": 2**63}
    assert person.http.post("/api/import/undo", json=body).status_code == 422


def _integers(schema: Any) -> Iterator[dict[str, Any]]:
    """Every description of an integer anywhere in a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            yield schema
        schema = [*schema.values()]
    if isinstance(schema, list):
        for inner in schema:
            yield from _integers(inner)


def _has_bounds(integer: dict[str, Any]) -> bool:
    return "enum" in integer or {"minimum", "maximum"} <= integer.keys()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_breaks_the_server(
    data: st.DataObject, person: Person, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    method, path, fields = data.draw(st.sampled_from(operations))
    numbers = st.sampled_from(["1", "2", "0", "-1", "x", "99999999999999999999", "1.5", "%00"])
    for name in ("{image_id}", "{object_id}"):
        path = path.replace(name, data.draw(numbers))
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, EDGES | JSON))
    body = data.draw(st.one_of(known, JSON))
    query = data.draw(
        st.dictionaries(
            st.sampled_from(["after", "step", "unfinished", "format", "name"]),
            st.text(max_size=8) | st.integers().map(str),
            max_size=2,
        )
    )
    answer = _request(person.http, method, path, body, query)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[1", b"NaN", b'{"x": NaN, "y": 1}', b"\x00" * 100, b"[" * 5000],
)
def test_what_is_no_json_is_refused(person: Person, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = person.http.post("/api/images/1/click", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
    assert 400 <= person.http.post("/api/import", content=content).status_code < 500


@pytest.mark.parametrize("name", ["%00", "%ED%A0%80", "%0A", "x" * 250, "%E2%80%AE"])
def test_strange_names_of_people(person: Person, name: str) -> None:
    answer = person.http.post("/api/here/1", headers={"x-samadapt-person": name})
    assert answer.status_code == 200
    clicked = person.http.post(
        "/api/images/2/click", json={"x": 1, "y": 1}, headers={"x-samadapt-person": name}
    )
    assert clicked.status_code == 200


def _request(
    http: httpx.Client, method: str, path: str, body: Any, query: dict[str, str]
) -> httpx.Response:
    clean = {key: value.encode(errors="replace").decode() for key, value in query.items()}
    text = json.dumps(body, allow_nan=True) if not _is_odd(body) else json.dumps(str(body))
    headers = {"content-type": "application/json"}
    content = None if method == "GET" else text.encode(errors="replace")
    return http.request(method, path, content=content, params=clean, headers=headers)


def _is_odd(body: Any) -> bool:
    return isinstance(body, float) and not math.isfinite(body)
