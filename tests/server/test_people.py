"""Several people at one project: nobody is in another's way, and nothing is lost."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from annotator import Annotator, Person, saved, shown

from fakes import FakeModel, blobs
from samadapt.prompts import Prompt
from samadapt.store import claims

DISC, SQUARE = (14, 12), (37, 29)


def test_there_is_no_shared_current_image(annotator: Annotator) -> None:
    first, second, *_ = annotator.ids()
    ann, bob = annotator.person("tab-a", "Ann"), annotator.person("tab-b", "Bob")
    one = ann.click(first, *DISC)
    other = bob.click(second, *SQUARE)
    same = bob.click(first, *SQUARE)
    assert np.array_equal(shown(ann.post(f"/api/images/{first}/open")["current"]), shown(one))
    assert np.array_equal(shown(bob.post(f"/api/images/{second}/open")["current"]), shown(other))
    mine, theirs = ann.accept(first, "key-of-ann"), bob.accept(first, "key-of-bob")
    assert np.array_equal(saved(mine), shown(one))
    assert np.array_equal(saved(theirs), shown(same))
    assert (mine["person"], theirs["person"]) == ("Ann", "Bob")


def test_a_second_person_gets_other_images_or_a_warning(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, _ = annotator.ids()
    ann, bob = annotator.person("tab-a", "Ann"), annotator.person("tab-b", "")
    assert ann.post(f"/api/images/{first}/open")["others"] == []
    assert bob.get("/api/next", unfinished=True)["image"] == second
    assert bob.get("/api/images")["taken"] == {str(first): "Ann"}
    assert bob.post(f"/api/images/{first}/open")["others"] == ["Ann"]
    assert ann.post(f"/api/here/{first}")["others"] == ["somebody"]
    bob.post(f"/api/images/{second}/open")
    assert ann.post(f"/api/here/{first}")["others"] == []
    assert ann.get("/api/next", after=first, unfinished=True)["image"] == third
    bob.post("/api/leave")
    assert ann.get("/api/next", after=first, unfinished=True)["image"] == second
    monkeypatch.setattr(claims, "CLAIM_SECONDS", -1.0)  # nobody renews
    assert bob.post(f"/api/images/{first}/open")["others"] == []


def test_finished_images_are_passed_over_and_the_search_begins_again(annotator: Annotator) -> None:
    first, second, third, fourth = annotator.ids()
    ann = annotator.person()
    for image, mark in ((second, "done"), (third, "skipped")):
        ann.post(f"/api/images/{image}/mark", mark=mark, revision=0)
    assert ann.get("/api/next", after=first, unfinished=True)["image"] == fourth
    assert ann.get("/api/next", after=fourth, unfinished=True)["image"] == first
    assert ann.get("/api/next", after=first)["image"] == second
    assert ann.get("/api/next", after=first, step=-1)["image"] is None
    assert ann.get("/api/next", after=fourth)["image"] is None
    for image in (first, fourth):
        ann.post(f"/api/images/{image}/mark", mark="done", revision=0)
    assert ann.get("/api/next", after=first, unfinished=True)["image"] is None


def test_edits_of_two_people_never_overwrite_each_other(annotator: Annotator) -> None:
    image = annotator.ids()[0]
    ann, bob = annotator.person("tab-a", "Ann"), annotator.person("tab-b", "Bob")
    ann.click(image, *DISC)
    thing = ann.accept(image, "key-of-object")
    for person in (ann, bob):
        person.post(f"/api/images/{image}/edit", object=thing["id"], revision=1)
    ann.click(image, 20, 12)
    better = ann.accept(image, "key-of-ann")
    unsaved = bob.click(image, 8, 12)
    status, text = bob.refused(f"/api/images/{image}/accept", "key-of-bob")
    assert (status, "changed by Ann meanwhile" in text) == (409, True)
    # Nothing is lost on either side.
    now = annotator.project.objects.get(thing["id"])
    assert np.array_equal(now.mask(), saved(better))
    still = bob.post(f"/api/images/{image}/open")["current"]
    assert np.array_equal(shown(still), shown(unsaved))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_names_of_labels_are_texts(annotator: Annotator, name: str) -> None:
    labels = [{"name": name, "colour": "#ff0000"}]
    answer = annotator.person().http.put("/api/labels", json={"labels": labels, "revision": 0})
    assert answer.status_code == 422


def test_a_page_of_another_project_is_turned_away(annotator: Annotator) -> None:
    ann = annotator.person()
    mine = {"x-samadapt-project": ann.get("/api/project")["id"]}
    theirs = {"x-samadapt-project": "0123456789abcdef"}
    for method, path in (("GET", "/api/images"), ("POST", "/api/images/1/click")):
        body = {"x": 14, "y": 12}
        assert ann.http.request(method, path, json=body, headers=mine).status_code == 200
        refused = ann.http.request(method, path, json=body, headers=theirs)
        assert refused.status_code == 421
        assert "another project" in refused.json()["error"]


def test_changes_of_others_are_noticed(annotator: Annotator) -> None:
    image = annotator.ids()[0]
    ann, bob = annotator.person("tab-a", "Ann"), annotator.person("tab-b", "Bob")
    before = bob.post(f"/api/images/{image}/open")["change"]
    ann.click(image, *DISC)
    assert bob.post(f"/api/here/{image}")["change"] == before
    ann.accept(image, "key-of-object")
    assert bob.post(f"/api/here/{image}")["change"] > before
    assert len(bob.get(f"/api/images/{image}/objects")["objects"]) == 1


def test_one_persons_unfinished_object_does_not_answer_another(learner: Annotator) -> None:
    """What clicks on one object teach is for that object alone."""
    image = learner.ids()[0]
    ann, bob = learner.person("tab-a", "Ann"), learner.person("tab-b", "Bob")
    for x in (14, 12, 16):
        ann.click(image, x, 12)
    model = FakeModel()
    found = model.predict(model.encode(blobs()), Prompt([SQUARE]), True)
    assert np.array_equal(shown(bob.click(image, *SQUARE)), found.masks[found.best])


@pytest.mark.parametrize("kind", ["annotator", "learner"])
def test_eight_people_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    server: Annotator = request.getfixturevalue(kind)
    ids = server.ids()
    wrong: list[str] = []
    kept: dict[str, np.ndarray] = {}

    def work(number: int) -> None:
        try:
            person = server.person(f"tab-{number}", f"P{number}")
            _annotate(person, ids, number, kept)
        except Exception as error:
            wrong.append(f"{number}: {error}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    stored = {thing.key: thing.mask() for thing in server.project.objects.all()}
    assert stored.keys() == kept.keys()
    assert all(np.array_equal(stored[key], mask) for key, mask in kept.items())
    numbers = [entry.number for entry in server.project.journal.entries()]
    assert numbers == list(range(1, len(numbers) + 1))


def _annotate(person: Person, ids: list[int], number: int, kept: dict[str, np.ndarray]) -> None:
    for turn in range(2):
        image = ids[(number + turn) % len(ids)]
        person.click(image, *DISC)
        answer = person.click(image, 50, 35, positive=False)
        assert [c[:2] for c in answer["clicks"]] == [list(DISC), [50, 35]]
        key = f"key-{number}-{turn}-x"
        thing = person.accept(image, key)
        kept[key] = shown(answer)
        assert np.array_equal(saved(thing), kept[key])


def test_what_others_change_is_told_once(annotator: Annotator) -> None:
    first, second, *_ = annotator.ids()
    ann, bob = annotator.person("tab-a", "Ann"), annotator.person("tab-b", "Bob")
    number = bob.get("/api/images")["number"]
    assert "images" not in bob.get("/api/changes", after=number, image=first)
    ann.click(first, *DISC)  # a click is nobody else's business
    clicked = bob.get("/api/changes", after=number, image=first)
    assert (clicked["images"], "open" in clicked) == ([], False)
    thing = ann.accept(first, "the-key-of-ann")
    ann.post(f"/api/images/{second}/mark", mark="done", revision=0)
    found = bob.get("/api/changes", after=number, image=first)
    assert [(row[0], row[2], row[3]) for row in found["images"]] == [
        (first, "started", 1),
        (second, "done", 0),
    ]
    assert found["open"] == {"versions": [[thing["id"], 1]], "mark": "", "revision": 0}
    assert "open" not in bob.get("/api/changes", after=number, image=annotator.ids()[-1])
    again = bob.get("/api/changes", after=found["number"], image=first)
    assert "images" not in again


def test_other_peoples_tasks_are_passed_over_and_reviews_found(annotator: Annotator) -> None:
    first, second, third, *_ = annotator.ids()
    ann = annotator.person("tab-a", "Ann")
    ann.post("/api/assign", images=[second], assignee="Bob")
    ann.post(f"/api/images/{third}/review", state="review", revision=0)

    def following(who: Person, **query: bool) -> int | None:
        found: int | None = who.get("/api/next", after=first, **query)["image"]
        return found

    assert following(ann) == second  # leafing through leaves out nothing
    assert following(ann, unfinished=True) not in (second, third)
    assert following(annotator.person("tab-b", "Bob"), unfinished=True) == second
    assert following(ann, review=True) == third
    said = {"state": "returned", "revision": 1, "comment": {"text": "look here", "x": 3, "y": 4}}
    answer = ann.post(f"/api/images/{third}/review", **said)
    assert (answer["state"], answer["mark"]["mark"], answer["comments"][0]["text"]) == (
        "returned", "", "look here",
    )  # fmt: skip
    assert ann.refused(f"/api/images/{third}/review", state="approved", revision=1)[0] == 409
    assert ann.post("/api/comments/1", resolved=True)["comments"][0]["resolved"]
    assert following(ann, review=True) is None
