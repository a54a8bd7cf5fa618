from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.data.label_studio import mask_to_brush
from samadapt.errors import DataError, ImageError
from samadapt.server.label_studio import LabelStudioBackend
from samadapt.server.label_studio_client import LabelStudioClient
from samadapt.server.label_studio_images import ImageFinder
from samadapt.server.learning import Learning
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project

CONFIG = """<View><Image name="i" value="$image"/>
<BrushLabels name="b" toName="i"><Label value="A"/></BrushLabels></View>"""
PERSONAL, LEGACY, SHORT = "head.refresh.sign", "0123abcd", "head.access.sign"
PICTURE = "/data/upload/3/1f2e-a.png"


def annotated(top: int) -> dict[str, Any]:
    """A task whose mask has its own place."""
    mask = np.zeros((40, 56), np.bool_)
    mask[top : top + 10, 30:46] = True
    value = {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": ["A"]}
    brush = {"type": "brushlabels", "value": value}
    return {"id": top, "data": {"image": PICTURE}, "annotations": [{"result": [brush]}]}


class Studio(BaseHTTPRequestHandler):
    """As Label Studio answers: a personal token only lets in what it was exchanged for."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/token/refresh/" and asked == {"refresh": PERSONAL}:
            self.answer(200, json.dumps({"access": SHORT}).encode())
        else:
            self.answer(401, b"{}")

    def do_GET(self) -> None:
        if self.headers["authorization"] not in (f"Bearer {SHORT}", f"Token {LEGACY}"):
            self.answer(401, b"{}")
        elif self.path == PICTURE:
            picture = io.BytesIO()
            Image.fromarray(blobs()).save(picture, "png")
            self.answer(200, picture.getvalue())
        elif self.path == "/api/projects/3/export?exportType=JSON":
            broken = {"id": 9, "data": {}, "annotations": annotated(5)["annotations"]}
            self.answer(200, json.dumps([broken, annotated(5), annotated(25)]).encode())
        elif self.path == "/text":
            self.answer(200, b"<html>")
        else:
            self.answer(404, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Studio) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=20)


@pytest.mark.parametrize("key", [PERSONAL, LEGACY])
def test_personal_and_legacy_tokens_let_in(url: str, key: str) -> None:
    finder = ImageFinder(None, f"{url}/", key)
    for address in (PICTURE, url + PICTURE):
        with finder.pixels(finder.find(address)) as pixels:
            assert np.array_equal(pixels, blobs())


@pytest.mark.parametrize(
    ("key", "address", "text"),
    [
        ("not.the.one", PICTURE, r"cannot log in at .*/api/token/refresh/ .*: check --url and"),
        (None, PICTURE, "cannot fetch .* check --url and --api-key"),
        ("wrong", PICTURE, "cannot fetch .* check --url and --api-key"),
        (LEGACY, "/data/upload/3/b.png", "cannot fetch"),
        (LEGACY, "/text", "/text is not an image"),
        (LEGACY, "http://127.0.0.1:1/a.png", "is not at http://127.0.0.1"),
        (LEGACY, "//169.254.169.254/a.png", "is not at http://127.0.0.1"),
        (LEGACY, "s3://bucket/a.png", "is not at http://127.0.0.1"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    url: str, key: str | None, address: str, text: str
) -> None:
    def fetch() -> None:
        finder = ImageFinder(None, url, key)
        with finder.pixels(finder.find(address)):
            pass

    with pytest.raises((DataError, ImageError), match=text) as caught:
        fetch()
    assert "\n" not in str(caught.value)


def test_a_project_that_is_not_there(url: str) -> None:
    with pytest.raises(DataError, match="/api/projects/4/export"):
        LabelStudioClient(url, PERSONAL).annotated_tasks(4)


@pytest.fixture
def backend(url: str, tmp_path: Path) -> Iterator[LabelStudioBackend]:
    model = FakeModel()
    with Project.open(tmp_path / "p.sqlite") as project:
        learning = Learning(project, model, tmp_path, ("online",))
        store = EmbeddingStore(tmp_path / "cache")
        found = LabelStudioBackend(model, learning, store, ImageFinder(None, url, PERSONAL))
        yield found
        found.close()


def test_training_takes_all_annotations_and_tells_of_broken_ones(
    backend: LabelStudioBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "samadapt"):
        backend.fit_project(3, CONFIG)
        backend.wait()
        backend.fit_project(3, CONFIG)
        backend.wait()
    told = [r.getMessage() for r in caplog.records if r.name.startswith("samadapt.server.label")]
    assert "task 9: the task has no 'image'" in told[0]
    assert told[1] == "Label Studio, training: 2 new objects"
    assert told[3] == "Label Studio, training: 0 new objects"


def test_training_that_cannot_start_is_told(
    backend: LabelStudioBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.fit_project(4, CONFIG)
    backend.wait()
    assert "training: cannot fetch" in caplog.text
