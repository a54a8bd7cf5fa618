"""The same request again, with its idempotency key, does nothing twice; undo is one stack."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from annotator import SIZE, Annotator, saved, shown

from samadapt.server import idempotency
from samadapt.store.errors import FullError


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[rows, columns] = True
    return mask


def test_a_repeated_click_is_one_click(annotator: Annotator) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    path = f"/api/images/{image}/click"
    first = ann.post(path, "key-of-click", x=14, y=12)
    assert ann.post(path, "key-of-click", x=14, y=12) == first
    # Another client's key of the same name is another one.
    assert len(annotator.person("tab-two").post(path, "key-of-click", x=37, y=29)["clicks"]) == 1
    status, text = ann.refused(f"/api/images/{image}/undo", "key-of-click")
    assert (status, "used for another request" in text) == (422, True)
    # Also when the server was started again in between.
    annotator.stop()
    annotator.start()
    again = annotator.person().post(path, "key-of-click", x=14, y=12)
    assert again["clicks"] == first["clicks"]
    assert np.array_equal(shown(again), shown(first))


def test_what_matches_no_pattern_is_refused_in_plain_words(annotator: Annotator) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    path, start = f"/api/images/{image}/click", "the request is not valid: "
    told = f"{start}header.idempotency-key: give 8 to 64 letters, digits, - or _"
    for key in ("short", "x" * 65, "not a key"):
        assert ann.refused(path, key, x=14, y=12) == (422, told)
    assert ann.get(f"/api/images/{image}/objects")["objects"] == []
    label = {"name": "disc", "colour": "red"}
    assert ann.http.put("/api/labels", json={"labels": [label], "revision": 0}).json() == {
        "error": f"{start}body.labels.0.colour: give # and six hexadecimal digits"
    }
    schemas = annotator.app.openapi()["components"]["schemas"]  # still tells the pattern
    assert schemas["LabelRequest"]["properties"]["colour"]["pattern"] == "^#[0-9a-fA-F]{6}$"


def test_a_refusal_is_repeated_too_and_a_failure_is_not(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    path = f"/api/images/{image}/click"
    assert ann.refused(path, "key-refused", x=400, y=1)[0] == 422
    assert ann.refused(path, "key-refused", x=14, y=12)[0] == 422

    def fails(*_: object) -> None:
        raise FullError("no space")

    with monkeypatch.context() as patch:
        patch.setattr("samadapt.session.session.Session.click", fails)
        assert ann.refused(path, "key-of-failure", x=14, y=12)[0] == 507
    assert ann.post(path, "key-of-failure", x=14, y=12)["clicks"] == [[14.0, 12.0, 1]]


def test_two_at_once_do_it_once(annotator: Annotator) -> None:
    image = annotator.ids()[0]
    people = [annotator.person() for _ in range(4)]
    answers: list[object] = []

    def click(number: int) -> None:
        path = f"/api/images/{image}/click"
        answers.append(people[number].post(path, "key-of-click", x=14, y=12)["clicks"])

    threads = [threading.Thread(target=click, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[[14.0, 12.0, 1]]] * 4


def test_old_answers_are_given_up(annotator: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_ANSWERS", 2)
    ann, image = annotator.person(), annotator.ids()[0]
    for number in range(4):
        ann.post(f"/api/here/{image}", f"key-number-{number}")
    ann.click(image, 14, 12)
    assert "change" in ann.post(f"/api/here/{image}", "key-number-0")


def test_what_was_not_shown_is_not_accepted(annotator: Annotator) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    digest = ann.click(image, 14, 12)["digest"]
    other = ann.click(image, 37, 29)["digest"]
    path = f"/api/images/{image}/accept"
    status, text = ann.refused(path, shown=digest)
    assert (status, "not the one that was shown" in text) == (409, True)
    assert ann.post(path, shown=other)["object"]["revision"] == 1


def test_undo_is_one_stack_also_after_a_restart(annotator: Annotator) -> None:
    label = annotator.project.labels.named(["cell"], "")["cell"]
    ann, image = annotator.person(), annotator.ids()[0]
    ann.post(f"/api/images/{image}/label", label=label)
    clicked = ann.click(image, 14, 12)
    painted = ann.paint(image, rectangle(slice(30, 34), slice(2, 9)))
    thing = ann.accept(image, "key-of-object")
    assert thing["label"] == label
    assert np.array_equal(saved(thing), shown(painted))
    ann.post(f"/api/objects/{thing['id']}", revision=1, label=None)
    ann.post(f"/api/objects/{thing['id']}/delete", revision=2)
    annotator.stop()
    annotator.start()
    ann = annotator.person()
    undo = f"/api/images/{image}/undo"
    (back,) = ann.post(undo)["saved"]
    assert (back["revision"], back["label"]) == (4, None)
    (relabelled,) = ann.post(undo)["saved"]
    assert relabelled["label"] == label
    now = ann.post(undo)  # the acceptance: the object is under way again
    assert now["removed"] == [thing["id"]]
    assert np.array_equal(shown(now), shown(painted))
    assert now["label"] == label
    assert np.array_equal(shown(ann.post(undo)), shown(clicked))
    assert ann.post(undo)["mask"] is None
    assert ann.refused(undo) == (409, "nothing to undo")
    for _ in range(3):
        now = ann.post(f"/api/images/{image}/redo")
    assert [thing["id"] for thing in now["saved"]] == [thing["id"]]
    assert np.array_equal(annotator.project.objects.get(thing["id"]).mask(), shown(painted))


def test_a_step_whose_object_somebody_else_changed_is_passed_over(annotator: Annotator) -> None:
    label = annotator.project.labels.named(["cell"], "")["cell"]
    image = annotator.ids()[0]
    ann, bob = annotator.person("tab-a", "Ann"), annotator.person("tab-b", "Bob")
    ann.click(image, 37, 29)
    thing = ann.accept(image, "key-of-object")
    bob.post(f"/api/objects/{thing['id']}", revision=1, label=label)
    undo = f"/api/images/{image}/undo"
    status, text = ann.refused(undo)
    assert (status, "changed by Bob meanwhile" in text) == (409, True)
    assert annotator.project.objects.get(thing["id"]).label_id == label
    assert ann.post(undo)["clicks"] == []  # and the next one is the click


def test_pixels_of_earlier_objects_can_be_left_to_them(annotator: Annotator) -> None:
    ann, image = annotator.person(), annotator.ids()[0]
    ann.paint(image, rectangle(slice(0, 10), slice(0, 10)))
    first = ann.accept(image, "key-of-first")
    ann.paint(image, rectangle(slice(5, 15), slice(5, 15)))
    second = ann.accept(image, "key-of-second", keep_earlier=True)
    assert saved(second).sum() == 75
    assert not (saved(first) & saved(second)).any()


def test_a_project_of_an_earlier_version_goes_on(annotator: Annotator, folder: Path) -> None:
    """Written before strokes and edits were events of a session: see the files beside this one."""
    import sqlite3

    from PIL import Image

    from fakes import blobs
    from samadapt.store.projects import project_file

    annotator.stop()
    for file in folder.glob("samadapt.sqlite*"):
        file.unlink()
    for shift in range(3):
        Image.fromarray(np.roll(blobs(), shift, axis=1)).save(folder / f"{shift + 1}.png")
    earlier = sqlite3.connect(project_file(folder))
    earlier.executescript((Path(__file__).parent / "files" / "earlier.sql").read_text())
    earlier.close()
    annotator.start()
    ann, bob = annotator.person(), annotator.person("tab-two", "Bob")
    ids = {image.name: number for number, image in annotator.project.images.all().items()}
    one, two = ids["1.png"], ids["2.png"]
    # A new object under way, with a click taken back.
    now = ann.post(f"/api/images/{one}/open")["current"]
    assert now["clicks"] == [[43.0, 7.0, 1]]
    assert (shown(now).sum(), now["can_redo"]) == (170, True)
    # An edit under way.
    now = bob.post(f"/api/images/{two}/open")["current"]
    assert (now["edited"], shown(now).sum()) == ({"id": 1, "revision": 1}, 6)
    better = bob.accept(two, "key-of-change")
    assert (better["id"], better["revision"]) == (1, 2)
    # Undo goes back over what was accepted then.
    for _ in range(2):
        now = ann.post(f"/api/images/{one}/undo")
    assert now["removed"] == [3]
    assert len(now["clicks"]) == 2
