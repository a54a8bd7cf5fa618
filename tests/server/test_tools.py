"""Bulk changes and mask tools over HTTP: in the project, as one step, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from annotator import SIZE, Annotator, Person, sent

Json = dict[str, object]


@pytest.fixture
def image(annotator: Annotator) -> int:
    return annotator.ids()[0]


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def version(thing: dict[str, int]) -> dict[str, int]:
    return {"id": thing["id"], "revision": thing["revision"]}


@pytest.fixture
def three(ann: Person, image: int) -> list[dict[str, int]]:
    answers = [
        ann.post(f"/api/images/{image}/objects", mask=sent(block(2, k, 12, k + 8)))
        for k in (1, 14, 27)
    ]
    return [version(answer["object"]) for answer in answers]


def stored(annotator: Annotator, image: int) -> dict[int, bytes]:
    return {o.id: o.mask().tobytes() for o in annotator.project.objects.of_image(image)}


def test_bulk_changes_are_one_step_each(
    ann: Person, annotator: Annotator, image: int, three: list[dict[str, int]]
) -> None:
    before = stored(annotator, image)
    path = f"/api/images/{image}"
    gone = ann.post(f"{path}/objects/delete", objects=three[:2])
    assert gone["removed"] == [three[0]["id"], three[1]["id"]]
    assert len(stored(annotator, image)) == 1
    ann.post(f"{path}/undo")
    assert stored(annotator, image) == before
    now = [version(o) for o in ann.get(f"{path}/objects")["objects"]]
    merged = ann.post(f"{path}/objects/merge", objects=now)
    assert len(merged["saved"]) == 1
    assert list(stored(annotator, image)) == [three[0]["id"]]
    ann.post(f"{path}/undo")
    assert stored(annotator, image) == before
    label = annotator.project.labels.named(["cell"], "")["cell"]
    now = [version(o) for o in ann.get(f"{path}/objects")["objects"]]
    named = ann.post(f"{path}/objects/label", objects=now, label=label)
    assert [o["label"] for o in named["saved"]] == [label] * 3


def test_pieces_of_a_split_are_objects_of_the_project(
    ann: Person, annotator: Annotator, image: int, three: list[dict[str, int]]
) -> None:
    before = stored(annotator, image)
    cut = block(7, 0, 8, 40)
    path = f"/api/images/{image}/objects"
    answer = ann.post(f"{path}/split", objects=three, cut=sent(cut))
    assert len(answer["saved"]) == 6
    after = stored(annotator, image)
    assert len(after) == 6
    union = np.any([np.frombuffer(m, np.bool_) for m in after.values()], axis=0)
    assert np.array_equal(union, np.any([np.frombuffer(m, bool) for m in before.values()], axis=0))
    ann.post(f"/api/images/{image}/undo")
    assert stored(annotator, image) == before
    ann.post(f"/api/images/{image}/redo")
    assert stored(annotator, image) == after


def test_what_somebody_else_changed_stops_all_of_it(
    ann: Person, annotator: Annotator, image: int, three: list[dict[str, int]]
) -> None:
    ann.post(f"/api/images/{image}/objects/delete", objects=three[:1])
    before = stored(annotator, image)
    path = f"/api/images/{image}/objects/delete"
    answer = ann.http.post(path, json={"objects": three})
    assert answer.status_code == 409
    assert f"object {three[0]['id']} was changed" in answer.json()["error"]
    assert stored(annotator, image) == before


def test_an_outline_that_was_moved_is_the_mask_and_the_path_follows_the_image(
    ann: Person, annotator: Annotator, image: int, three: list[dict[str, int]]
) -> None:
    path = f"/api/images/{image}/objects"
    (ring,) = ann.post(f"{path}/outline", objects=three[:1])["rings"]
    assert sorted(ring) == [[1, 2], [1, 12], [9, 2], [9, 12]]
    moved = [[x, 20 if y == 12 else y] for x, y in ring]
    ann.post(f"{path}/polygon", objects=three[:1], rings=[moved])
    assert stored(annotator, image)[three[0]["id"]] == block(2, 1, 20, 9).tobytes()
    ann.post(f"/api/images/{image}/undo")
    assert stored(annotator, image)[three[0]["id"]] == block(2, 1, 12, 9).tobytes()
    found = ann.post(f"{path}/path", x0=3, y0=4, x1=20, y1=9)["path"]
    assert (found[0], found[-1]) == ([3.5, 4.5], [20.5, 9.5])
    status, message = ann.refused(f"{path}/outline", objects=three[1:])
    assert status == 409
    assert "select one" in message
