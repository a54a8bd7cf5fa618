"""What is decided about proposals is a step of undo like everything else, and nothing is left of
it twice: labels keep their names, and what was done already is not done again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from annotator import Annotator, Json, Person, sent
from discs import disc_labels, draw_discs
from numpy.typing import NDArray

from fakes import OracleModel
from samadapt.data.rle import Rle
from samadapt.store.events import Attribute
from samadapt.store.objects import NewMask
from samadapt.store.proposals import NewProposal


@pytest.fixture
def labels() -> NDArray[np.int_]:
    """Four discs, (40, 56)."""
    return disc_labels()


@pytest.fixture
def server(tmp_path: Path, labels: NDArray[np.int_]) -> Iterator[Annotator]:
    """Two images of the same discs, all four proposed on the first as `disc`."""
    folder = tmp_path / "pictures"
    draw_discs(folder, labels, 2)
    running = Annotator(folder, tmp_path / "cache", model=OracleModel(labels)).start()
    running.project.labels.named(["disc", "tile"], "")
    found = [
        NewProposal("disc", Rle.from_mask(labels == k), 0.5 + k / 100, (1, 1)) for k in range(1, 5)
    ]
    running.project.proposals.put("a", {running.ids()[0]: found})
    yield running
    running.stop()


def queue(ann: Person) -> list[int]:
    """The numbers of the proposals on the first image, the most doubtful first."""
    numbers = [one["id"] for one in ann.get("/api/images/1/proposals")["proposals"]]
    assert ann.get("/api/proposals")["waiting"] == len(numbers)
    assert ann.get("/api/changes", after=0)["proposals"] == len(numbers)
    assert ann.get("/api/images")["images"][0][9] == len(numbers)
    return numbers


def test_undo_brings_back_what_was_accepted_or_rejected(server: Annotator) -> None:
    ann, objects = server.person(), server.project.objects
    first, second, *others = queue(ann)
    made = ann.post(f"/api/proposals/{first}/accept")["object"]["id"]
    assert ann.post(f"/api/proposals/{second}/reject")["can_undo"]
    assert queue(ann) == others
    assert ann.post("/api/images/1/undo")["waiting"] == [second]
    assert queue(ann) == [second, *others]
    undone = ann.post("/api/images/1/undo")
    assert (undone["waiting"], undone["removed"]) == ([first], [made])
    assert queue(ann) == [first, second, *others]
    # Again, after the server was started again in between.
    assert ann.post("/api/images/1/redo")["saved"][0]["id"] == made
    server.stop()
    server.start()
    ann = server.person()
    assert queue(ann) == [second, *others]
    ann.post("/api/images/1/redo")
    assert queue(ann) == others
    assert [thing.id for thing in objects.all()] == [made]
    assert len(server.project.proposals.rejected(1)) == 1
    assert ann.post("/api/images/1/undo")["waiting"] == [second]
    assert server.project.proposals.rejected(1) == []


def test_all_of_an_image_are_accepted_as_one_step(server: Annotator) -> None:
    ann, bob = server.person(), server.person("tab-two", "Bob")
    numbers = queue(ann)
    bob.post(f"/api/proposals/{numbers[0]}/reject")
    body = {"proposals": numbers}
    answer = ann.post("/api/images/1/proposals/accept", "key-of-all", **body)
    assert (answer["accepted"], len(answer["saved"])) == (3, 3)
    assert ann.post("/api/images/1/proposals/accept", "key-of-all", **body)["accepted"] == 3
    assert {thing.source for thing in server.project.objects.all()} == {"similar"}
    assert queue(ann) == []
    assert ann.refused("/api/images/1/proposals/accept", **body)[0] == 404
    assert sorted(ann.post("/api/images/1/undo")["waiting"]) == sorted(numbers[1:])
    assert (server.project.objects.all(), len(queue(ann))) == ([], 3)
    assert not ann.post("/api/images/1/redo")["waiting"]
    assert (len(server.project.objects.all()), queue(ann)) == (3, [])


def test_several_masks_are_added_as_one_step(server: Annotator, labels: NDArray[np.int_]) -> None:
    ann = server.person()
    masks = [sent(labels == k) for k in (1, 2)]
    answer = ann.post("/api/images/2/objects/add", masks=masks, label=2, source="similar")
    assert answer["accepted"] == 2
    assert {(thing.label_id, thing.source) for thing in server.project.objects.all()} == {
        (2, "similar")
    }
    ann.post("/api/images/2/undo")
    assert server.project.objects.all() == []
    # One that cannot be: none is added.
    outside = {**masks[0], "x": 50}
    assert ann.refused("/api/images/2/objects/add", masks=[masks[1], outside])[0] == 422
    assert server.project.objects.all() == []


def test_a_step_that_somebody_else_decided_about_is_passed_over(server: Annotator) -> None:
    ann, bob = server.person(), server.person("tab-two", "Bob")
    first, second, *_ = queue(ann)
    ann.post(f"/api/proposals/{second}/reject")
    ann.post(f"/api/proposals/{first}/accept")
    ann.post("/api/images/1/undo")
    bob.post(f"/api/proposals/{first}/accept")
    assert ann.refused("/api/images/1/redo")[0] == 404
    assert not ann.post("/api/images/1/open")["can_redo"]
    assert ann.post("/api/images/1/undo")["waiting"] == [second]
    assert ann.refused(f"/api/proposals/{first}/reject")[0] == 404


def test_a_decision_of_somebody_else_leaves_other_steps_alone(server: Annotator) -> None:
    ann, bob = server.person(), server.person("tab-bob")
    first, second, *_ = queue(ann)
    ann.post(f"/api/proposals/{first}/reject")
    ann.post(f"/api/proposals/{second}/reject")
    ann.post("/api/images/1/undo")
    ann.post("/api/images/1/undo")
    bob.post(f"/api/proposals/{first}/reject")
    assert ann.refused("/api/images/1/redo")[0] == 404
    assert ann.post("/api/images/1/redo")["can_redo"] is False
    assert second not in queue(ann)


def test_undo_goes_on_after_a_label_was_removed(server: Annotator) -> None:
    ann = server.person()
    first, *_ = queue(ann)
    thing = ann.post(f"/api/proposals/{first}/accept")["object"]
    disc, tile = thing["label"], server.project.labels.named(["tile"], "")["tile"]
    ann.post(f"/api/objects/{thing['id']}", label=tile, revision=thing["revision"])
    labels, revision = server.project.labels.all()
    kept = [label for label in labels if label.id != disc]
    server.project.labels.set(kept, revision, "")
    undone = ann.post("/api/images/1/undo")
    assert undone["saved"][0]["label"] == disc
    assert disc in {label.id for label in server.project.labels.all()[0]}
    assert ann.post("/api/images/1/undo")["waiting"] == [first]


def test_what_an_object_covers_does_not_wait_until_it_is_deleted(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    ann = server.person()
    first, *others = queue(ann)
    thing = server.project.objects.add(NewMask(1, Rle.from_mask(labels == 1), 1), "")
    assert queue(ann) == others
    assert ann.get("/api/proposals/next")["waiting"] == 3
    assert ann.get("/api/proposals/counts")["counts"] == {"1": 3}
    server.project.objects.delete(thing.id, 1, "")
    assert queue(ann) == [first, *others]


def test_a_label_keeps_its_new_name_whatever_waits_under_the_old(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    ann, project = server.person(), server.project
    known, revision = project.labels.all()
    swapped = [
        known[0].model_copy(update={"name": "tile"}),
        known[1].model_copy(update={"name": "disc"}),
    ]
    project.labels.set(swapped, revision, "ann")
    first, second, *_ = queue(ann)
    assert {one["label"] for one in ann.get("/api/images/1/proposals")["proposals"]} == {"tile"}
    assert ann.post(f"/api/proposals/{first}/accept")["object"]["label"] == 1
    plain = [swapped[0].model_copy(update={"name": "plate"}), swapped[1]]
    project.labels.set(plain, revision + 1, "ann")
    # What comes later under an old name (a task keeps its own) gets the new one, too.
    late = NewProposal("tile", Rle.from_mask(labels == 4), 0.9, (1, 1))
    project.proposals.put("task", {2: [late]})
    assert project.proposals.waiting(2)[0].proposal.label == "plate"
    # Merged: they follow; taken back: they come back.
    merged = ann.post("/api/labels/1/merge", into=2, revision=revision + 2)
    assert {one["label"] for one in ann.get("/api/images/1/proposals")["proposals"]} == {"disc"}
    back = {"objects": merged["objects"], "proposals": merged["proposals"]}
    ann.post("/api/labels/1/unmerge", **back)
    assert {one["label"] for one in ann.get("/api/images/1/proposals")["proposals"]} == {"plate"}
    ann.post(f"/api/proposals/{second}/accept")
    assert [label.name for label in project.labels.all()[0]] == ["disc", "plate"]


def test_what_was_done_already_is_no_second_step(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    ann = server.person()
    made = ann.post("/api/images/1/objects", mask=sent(labels == 1), label=1)["object"]["id"]
    for _ in range(2):
        assert ann.post(f"/api/objects/{made}", revision=1, label=2)["object"]["revision"] == 2
    for _ in range(2):
        assert ann.post(f"/api/objects/{made}/delete", revision=2)["object"]["revision"] == 3
    assert ann.post("/api/images/1/undo")["saved"][0]["label"] == 2
    assert ann.post("/api/images/1/undo")["saved"][0]["label"] == 1
    assert ann.post("/api/images/1/undo")["removed"] == [made]
    assert not ann.post("/api/images/1/open")["can_undo"]


def test_attributes_and_tags_of_two_people_do_not_meet(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    ann, bob = server.person(), server.person("tab-two", "Bob")
    known, revision = server.project.labels.all()
    attributes = (Attribute(name="worn", kind="flag"), Attribute(name="remark"))
    described = known[0].model_copy(update={"attributes": attributes})
    server.project.labels.set([described, known[1]], revision, "")
    made = ann.post("/api/images/1/objects", mask=sent(labels == 1), label=1)["object"]["id"]

    def patch(person: Person, path: str, **body: object) -> Json:
        answer = person.http.patch(path, json=body)
        return {"status": answer.status_code, **answer.json()}

    place = f"/api/objects/{made}/attributes"
    patch(ann, place, attributes={"worn": True})
    assert patch(bob, place, attributes={"remark": "old"})["attributes"] == {
        "worn": True,
        "remark": "old",
    }
    assert patch(ann, place, attributes={"worn": None})["attributes"] == {"remark": "old"}
    assert patch(ann, place, attributes={"remark": "a\x1b[2J"})["status"] == 422
    patch(ann, "/api/images/1/tags", add=["night"])
    patch(bob, "/api/images/1/tags", add=["dawn"])
    assert patch(ann, "/api/images/1/tags", remove=["night"])["tags"] == ["dawn"]


def test_no_route_answers_for_an_image_that_is_not_there(server: Annotator) -> None:
    ann = server.person()
    paths = server.app.openapi()["paths"]
    asked = 0
    for path, methods in paths.items():
        if "{image_id}" in path and "get" in methods:
            answer = ann.http.get(path.format(image_id=2147483647, step=1, column=0, row=0))
            assert answer.status_code == 404, path
            assert "no image 2147483647" in answer.json()["error"]
            asked += 1
    assert asked > 5
    status, text = ann.refused("/api/images/1/comments", text="here", x=57, y=3)
    assert (status, "inside the image" in text) == (422, True)


def test_nobody_is_at_an_image_any_more_who_left_or_was_there_before_the_start(
    server: Annotator,
) -> None:
    ann, bob = server.person(), server.person("tab-two", "Bob")
    bob.post("/api/images/1/open")
    assert ann.post("/api/images/1/open")["others"] == ["Bob"]
    assert ann.get("/api/changes", image=1)["others"] == ["Bob"]
    bob.post("/api/leave")
    found = ann.get("/api/changes", image=1)
    assert (found["others"], found["taken"]) == ([], {})
    bob.post("/api/images/1/open")
    server.stop()
    server.start()
    assert server.person().get("/api/changes", image=1)["others"] == []
