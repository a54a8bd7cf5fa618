"""Whatever is sent to the back end of Label Studio: one line at worst, never an error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.server.label_studio import LabelStudioBackend
from samadapt.server.label_studio_app import create_label_studio_app
from samadapt.server.label_studio_images import ImageFinder
from samadapt.server.learning import Learning
from samadapt.server.security import Guard
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project

TOKEN = "a-secret-for-tests"  # noqa: S105
CONFIG = """<View><Image name="i" value="$image"/>
<BrushLabels name="b" toName="i"><Label value="A"/></BrushLabels></View>"""
PATHS = ("/predict", "/webhook", "/train", "/setup")

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 1e99, 5e-324, 50.0, 10**9]),
    st.text(max_size=8),
    st.sampled_from(
        [
            "a.png",
            "data:image/png;base64,AAAA",
            "x" * 300,
            "http://[::1",
            "../../etc/passwd",
            "rle",
            "keypointlabels",
            "rectanglelabels",
            "brushlabels",
            "NaN",
            "-inf",
            "1e999",
            '{"id": 1}',
            '{"result": [NaN]}',
            "[" * 100,
            CONFIG,
        ]
    ),
    st.lists(st.integers(0, 300), max_size=9),
    st.just([]),
    st.just({}),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    place: Path = tmp_path_factory.mktemp("studio")
    (place / "images").mkdir()
    Image.fromarray(blobs()).save(place / "images" / "a.png")
    model = FakeModel()
    with Project.open(place / "p.sqlite") as project:
        learning = Learning(project, model, place, ("none",))
        finder = ImageFinder(place / "images", None, None)
        backend = LabelStudioBackend(model, learning, EmbeddingStore(place / "cache"), finder)
        app = create_label_studio_app(backend, Guard(TOKEN, 80), patience=20)
        login = {"authorization": f"Bearer {TOKEN}"}
        with TestClient(app, "http://localhost", headers=login) as found:
            yield found


def good() -> dict[str, Any]:
    """Everything that any of the routes takes."""
    value = {"x": 25.0, "y": 30.0, "width": 9.0, "height": 9.0, "keypointlabels": ["A"]}
    sizes = {"original_width": 56, "original_height": 40}
    result = {"type": "keypointlabels", "is_positive": 1, "value": value, **sizes}
    brush = {"format": "rle", "rle": [0, 0, 0, 4, 57, 35, 127], "brushlabels": ["A"]}
    annotation = {"id": 1, "result": [result, {"type": "brushlabels", "value": brush}]}
    task = {"id": 5, "data": {"image": "a.png"}, "annotations": [annotation]}
    return {
        "action": "ANNOTATION_CREATED",
        "tasks": [task],
        "task": task,
        "annotation": annotation,
        "annotations": [task],
        "project": {"id": 3, "label_config": CONFIG},
        "label_config": CONFIG,
        "params": {"context": {"result": [result]}},
    }


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a value."""
    if at:
        yield at
    inside = value.items() if isinstance(value, dict) else ()
    for key, one in enumerate(value) if isinstance(value, list) else inside:
        yield from places(one, (*at, key))


PLACES = list(places(good()))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), at=st.sampled_from(PLACES), odd=ODD)
def test_one_odd_value_anywhere(
    client: TestClient, path: str, at: tuple[Any, ...], odd: Any
) -> None:
    body = good()
    inside: Any = body
    for key in at[:-1]:
        inside = inside[key]
    inside[at[-1]] = odd
    check(client, path, json.dumps(body).encode())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{",
        b"\xff",
        b'{"tasks": [Infinity]}',
        b'{"label_config": "\\ud800"}',
        b'{"tasks": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"label_config": "' + b"<a>" * 300_000 + b'"}',
        b'{"label_config": "' + b"<a>" * 600_000 + b'"}',
        b'{"params": "' + b"[" * 5000 + b'"}',
    ],
)
def test_odd_bodies(client: TestClient, path: str, content: bytes) -> None:
    check(client, path, content)


def test_a_number_for_run_lengths_allocates_nothing(client: TestClient) -> None:
    body = good()
    body["annotation"]["result"][1]["value"]["rle"] = 2**40
    answer = client.post("/webhook", json=body)
    assert answer.status_code == 400
    assert "ends too early" in answer.json()["error"]


def check(client: TestClient, path: str, content: bytes) -> None:
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        told = answer.json()["error"]
        assert told.strip()
        assert len(told.splitlines()) == 1
        assert len(told) < 1000
