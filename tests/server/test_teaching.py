"""A task taught from the labels of the project, and annotations of any format sent by the page."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from annotator import Annotator, Json, Person

from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.server import unpacking
from samadapt.server.unpacking import unpacked
from samadapt.store.objects import NewMask


def finished(ann: Person, path: str) -> Json:
    deadline = time.monotonic() + 120
    while True:
        found = ann.get(path)
        if not found.get("run", found)["running"]:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_task_is_taught_and_proposes_on_other_images(annotator: Annotator) -> None:
    ann, (first, second, *_) = annotator.person(), annotator.ids()
    number = annotator.project.labels.named(["disc"], "")["disc"]
    assert "accept 3 or more" in ann.refused("/api/teaching", label="disc", steps=2)[1]
    assert "no label of this name" in ann.refused("/api/teaching", label="none", steps=2)[1]
    for image in (first, second):
        for left in (4, 24):
            mask = np.zeros((40, 56), np.bool_)
            mask[5:19, left : left + 14] = True
            annotator.project.objects.add(NewMask(image, Rle.from_mask(mask), number), "")
    spec = annotator.model.spec
    annotator.model.spec = replace(spec, takes_adapters=False)
    status, text = ann.refused("/api/teaching", label="disc", steps=2)
    assert (status, "fake is an exported model, which cannot be taught" in text) == (422, True)
    assert not ann.get("/api/teaching")["running"]
    annotator.model.spec = spec
    ann.post("/api/teaching", label="disc", steps=2)
    found = finished(ann, "/api/teaching")
    assert (found["problem"], found["spec"]) == ("", "task:disc-1")
    assert (found["step"], found["steps"]) == (2, 2)
    # It is an entry of the list of adapters, and looks at all images.
    choices = {one["spec"]: one["text"] for one in ann.get("/api/learning")["choices"]}
    assert choices["task:disc-1"] == "task disc"
    assert choices["online:clicks"].startswith("online:clicks: like schoen-fast, ")
    assert ann.get("/api/proposals")["tasks"] == [{"spec": "task:disc-1", "name": "disc"}]
    assert ann.post("/api/learning/adapter", adapter="task:disc-1")["adapter"] == "task:disc-1"
    ann.post("/api/proposals/run", task="task:disc-1")
    run = finished(ann, "/api/proposals")["run"]
    assert (run["looked"], run["failed"], run["problem"]) == (len(annotator.ids()), 0, "")


def archive(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def test_a_zip_of_labelme_files_is_imported(annotator: Annotator) -> None:
    ann = annotator.person()
    shape = {
        "label": "tile",
        "points": [[5, 5], [25, 5], [25, 20], [5, 20]],
        "shape_type": "polygon",
    }
    entries = annotator.project.images.entries()[:2]
    files: dict[str, str | bytes] = {
        f"work/{Path(e.name).stem}.json": json.dumps(
            {"imagePath": e.name, "imageHeight": 40, "imageWidth": 56, "shapes": [shape]}
        )
        for e in entries
    }
    files["work/broken.json"] = "{"
    answer = ann.http.post("/api/import?name=labels.zip", content=archive(files)).json()
    assert answer["added"] == 2
    assert any("broken.json" in line for line in answer["left_out"])
    assert str(annotator.folder.parent) not in json.dumps(answer)
    assert {o.image_id for o in annotator.project.objects.all()} == {e.id for e in entries}


@pytest.mark.parametrize("name", ["../out.json", "/out.json", "a/../../out.json", "C:/x.json"])
def test_an_archive_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in.zip"
    path.write_bytes(archive({"good.json": "{}", name: "{}"}))
    with pytest.raises(DataError, match="outside of it"):
        unpacked(path, "in.zip", tmp_path / "files")
    assert not (tmp_path / "out.json").exists()


def test_an_archive_that_grows_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1 << 20)
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.json", " " * (2 << 20))
    with pytest.raises(DataError, match="more than 1 MB"):
        unpacked(path, "in.zip", tmp_path / "files")
