"""Proposals on all images: looked for behind the work, reviewed by doubt, and learned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator import Annotator, Json, Person, sent
from discs import disc_labels, draw_discs
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from fakes import FakeModel, OracleModel, blobs
from samadapt.data.rle import Rle
from samadapt.store.errors import FullError
from samadapt.store.label_merging import merge_label, unmerge_label
from samadapt.store.objects import NewMask
from samadapt.store.proposals import NewProposal
from samadapt.store.rebuild import differences, read_log
from samadapt.store.tables import proposals as rows_of_proposals


@pytest.fixture
def labels() -> NDArray[np.int_]:
    """Four discs, (40, 56)."""
    return disc_labels()


@pytest.fixture
def server(tmp_path: Path, labels: NDArray[np.int_]) -> Iterator[Annotator]:
    """Three images of the same discs; the model knows them."""
    folder = tmp_path / "pictures"
    draw_discs(folder, labels, 3)
    running = Annotator(folder, tmp_path / "cache", model=OracleModel(labels)).start()
    running.project.labels.named(["disc"], "")
    yield running
    running.stop()


def finished(ann: Person) -> Json:
    deadline = time.monotonic() + 60
    while (found := ann.get("/api/proposals"))["run"]["running"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_examples_of_another_image_are_enough(server: Annotator, labels: NDArray[np.int_]) -> None:
    first, second, _ = server.ids()
    ann = server.person()
    assert ann.refused(f"/api/images/{second}/similar", label=1)[0] == 409
    server.project.objects.add(NewMask(first, Rle.from_mask(labels == 1), 1), "")
    found = ann.post(f"/api/images/{second}/similar", label=1)
    assert len(found["proposals"]) == 4
    # The first image is looked at with its own examples, which are not proposed again.
    assert len(ann.post(f"/api/images/{first}/similar", label=1)["proposals"]) == 3


def test_all_images_are_looked_at_and_what_was_rejected_stays_out(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    first, second, third = server.ids()
    ann = server.person()
    assert ann.refused("/api/proposals/run", label=1)[0] == 409  # nothing to go by
    server.project.objects.add(NewMask(first, Rle.from_mask(labels == 1), 1), "")
    server.project.images.mark(third, "skipped", 0, "")
    ann.post("/api/proposals/run", label=1)
    found = finished(ann)
    assert (found["waiting"], found["run"]["looked"], found["run"]["failed"]) == (7, 2, 0)
    assert server.workspace.gallery.waiting.counts() == {first: 3, second: 4}
    rows = {row[0]: row[9] for row in ann.get("/api/images")["images"]}
    assert rows == {first: 3, second: 4, third: 0}
    number = ann.get("/api/proposals/next")["next"]["id"]
    rejected = server.project.proposals.get(number)
    ann.post(f"/api/proposals/{number}/reject")
    assert ann.refused(f"/api/proposals/{number}/reject")[0] == 404
    ann.post("/api/proposals/run", label=1)
    assert finished(ann)["waiting"] == 6
    left = server.project.proposals.waiting(rejected.image_id)
    assert all(one.proposal.rle != rejected.proposal.rle for one in left)


def test_the_doubtful_come_first_and_are_accepted_or_fixed(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    first, second, third = server.ids()
    ann, proposals = server.person(), server.project.proposals
    one, two, three, four = (Rle.from_mask(labels == k) for k in range(1, 5))
    proposals.put("a", {first: [NewProposal("disc", one, 0.9, (8, 8))]})
    proposals.put("a", {second: [NewProposal("disc", two, 0.52, (28, 8))]})
    more = [NewProposal("disc", three, 0.3, (48, 8)), NewProposal("tile", four, 0.95, (14, 30))]
    proposals.put("b", {third: more})
    order, after = [], 0
    for _ in range(4):
        found = ann.get("/api/proposals/next", after=after)["next"]
        after = found["id"]
        order.append(proposals.get(after).proposal.score)
    assert order == [0.52, 0.3, 0.9, 0.95]
    number = ann.get("/api/proposals/next")["next"]["id"]
    answer = ann.post(f"/api/proposals/{number}/accept", "the-key-of-it")
    assert ann.post(f"/api/proposals/{number}/accept", "the-key-of-it") == answer
    (thing,) = server.project.objects.all()
    assert (thing.image_id, thing.label_id, thing.source, thing.rle) == (second, 1, "similar", two)
    # Fixing goes on with clicks; a label that is missing is made.
    last = proposals.waiting(third)[0]
    fixed = ann.post(f"/api/proposals/{last.id}/accept", fix=True)
    assert fixed["edited"]["id"] == fixed["object"]["id"]
    assert [label.name for label in server.project.labels.all()[0]] == ["disc", "tile"]
    # What was annotated by hand meanwhile waits no more.
    server.project.objects.add(NewMask(first, one, 1), "")
    left = ann.get("/api/proposals/next")["next"]
    assert proposals.get(left["id"]).proposal.rle == three
    assert ann.get(f"/api/images/{first}/proposals")["proposals"] == []


@pytest.mark.parametrize("waited", [True, False])
def test_accepted_proposals_are_learned(tmp_path: Path, waited: bool) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(blobs()).save(folder / "1.png")
    running = Annotator(folder, tmp_path / "cache", ("online",), FakeModel()).start()
    try:
        (image,) = running.ids()
        ann = running.person()
        mask = np.zeros((40, 56), np.bool_)
        mask[5:20, 5:20] = True
        if waited:
            one = NewProposal("disc", Rle.from_mask(mask), 0.6, (12, 12))
            running.project.proposals.put("a", {image: [one]})
            number = ann.get("/api/proposals/next")["next"]["id"]
            ann.post(f"/api/proposals/{number}/accept")
        else:
            ann.post(f"/api/images/{image}/objects", mask=sent(mask), source="similar")
        assert all(adapter.wait(60) for adapter in running.workspace.learning.adapters)
        assert running.workspace.learning.summary()["learned"] == 1
    finally:
        running.stop()


def test_nothing_is_accepted_that_cannot_be_fixed_next(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    first, *_ = server.ids()
    ann, proposals = server.person(), server.project.proposals
    proposals.put("a", {first: [NewProposal("disc", Rle.from_mask(labels == 1), 0.5, (8, 8))]})
    number = ann.get("/api/proposals/next")["next"]["id"]
    ann.post(f"/api/images/{first}/click", x=48, y=8, positive=True)
    status, text = ann.refused(f"/api/proposals/{number}/accept", fix=True)
    assert (status, "finish or skip" in text) == (409, True)
    assert server.project.objects.all() == []
    assert proposals.numbers() == {first: [number]}


def test_an_accept_that_was_lost_is_answered_though_the_proposal_is_gone(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    first, *_ = server.ids()
    ann, proposals = server.person(), server.project.proposals
    proposals.put("a", {first: [NewProposal("disc", Rle.from_mask(labels == 1), 0.5, (8, 8))]})
    number = ann.get("/api/proposals/next")["next"]["id"]
    made = ann.post(f"/api/proposals/{number}/accept", "the-key-of-it")["object"]["id"]
    server.stop()
    server.start()
    ann, proposals = server.person(), server.project.proposals
    assert ann.post(f"/api/proposals/{number}/accept", "the-key-of-it")["object"]["id"] == made
    assert len(server.project.objects.all()) == 1


def test_a_key_is_that_of_one_request(server: Annotator, labels: NDArray[np.int_]) -> None:
    first, second, _ = server.ids()
    ann, bob, proposals = server.person(), server.person("tab-two", "Bob"), server.project.proposals
    masks = [Rle.from_mask(labels == k) for k in (1, 2)]
    proposals.put("a", {first: [NewProposal("disc", one, 0.5, (8, 8)) for one in masks]})
    proposals.put("a", {second: [NewProposal("disc", masks[0], 0.5, (8, 8))]})
    (one, other), (elsewhere,) = (proposals.numbers()[image] for image in (first, second))
    made = ann.post(f"/api/proposals/{one}/accept", "the-key-of-it")["object"]["id"]

    def refused(person: Person, path: str, **body: bool) -> None:
        number = server.project.journal.last_number()
        status, text = person.refused(path, "the-key-of-it", **body)
        assert status in (409, 422), text
        assert "for another request" in text or "of another image" in text
        assert server.project.journal.last_number() == number

    for _ in range(2):  # while answers are kept, and after a restart
        for person in (ann, bob):
            refused(person, f"/api/proposals/{other}/accept")
            refused(person, f"/api/proposals/{elsewhere}/accept")
        refused(ann, f"/api/proposals/{one}/accept", fix=True)
        refused(ann, f"/api/images/{first}/undo")
        server.stop()
        server.start()
        ann, bob = server.person(), server.person("tab-two", "Bob")
    assert ann.post(f"/api/proposals/{one}/accept", "the-key-of-it")["object"]["id"] == made
    bob.post(f"/api/objects/{made}/delete", revision=1)
    server.stop()
    server.start()
    status, text = server.person().refused(f"/api/proposals/{one}/accept", "the-key-of-it")
    assert (status, text) == (409, f"object {made}, which this request made, was deleted since")


def test_a_label_is_made_again_with_the_object_or_not_at_all(
    server: Annotator, labels: NDArray[np.int_], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = server.ids()
    ann, project = server.person(), server.project
    masks = [Rle.from_mask(labels == k) for k in (1, 2, 3)]
    names = ("tile", "tile", "object")  # the last one is how those without a label are called
    new = [NewProposal(n, m, 0.5, (8, 8)) for n, m in zip(names, masks, strict=True)]
    project.proposals.put("a", {first: new})
    one, two, three = project.proposals.numbers()[first]

    def fails(*_: object, **__: object) -> None:
        raise FullError("no space")

    ann.click(first, 48, 8)
    ann.post(f"/api/images/{first}/undo")
    number = project.journal.last_number()
    with monkeypatch.context() as patch:
        patch.setattr(project.objects, "add_in", fails)
        assert ann.refused(f"/api/proposals/{one}/accept") == (507, "no space")
        path = f"/api/images/{first}/proposals/accept"
        assert ann.refused(path, proposals=[one, two, three]) == (507, "no space")
    assert project.journal.last_number() == number
    assert [label.name for label in project.labels.all()[0]] == ["disc"]
    ann.post(f"/api/images/{first}/proposals/accept", proposals=[one, two, three])
    tile = project.labels.named(["tile"], "")["tile"]
    assert [thing.label_id for thing in project.objects.all()] == [tile, tile, None]
    undone = ann.post(f"/api/images/{first}/undo")
    assert undone["waiting"] == [one, two, three]
    assert differences(project, read_log(project)) == ""


def test_a_source_follows_its_label(server: Annotator, labels: NDArray[np.int_]) -> None:
    first, second, _ = server.ids()
    ann, project = server.person(), server.project
    project.objects.add(NewMask(first, Rle.from_mask(labels == 1), 1), "")
    ann.post("/api/proposals/run", label=1)
    assert finished(ann)["run"]["what"] == "similar to disc"
    (disc,) = project.labels.all()[0]
    project.labels.set([disc.model_copy(update={"name": "coin"})], 1, "")
    assert ann.get("/api/proposals")["run"]["what"] == "similar to coin"
    assert {one.source for one in project.proposals.waiting(second)} == {"similar to coin"}
    # A run that began before puts its finds in instead of the same ones.
    before = len(project.proposals.waiting(second))
    found = [one.proposal for one in project.proposals.waiting(second)]
    project.proposals.put("similar to disc", {second: found})
    assert len(project.proposals.waiting(second)) == before
    ann.post("/api/proposals/run", label=1)
    assert finished(ann)["waiting"] == sum(map(len, project.proposals.numbers().values()))
    assert len(project.proposals.waiting(second)) == before
    # Merging a label away, and back.
    merged = merge_label(project, 1, None, 2, "")
    assert {one.source for one in project.proposals.waiting(second)} == {
        "similar to objects without a label"
    }
    objects = [(thing.id, thing.revision) for thing in merged.objects]
    unmerge_label(project, 1, objects, "", merged.proposals)
    assert {one.source for one in project.proposals.waiting(second)} == {"similar to coin"}


@pytest.mark.parametrize(
    "steps",
    [
        [{1: "coin", 2: "disc"}],  # in one step
        [{2: "coin"}, {1: "tile"}, {2: "disc"}],
        [{1: "disc (2)"}, {2: "disc"}, {1: "disc (3)"}],
    ],
)
def test_a_run_follows_its_label_though_another_one_gets_its_name(
    server: Annotator, labels: NDArray[np.int_], monkeypatch: pytest.MonkeyPatch, steps: list[Json]
) -> None:
    first, second, _ = server.ids()
    ann, project = server.person(), server.project
    project.labels.named(["tile"], "")
    project.objects.add(NewMask(first, Rle.from_mask(labels == 1), 1), "")
    behind, seen = server.workspace.encoder.behind, list[int]()

    def renames(image: int, *more: Any) -> Any:
        seen.append(image)
        if image == second:  # the first image's proposals are put in already
            for names in steps:
                now, revision = project.labels.all()
                told = [one.model_copy(update={"name": names.get(one.id, one.name)}) for one in now]
                project.labels.set(told, revision, "")
        return behind(image, *more)

    monkeypatch.setattr(server.workspace.encoder, "behind", renames)
    ann.post("/api/proposals/run", label=1)
    found = finished(ann)
    name, other = (label.name for label in project.labels.all()[0])
    assert (seen, other) == (server.ids(), "disc")
    assert found["run"]["what"] == f"similar to {name}"
    assert "labels" not in found["run"]
    for image in seen:
        waiting = project.proposals.waiting(image)
        assert {(w.source, w.proposal.label) for w in waiting} == {(f"similar to {name}", name)}
    # The next run of it puts its finds in their place, and what is accepted has the label.
    before = found["waiting"]
    ann.post("/api/proposals/run", label=1)
    assert finished(ann)["waiting"] == before
    number = ann.get("/api/proposals/next")["next"]["id"]
    assert ann.post(f"/api/proposals/{number}/accept")["object"]["label"] == 1


def test_labels_that_a_search_began_with(server: Annotator, labels: NDArray[np.int_]) -> None:
    first, *_ = server.ids()
    project = server.project
    kinds = ("disc", "tile", "object", "new")
    new = [
        NewProposal(name, Rle.from_mask(labels == k), 0.5, (8, 8))
        for k, name in enumerate(kinds, 1)
    ]
    project.labels.named(["tile", "object"], "")  # 2 and 3
    disc, tile, thing = project.labels.all()[0]
    swapped = [disc.model_copy(update={"name": "tile"}), thing.model_copy(update={"name": "stone"})]
    project.labels.set(swapped, project.labels.all()[1], "")
    # "object" was the name of no label: it is not that of label 3, which was called so.
    project.proposals.put("many", {first: new}, {"disc": 1, "tile": tile.id, "object": None})
    found = [one.proposal.label for one in project.proposals.waiting(first)]
    # The label 2 was removed and its name taken: it would come back under this one.
    assert sorted(found) == ["new", "object", "tile", "tile (2)"]


def test_what_was_found_on_other_pixels_is_not_offered(
    server: Annotator, labels: NDArray[np.int_]
) -> None:
    first, second, third = server.ids()
    ann, project = server.person(), server.project
    project.objects.add(NewMask(first, Rle.from_mask(labels == 1), 1), "")
    ann.post("/api/proposals/run", label=1)
    assert finished(ann)["waiting"] == 11
    stale = [one.id for image in (second, third) for one in project.proposals.waiting(image)]
    kept = [one.id for one in project.proposals.waiting(first)]
    # Of unknown pixels, as a project of an earlier version has them.
    old = NewProposal("disc", Rle.from_mask(labels == 2), 0.5, (28, 8))
    project.proposals.put("old", {third: [old]})
    old_one = next(n for n in project.proposals.numbers()[third] if n not in stale)
    paths = [server.folder / project.images.get(image).name for image in (second, third)]
    before = paths[0].read_bytes()
    server.stop()
    for path in paths:
        Image.fromarray(255 - np.array(Image.open(path))).save(path)
    server.start()
    ann, project = server.person(), server.project
    # Whoever opens, accepts or rejects nothing at first asks for what is next.
    said = ann.refused(f"/api/proposals/{stale[0]}/accept")
    assert (said[0], "or their file was replaced" in said[1]) == (404, True)
    assert ann.refused(f"/api/proposals/{stale[0]}/reject")[0] == 404
    offered, after = list[int](), 0
    while (following := ann.get("/api/proposals/next", after=after)["next"]["id"]) not in offered:
        offered.append(after := following)
    assert sorted(offered) == sorted([*kept, old_one])
    assert ann.get("/api/proposals/counts")["counts"] == {str(first): 3, str(third): 1}
    assert [one["id"] for one in ann.get(f"/api/images/{third}/proposals")["proposals"]] == [
        old_one
    ]
    path = f"/api/images/{third}/proposals/accept"
    assert ann.post(path, proposals=[*stale, old_one])["accepted"] == 1
    assert len(project.objects.all()) == 2
    # The old file is put back: they fit again.
    paths[0].write_bytes(before)
    ann.post(f"/api/images/{second}/open")
    assert ann.get("/api/proposals/counts")["counts"] == {str(first): 3, str(second): 4}
    # A new search replaces what was found on other pixels.
    ann.post("/api/proposals/run", label=1)
    finished(ann)
    with project.database.read() as tx:
        numbers = set(tx.execute(select(rows_of_proposals.c.id)).scalars())
    assert not numbers & set(stale)


@pytest.mark.parametrize("task", ["../../etc", "/etc", "a/b", "", "a" * 9000, "task:none"])
def test_only_tasks_of_the_project_are_proposed(server: Annotator, task: str) -> None:
    status, text = server.person().refused("/api/proposals/run", task=task)
    assert (status, text.splitlines()) == (
        404,
        ["this project has no such task: choose one that it was taught"],
    )
