from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from annotator import SIZE, TOKEN
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.adapters.base import Interaction
from samadapt.adapters.online import OnlineAdapter
from samadapt.data.label_studio import brush_to_mask, mask_to_brush
from samadapt.errors import DataError
from samadapt.prompts import Box, Click, Prompt
from samadapt.server import run
from samadapt.server.label_studio import LabelStudioBackend
from samadapt.server.label_studio_app import create_label_studio_app
from samadapt.server.label_studio_images import ImageFinder
from samadapt.server.label_studio_prompts import Said, read_prompts, read_tags
from samadapt.server.learning import Learning
from samadapt.server.security import Guard
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project

CONFIG = """<View>
  <Image name="picture" value="$photo"/>
  <BrushLabels name="mask" toName="picture">
    <Label value="Disc"/><Label value="Square"/>
  </BrushLabels>
  <KeyPointLabels name="point" toName="picture" smart="true"><Label value="Disc"/></KeyPointLabels>
  <RectangleLabels name="box" toName="picture" smart="true"><Label value="Disc"/></RectangleLabels>
</View>"""
TASK = {"id": 5, "data": {"photo": "/data/local-files/?d=a.png"}}


# -- the masks ------------------------------------------------------------------------------


def decoded(rle: list[int]) -> list[int]:
    """The values of a brush, read character by character."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, width = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeats, length = take(1), 0
        length = take(widths[take(2)]) + 1
        values += [take(width)] * length if repeats else [take(width) for _ in range(length)]
    return values


@given(st.integers(0, 2**30 - 1), st.integers(1, 15))
def test_brushes_give_back_every_pixel(bits: int, width: int) -> None:
    height = 30 // width
    flat = np.array([bits >> k & 1 for k in range(height * width)], np.bool_)
    mask = flat.reshape(height, width)
    rle = mask_to_brush(mask)
    assert decoded(rle) == [255 * int(v) for v in flat for _ in range(4)]
    assert np.array_equal(brush_to_mask(rle, mask.shape), mask)


def test_long_runs_are_cut() -> None:
    mask = np.zeros((300, 400), np.bool_)
    mask[100:200] = True
    assert np.array_equal(brush_to_mask(mask_to_brush(mask), mask.shape), mask)


def test_single_values_of_other_writers_are_read() -> None:
    # One pixel of the values 0, 0, 0, 255, none of them as a run.
    bits = f"{4:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    bits += "0" + "00" + "011" + "00000000" * 3 + "11111111"
    bits += "0" * (-len(bits) % 8)
    rle = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert brush_to_mask(rle, (1, 1)).tolist() == [[True]]


@pytest.mark.parametrize("rle", [[], [1, 2], [300], ["x"], [0] * 20, [0, 0, 0, 4, 57, 35, 127]])
def test_broken_brushes_are_refused(rle: list[Any]) -> None:
    with pytest.raises(DataError):
        brush_to_mask(rle, (1, 1))


# -- the back end -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    Image.fromarray(blobs()).save(place / "a.png")
    return place


@pytest.fixture
def studio(folder: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """What Label Studio sees, at a real server."""
    model = FakeModel()
    (tmp_path / "out").mkdir()
    with (
        Project.open(tmp_path / "out" / "p.sqlite") as project,
        run.listen("127.0.0.1", 0) as listener,
    ):
        learning = Learning(project, model, tmp_path / "out", ("online",))
        store = EmbeddingStore(tmp_path / "cache")
        backend = LabelStudioBackend(model, learning, store, ImageFinder(folder, None, None))
        port = listener.getsockname()[1]
        app = create_label_studio_app(backend, Guard(TOKEN, port), patience=60)
        server = run.Server(run.configured(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", auth=("samadapt", TOKEN), timeout=60
        ) as client:
            while not server.started:
                threading.Event().wait(0.005)
            client.learning = learning  # type: ignore[attr-defined]
            client.backend = backend  # type: ignore[attr-defined]
            yield client
        server.should_exit = True
        thread.join(timeout=20)


def point(x: float, y: float, positive: bool = True) -> dict[str, Any]:
    return {
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "picture",
        "original_width": SIZE[1],
        "original_height": SIZE[0],
        "is_positive": int(positive),
        "value": {"x": 100 * x / SIZE[1], "y": 100 * y / SIZE[0], "keypointlabels": ["Disc"]},
    }


def predicted(studio: httpx.Client, *results: dict[str, Any]) -> dict[str, Any]:
    body = {
        "tasks": [TASK],
        "label_config": CONFIG,
        "params": {"context": {"result": list(results)}},
    }
    answer = studio.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["results"]
    return dict(found)


def test_clicks_are_answered_with_brushes(
    studio: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the first click teaches reaches the second one or not, as time allows.
    monkeypatch.setattr(OnlineAdapter, "on_click", lambda *_: None)
    found = predicted(studio, point(14, 12), point(50, 35, positive=False))
    (brush,) = found["result"]
    assert (brush["from_name"], brush["to_name"], brush["type"]) == (
        "mask",
        "picture",
        "brushlabels",
    )
    assert brush["value"]["brushlabels"] == ["Disc"]
    assert (brush["original_width"], brush["original_height"]) == (56, 40)
    model = FakeModel()
    embedding = model.encode(blobs())
    first = model.predict(embedding, Prompt([(14, 12)]), True)
    both = Prompt([(14, 12), (50, 35)], [1, 0], mask=first.logits[first.best])
    expected = model.predict(embedding, both).masks[0]
    assert np.array_equal(brush_to_mask(brush["value"]["rle"], SIZE), expected)


def test_boxes_too(studio: httpx.Client) -> None:
    box = point(4, 2) | {"type": "rectanglelabels"}
    corner = box["value"]
    box["value"] = {
        **{k: corner[k] for k in ("x", "y")},
        "width": 100 * 21 / SIZE[1],
        "height": 100 * 21 / SIZE[0],
        "rectanglelabels": ["Disc"],
    }
    (brush,) = predicted(studio, box)["result"]
    model = FakeModel()
    expected = model.predict(model.encode(blobs()), Prompt(box=(4, 2, 25, 23))).masks[0]
    assert np.array_equal(brush_to_mask(brush["value"]["rle"], SIZE), expected)


def test_without_prompts_there_is_nothing(studio: httpx.Client) -> None:
    assert predicted(studio)["result"] == []


def test_tasks_without_prompts_get_no_empty_predictions(studio: httpx.Client) -> None:
    body = {"tasks": [TASK, TASK], "label_config": CONFIG, "params": {"context": None}}
    assert studio.post("/predict", json=body).json() == {"results": [[], []]}


def test_it_learns_from_what_is_submitted_once(studio: httpx.Client) -> None:
    found = predicted(studio, point(14, 12))
    annotation = {"id": 1, "result": found["result"]}
    body = {
        "action": "ANNOTATION_CREATED",
        "task": TASK,
        "annotation": annotation,
        "project": {"label_config": CONFIG},
    }
    assert studio.post("/webhook", json=body).json()["learned"] == 1
    again = body | {"action": "ANNOTATION_UPDATED"}
    assert studio.post("/webhook", json=again).json()["learned"] == 0
    assert studio.post("/webhook", json=body | {"action": "PROJECT_UPDATED"}).json()["learned"] == 0
    (adapter,) = studio.learning.adapters  # type: ignore[attr-defined]
    adapter.wait(20)
    assert adapter.objects_learned == 1
    assert studio.get("/health").json()["model_version"] == "samadapt-fake-1"
    assert list(studio.learning.folder.glob("current/*/adapter_config.json"))  # type: ignore[attr-defined]


def test_a_mask_without_prompts_is_learned_from_a_simulated_click(studio: httpx.Client) -> None:
    mask = np.zeros(SIZE, np.bool_)
    mask[22:36, 30:46] = True
    brush = {
        "type": "brushlabels",
        "value": {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": ["Square"]},
    }
    body = {"annotations": [{**TASK, "annotations": [{"result": [brush]}]}], "label_config": CONFIG}
    assert studio.post("/train", json=body).json()["learned"] == 1


def brush(rows: slice, columns: slice, label: str = "Disc") -> dict[str, Any]:
    mask = np.zeros(SIZE, np.bool_)
    mask[rows, columns] = True
    value = {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": [label]}
    return {"type": "brushlabels", "value": value}


def created(tasks: Any, annotations: Any) -> dict[str, Any]:
    return {
        "action": "ANNOTATIONS_CREATED",
        "task": tasks,
        "annotation": annotations,
        "project": {"id": 3, "label_config": CONFIG},
    }


def test_several_annotations_come_with_their_tasks(studio: httpx.Client) -> None:
    two = [{"result": [brush(slice(5), slice(9))]}, {"result": [brush(slice(9), slice(5))]}]
    answer = studio.post("/webhook", json=created([TASK, TASK | {"id": 6}], two))
    assert answer.json()["learned"] == 2
    answer = studio.post("/webhook", json=created([TASK, TASK, TASK], two))
    assert (answer.status_code, "3 tasks and 2" in answer.json()["error"]) == (400, True)


def test_each_object_is_learned_with_its_own_prompts(
    studio: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[list[tuple[float, float, bool]]] = []

    def accept(self: OnlineAdapter, interaction: Interaction, mask: Any) -> None:
        accepted.append([(round(c.x, 6), round(c.y, 6), c.positive) for c in interaction.clicks])

    monkeypatch.setattr(OnlineAdapter, "on_accept", accept)
    predicted(studio, point(4, 2))
    predicted(studio, point(40, 30), point(4, 2, positive=False))
    annotation = {
        "result": [
            brush(slice(0, 5), slice(0, 9)),
            brush(slice(25, 35), slice(35, 45)),
            brush(slice(20, 23), slice(20, 23)),
        ]
    }
    assert studio.post("/webhook", json=created(TASK, annotation)).json()["learned"] == 3
    assert accepted == [
        [(4, 2, True)],
        [(40, 30, True), (4, 2, False)],
        [(21.5, 21.5, True)],
    ]


def test_prompts_are_about_the_object_that_they_fit() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[2:6, 2:6] = True
    inside, outside = Click(3, 3), Click(8, 8, positive=False)
    said = Said((inside, outside, Click(9, 9), Click(4, 4, positive=False)), None, "Disc")
    assert said.about(mask) == Said((inside, outside), None, "Disc")
    assert Said((outside,), None, "Disc").about(mask) is None
    # Boxes around 4 x 4 pixels: 4 x 8 has half in common, 4 x 9 less.
    assert Said((), Box(2, 2, 10, 6), "Disc").about(mask) is not None
    assert Said((), Box(1, 2, 10, 6), "Disc").about(mask) is None
    assert Said((), Box(2, 2, 10, 6), "Disc").about(np.zeros_like(mask)) is None


def test_starting_to_train_needs_label_studio(studio: httpx.Client) -> None:
    project = {"id": 3, "label_config": CONFIG}
    body = {"action": "START_TRAINING", "project": project}
    answer = studio.post("/webhook", json=body)
    assert (answer.status_code, "--api-key" in answer.json()["error"]) == (400, True)
    answer = studio.post("/webhook", json={"action": "START_TRAINING"})
    assert (answer.status_code, "no project" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"label_config": "<View/>"}, "needs <Image> and <BrushLabels>"),
        ({"label_config": "<View"}, "not XML"),
        ({"label_config": "<!DOCTYPE x><View/>"}, "document type"),
        ({"tasks": [{"data": {"photo": "/data/local-files/?d=../../etc/passwd"}}]}, "--images"),
        ({"tasks": [{"data": {"photo": "http://169.254.169.254/latest"}}]}, "--images"),
        ({"tasks": [{"data": {}}]}, "no 'photo'"),
        ({"params": {"context": {"result": [point(500, 1)]}}}, "outside the image"),
        ({"params": {"context": {"result": [{"type": "keypoint", "value": {}}]}}}, "incomplete"),
    ],
)
def test_what_cannot_be_is_said(studio: httpx.Client, change: dict[str, Any], text: str) -> None:
    body = {
        "tasks": [TASK],
        "label_config": CONFIG,
        "params": {"context": {"result": [point(14, 12)]}},
    }
    answer = studio.post("/predict", json=body | change)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_a_password_is_needed(studio: httpx.Client) -> None:
    for path in ("/", "/health", "/predict", "/webhook", "/setup"):
        assert httpx.get(str(studio.base_url.join(path))).status_code == 401
    wrong = base64.b64encode(b"samadapt:wrong").decode()
    headers = {"authorization": f"Basic {wrong}"}
    assert httpx.get(str(studio.base_url.join("/health")), headers=headers).status_code == 401


def test_label_studio_does_not_wait_for_learning(
    studio: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    backend: LabelStudioBackend = studio.backend  # type: ignore[attr-defined]
    app = create_label_studio_app(backend, Guard(TOKEN, 80), patience=0.01)
    held = threading.Event()
    backend.later(lambda: int(held.wait(20)))
    good = {"result": [brush(slice(5), slice(9))]}
    client = TestClient(app, "http://localhost", headers={"authorization": f"Bearer {TOKEN}"})
    answers = [
        client.post("/webhook", json=created(task, good)) for task in (TASK, {"id": 1, "data": {}})
    ]
    held.set()
    backend.wait()
    assert [a.status_code for a in answers] == [200, 200]
    assert not any("learned" in a.json() for a in answers)
    assert studio.post("/webhook", json=created(TASK, good)).json()["learned"] == 0
    assert "/webhook: the task has no 'photo'" in caplog.text


def test_the_password_may_be_in_the_address(studio: httpx.Client) -> None:
    # Label Studio calls its webhook at the model's address, without the basic login.
    address = str(studio.base_url).replace("://", f"://samadapt:{TOKEN}@")
    body = created(TASK, {"result": [brush(slice(5), slice(9))]})
    assert httpx.post(f"{address}/webhook", json=body, timeout=60).json()["learned"] == 1


def test_refusals_are_told_at_the_terminal(
    studio: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    studio.post("/predict", json={"tasks": [TASK], "params": {"context": {"result": [1]}}})
    httpx.post(str(studio.base_url.join("/webhook")), json={})
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "Label Studio, /predict",
        "Label Studio, /webhook",
    ]
    assert "needs <Image> and <BrushLabels>" in caplog.text
    assert "no password, or another one" in caplog.text


def _box(**changes: Any) -> dict[str, Any]:
    """A box of 16 x 10 pixels at (8, 4) in an image of 80 x 40, or a change of it."""
    value = {"x": 10, "y": 10, "width": 20, "height": 25, "rectanglelabels": ["Disc"]}
    whole = {"type": "rectanglelabels", "original_width": 80, "original_height": 40}
    return {**whole, "image_rotation": changes.pop("view", 0), "value": {**value, **changes}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (8, 4, 24, 14)),
        ({"rotation": 90, "x": 50}, (30, 4, 40, 20)),  # about its top-left corner (40, 4)
        ({"rotation": 45, "x": 50}, (40 - 10 / 2**0.5, 4, 40 + 16 / 2**0.5, 4 + 26 / 2**0.5)),
        ({"rotation": 90}, (0, 4, 8, 20)),  # partly outside
        # Seen turned, the image is 40 x 80: the box is 8 x 20 at (4, 8) there.
        ({"view": 90}, (8, 28, 28, 36)),
        ({"view": 270}, (52, 4, 72, 12)),
        ({"view": 180}, (56, 26, 72, 36)),
        ({"view": -90}, (52, 4, 72, 12)),
    ],
)
def test_turned_boxes_and_images(changes: dict[str, Any], expected: tuple[float, ...]) -> None:
    said = read_prompts([_box(**changes)], read_tags(CONFIG))
    assert said is not None
    assert said.box is not None
    assert said.box.as_tuple() == pytest.approx(expected)


def test_clicks_on_a_turned_image() -> None:
    click = {
        "type": "keypointlabels",
        "original_width": 80,
        "original_height": 40,
        "image_rotation": 90,
        "value": {"x": 10, "y": 25, "width": 0.5, "keypointlabels": ["Disc"]},
    }
    said = read_prompts([click], read_tags(CONFIG))
    assert said is not None
    # (4, 20) of 40 x 80 as seen.
    assert (said.clicks[0].x, said.clicks[0].y) == pytest.approx((20, 36))
    with pytest.raises(DataError, match="turned by 45 degrees"):
        read_prompts([{**click, "image_rotation": 45}], read_tags(CONFIG))


def test_names_come_from_the_configuration() -> None:
    tags = read_tags(CONFIG)
    assert (tags.image, tags.field, tags.brush) == ("picture", "photo", "mask")
    assert tags.labels == ("Disc", "Square")
