"""Through the page's requests: nothing is answered "saved" that is not, and exports never lock."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from annotator import Annotator, sent
from PIL import Image

from samadapt.store.projects import project_file
from samadapt.store.recovery import examine


def square() -> np.ndarray:
    mask = np.zeros((40, 56), np.bool_)
    mask[5:12, 6:20] = True
    return mask


def test_an_accept_into_a_removed_file_is_not_confirmed_and_comes_back(
    annotator: Annotator, folder: Path
) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    ann.click(image, 14, 12)
    first = ann.accept(image, "key-number-one")
    ann.click(image, 37, 29)
    project_file(folder).unlink()
    status, message = ann.refused(f"/api/images/{image}/accept", "key-number-two")
    assert status == 507
    assert "samadapt.sqlite was removed while it was in use" in message
    assert "samadapt doctor" in message
    assert ann.refused(f"/api/images/{image}/click", x=1, y=1)[0] == 507
    annotator.stop()
    found = examine(str(project_file(folder)))
    assert (found.is_whole, found.lost) == (True, 0)
    annotator.start()
    bob = annotator.person()
    things = bob.get(f"/api/images/{image}/objects")["objects"]
    assert [thing["key"] for thing in things] == [first["key"]]
    bob.click(image, 37, 29)
    assert bob.accept(image, "key-number-two")["id"] == first["id"] + 1


def test_a_key_of_one_image_does_not_answer_for_another(annotator: Annotator) -> None:
    ann, (one, two, *_) = annotator.person(), annotator.ids()
    ann.click(one, 14, 12)
    ann.accept(one, "the-same-key")
    for path, more in (("accept", {}), ("objects", {"mask": sent(square())})):
        ann = annotator.person(f"tab-for-{path}")
        ann.click(two, 14, 12)
        status, message = ann.refused(f"/api/images/{two}/{path}", key="the-same-key", **more)
        assert (status, "another image" in message) == (409, True)
    assert ann.get(f"/api/images/{two}/objects")["objects"] == []


def test_a_removed_label_is_refused_and_the_mask_stays(annotator: Annotator) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    label = annotator.project.labels.named(["cell"], "")["cell"]
    ann.click(image, 14, 12)
    annotator.project.labels.set([], 1, "bob")
    status, message = ann.refused(f"/api/images/{image}/accept", key="with-label", label=label)
    assert (status, "no label 1" in message) == (404, True)
    assert ann.post(f"/api/images/{image}/open")["current"] is not None
    assert ann.accept(image, "without-label")["label"] is None


def test_an_export_names_what_it_cannot_hold(annotator: Annotator, folder: Path) -> None:
    ann, (one, two, *_) = annotator.person(), annotator.ids()
    for image, key in ((one, "stale-object"), (two, "other-object")):
        ann.post(f"/api/images/{image}/objects", key=key, mask=sent(square()))
    Image.new("RGB", (128, 96)).save(folder / "a 1.png")
    document = ann.get("/api/export", format="coco")
    assert len(document["annotations"]) == 1
    (line,) = document["info"]["samadapt_left_out"]
    assert line.startswith("a 1.png, object 1: drawn on 56 x 40 pixels")
    answer = ann.http.get("/api/export", params={"format": "yolo"})
    assert answer.headers["x-samadapt-left-out"] == "1"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("left-out.txt").decode() == f"{line}\n"
