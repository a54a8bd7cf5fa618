"""Every route, by its own description and against it: schemathesis finds no error of the server.

Of the annotator, and of the back end of Label Studio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from annotator import TOKEN, Annotator
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings

from fakes import FakeModel, blobs
from samadapt.server.label_studio import LabelStudioBackend
from samadapt.server.label_studio_app import create_label_studio_app
from samadapt.server.label_studio_images import ImageFinder
from samadapt.server.learning import Learning
from samadapt.server.security import Guard
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is missing: pip install 'samadapt[test]'"
)

requests = pytest.importorskip("requests")  # comes with it

EXAMPLES = 4
STUDIO_INPUTS = ("/predict", "/webhook", "/train")

_HEADERS = {"authorization": f"Bearer {TOKEN}", "x-samadapt-client": "schema"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Annotator]:
    from PIL import Image

    folder = tmp_path_factory.mktemp("schema") / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(blobs()).save(folder / f"{name}.png")
    running = Annotator(folder, folder.parent / "cache").start()
    running.person().click(1, 14, 12)
    running.people[0].accept(1, "key-0001")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def schema(server: Annotator) -> Any:
    return schemathesis.openapi.from_dict(server.app.openapi())


@pytest.fixture(scope="module")
def web() -> Iterator[Any]:
    with requests.Session() as session:
        yield session


def _operations() -> list[tuple[str, str]]:
    """(method, path) of every route, before there is a server."""
    from samadapt.server import routes_images, routes_objects, routes_project, routes_upload

    app = FastAPI()
    for routes in (routes_images, routes_objects, routes_project, routes_upload):
        app.include_router(routes.router)
    paths = app.openapi()["paths"]
    return [(method, path) for path, methods in sorted(paths.items()) for method in sorted(methods)]


@pytest.mark.parametrize(("method", "path"), _operations())
def test_requests_by_the_description_and_against_it(
    server: Annotator, schema: Any, web: Any, method: str, path: str
) -> None:
    operation = schema[path][method]
    statuses: set[int] = set()
    for mode in schemathesis.GenerationMode:
        if mode.is_negative and not _has_input(operation):
            continue
        _run(server, web, operation, mode, statuses)
    assert statuses, "nothing was sent"


# -- the back end of Label Studio -------------------------------------------------------------


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    place = tmp_path_factory.mktemp("studio-schema")
    model = FakeModel()
    with Project.open(place / "p.sqlite") as project:
        learning = Learning(project, model, place, ("none",))
        finder = ImageFinder(place, None, None)
        backend = LabelStudioBackend(model, learning, EmbeddingStore(place / "cache"), finder)
        yield create_label_studio_app(backend, Guard(TOKEN, 80), patience=20)
        backend.close()


@pytest.mark.parametrize("path", ["/", "/health", "/setup", "/versions", *STUDIO_INPUTS])
def test_label_studio_by_the_description_and_against_it(studio: FastAPI, path: str) -> None:
    described = schemathesis.openapi.from_dict(studio.openapi())
    (operation,) = described[path].values()
    client = TestClient(studio, "http://localhost", headers=_HEADERS)
    for mode in schemathesis.GenerationMode:
        if mode.is_negative and not _has_input(operation):
            continue

        @settings(max_examples=EXAMPLES * 2, suppress_health_check=list(HealthCheck), deadline=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://localhost")
            named = {"data": "content"} | {k: k for k in ("method", "url", "params", "json")}
            answer = client.request(**{named[k]: v for k, v in sent.items() if k in named})
            assert answer.status_code in (200, 400, 405), answer.text
            if answer.status_code >= 400:
                told = answer.json()["error"]
                assert told.strip()
                assert len(told.splitlines()) == 1

        check()


def _has_input(operation: Any) -> bool:
    described = operation.definition.raw
    return bool(described.get("parameters") or described.get("requestBody"))


def _run(server: Annotator, web: Any, operation: Any, mode: Any, statuses: set[int]) -> None:
    @settings(
        max_examples=EXAMPLES,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        if not mode.is_negative:  # any other number is an image or object that is not there
            case.path_parameters = dict.fromkeys(case.path_parameters or {}, 1)
        answer = case.call(base_url=server.url, session=web, headers=_HEADERS)
        is_first = not statuses
        statuses.add(answer.status_code)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            told = answer.json()["error"]
            assert told.strip()
            assert len(told.splitlines()) == 1
        if is_first:
            stranger = case.call(base_url=server.url, session=web)
            assert stranger.status_code in (400, 401), stranger.text

    check()


@pytest.mark.parametrize(("method", "path"), _operations())
def test_other_methods_are_refused(server: Annotator, method: str, path: str) -> None:
    address = path.format(image_id=1, object_id=1, step=1, column=0, row=0)
    http = server.people[0].http
    for other in {"GET", "PUT", "PATCH", "DELETE", "TRACE"} - {method.upper()}:
        answer = http.request(other, address)
        if answer.status_code != 405:  # the path has another route by this method
            assert (other.lower(), path) in _operations()
            continue
        assert answer.json()["error"] == "Method Not Allowed"
        assert http.request(other, address, headers={"authorization": ""}).status_code == 401
