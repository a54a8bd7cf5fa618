"""Our back end at a real Label Studio server: it asks, we answer, it stores, we learn.

`.ci/label-studio PYTHON COMMAND...` starts one for as long as the command runs.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from fakes import blobs
from samadapt.data.label_studio import brush_to_mask
from samadapt.server import run
from samadapt.server.label_studio import LabelStudioBackend
from samadapt.server.label_studio_app import create_label_studio_app
from samadapt.server.label_studio_images import ImageFinder
from samadapt.server.learning import Learning
from samadapt.server.security import Guard
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project
from tiny_dataset import label_map, oracle

ADDRESS, KEY = "SAMADAPT_TEST_LABEL_STUDIO", "SAMADAPT_TEST_LABEL_STUDIO_TOKEN"
PASSWORD = "a-secret-for-tests"  # noqa: S105
HEIGHT, WIDTH = label_map().shape
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image"><Label value="Disc"/><Label value="Square"/></BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true">
    <Label value="Disc" smart="true"/><Label value="Square" smart="true"/>
  </KeyPointLabels>
</View>"""

pytestmark = pytest.mark.skipif(
    ADDRESS not in os.environ,
    reason=f"no Label Studio: run this with .ci/label-studio, or set {ADDRESS} and {KEY}",
)


class Studio:
    """Label Studio's own interface, as its page and scripts use it."""

    def __init__(self) -> None:
        login = {"authorization": f"Token {os.environ[KEY]}"}
        self.http = httpx.Client(base_url=os.environ[ADDRESS], headers=login, timeout=120)

    def post(self, path: str, **more: Any) -> Any:
        answer = self.http.post(path, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str, **query: Any) -> httpx.Response:
        answer = self.http.get(path, params=query)
        assert answer.is_success, answer.text
        return answer


@pytest.fixture
def studio() -> Iterator[Studio]:
    made = Studio()
    yield made
    made.http.close()


@pytest.fixture
def learning(tmp_path: Path) -> Iterator[Learning]:
    with Project.open(tmp_path / "p.sqlite") as project:
        yield Learning(project, oracle(), tmp_path / "adapters", ("online",))


@pytest.fixture
def backend(tmp_path: Path, learning: Learning) -> Iterator[str]:
    """Address of a back end that fetches images from Label Studio; it knows every object."""
    finder = ImageFinder(None, os.environ[ADDRESS], os.environ[KEY])
    served = LabelStudioBackend(oracle(), learning, EmbeddingStore(tmp_path / "cache"), finder)
    with run.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        app = create_label_studio_app(served, Guard(PASSWORD, port), patience=60)
        server = run.Server(run.configured(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            threading.Event().wait(0.01)
        yield f"http://samadapt:{PASSWORD}@127.0.0.1:{port}"
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def project(studio: Studio, backend: str) -> Iterator[int]:
    """A project with one uploaded picture, connected to the back end."""
    made = studio.post("/api/projects", json={"title": "discs", "label_config": CONFIG})
    number = int(made["id"])
    content = io.BytesIO()
    Image.fromarray(blobs(HEIGHT, WIDTH)).save(content, "PNG")
    files = {"file": ("picture.png", content.getvalue(), "image/png")}
    studio.post(f"/api/projects/{number}/import", files=files)
    yield number
    studio.http.delete(f"/api/projects/{number}")


def point(x: float, y: float, label: str) -> dict[str, Any]:
    return {
        "id": "point-1",
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "is_positive": True,
        "value": {
            "x": 100 * x / WIDTH,
            "y": 100 * y / HEIGHT,
            "width": 1,
            "keypointlabels": [label],
        },
    }


def test_a_click_is_answered_accepted_decoded_and_learned(
    studio: Studio, backend: str, project: int, learning: Learning
) -> None:
    connected = {"project": project, "url": backend, "title": "samadapt", "is_interactive": True}
    connection = studio.post("/api/ml", json=connected)
    assert connection["state"] == "CO", connection  # Label Studio's word for connected
    (task,) = studio.get("/api/tasks", project=project).json()["tasks"]

    asked = {"task": task["id"], "context": {"result": [point(14.5, 12.5, "Disc")]}}
    answer = studio.post(f"/api/ml/{connection['id']}/interactive-annotating", json=asked)
    assert not answer.get("errors"), answer
    (brush,) = answer["data"]["result"]
    assert brush["type"] == "brushlabels"
    assert brush["value"]["brushlabels"] == ["Disc"]
    mask = brush_to_mask(brush["value"]["rle"], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(mask, label_map() == 1)

    sent = {"result": [brush], "lead_time": 1.0}
    studio.post(f"/api/tasks/{task['id']}/annotations", json=sent)
    exported = studio.get(f"/api/projects/{project}/export", exportType="BRUSH_TO_NUMPY")
    stored = np.load(io.BytesIO(exported.content))  # decoded by Label Studio itself
    np.testing.assert_array_equal(stored > 0, label_map() == 1)

    (adapter,) = learning.adapters
    for _ in range(600):  # the webhook comes when it comes, and learning goes on after it
        if adapter.report().objects:
            break
        threading.Event().wait(0.1)
    assert adapter.report().objects == 1


def test_why_a_click_cannot_be_answered_is_logged(
    studio: Studio, backend: str, project: int, caplog: pytest.LogCaptureFixture
) -> None:
    connected = {"project": project, "url": backend, "title": "samadapt", "is_interactive": True}
    connection = studio.post("/api/ml", json=connected)
    (task,) = studio.get("/api/tasks", project=project).json()["tasks"]
    asked = {"task": task["id"], "context": {"result": [point(WIDTH + 9, 5, "Disc")]}}
    answer = studio.post(f"/api/ml/{connection['id']}/interactive-annotating", json=asked)
    assert answer["errors"]
    assert any("outside the image" in record.getMessage() for record in caplog.records)
