"""Stacks at the server: slices as images, carrying, filling, tracks, and their way out."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from annotator import Annotator, Json, Person, saved
from PIL import Image

from fakes import FakeModel, blobs
from moving import SIZE, disc_at, moving_disc, save_stack
from samadapt.data.ctc import load_ctc
from samadapt.data.label_volumes import load_label_volume
from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack
from samadapt.data.tracks_coco import load_tracks_coco, voxel_size_of
from samadapt.server import carrying
from samadapt.session.images import hash_pixels
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project, project_file
from samadapt.store.rebuild import differences, read_log, rebuild
from samadapt.tracking.propagation import Propagation, fill


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A volume of six slices, in the fifth of which the disc is missing, between two photos."""
    place = tmp_path / "images"
    place.mkdir()
    for name in ("a.png", "z.png"):
        Image.fromarray(blobs()).save(place / name)
    save_stack(place / "volume.ome.tif", moving_disc(6, without=(4,)), voxel=2.0)
    return place


def started(folder: Path, tmp_path: Path, *specs: str) -> Annotator:
    model = FakeModel(side=96)
    return Annotator(folder, tmp_path / "cache", specs or ("none",), model).start()


@pytest.fixture
def annotator(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    running = started(folder, tmp_path)
    running.project.labels.named(["disc"], "")
    yield running
    running.stop()


@pytest.fixture
def slices(ann: Person) -> list[int]:
    (stack,) = ann.get("/api/images")["stacks"]
    found: list[int] = stack["slices"]
    return found


def drawn(ann: Person, image: int, index: int, label: int | None = 1) -> Json:
    """The disc of a slice as an object."""
    ann.paint(image, disc_at(index))
    return ann.accept(image, f"drawn-{image:08}", label=label)


def carried(ann: Person, thing: Json, image: int, step: int = 1) -> Json:
    return ann.post(f"/api/images/{image}/carry", object=thing["id"], step=step)


def accepted(ann: Person, answer: Json) -> Json:
    found: Json = ann.post(f"/api/proposals/{answer['proposal']['id']}/accept")["object"]
    return found


def tracks(ann: Person, image: int) -> dict[int, int]:
    found = ann.get(f"/api/images/{image}/tracks")["tracks"]
    return {int(number): said["track"] for number, said in found.items()}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def check_rebuilt(project: Project) -> None:
    """The tables are what the log adds up to, and can be made again from it."""
    reading = read_log(project)
    assert differences(project, reading) == ""
    rebuild(project, reading)
    assert differences(project, read_log(project)) == ""


def test_a_stack_is_one_item_of_images(
    annotator: Annotator, ann: Person, slices: list[int], folder: Path
) -> None:
    listed = ann.get("/api/images")
    names = [row[1] for row in listed["images"]]
    assert names == ["a.png", *(f"volume.ome.tif#z={k}" for k in range(6)), "z.png"]
    (stack,) = listed["stacks"]
    assert (stack["name"], stack["axis"], len(stack["slices"])) == ("volume.ome.tif", "z", 6)
    opened = ann.post(f"/api/images/{slices[2]}/open")
    assert (opened["height"], opened["width"], opened["warnings"]) == (*SIZE, [])
    answer = ann.http.get(f"/api/images/{slices[2]}/pixels")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    with Stack.open(folder / "volume.ome.tif") as volume:
        assert np.array_equal(shown, volume[2])
    assert ann.http.get(f"/api/images/{slices[5]}/thumbnail").status_code == 200
    # Leafing through goes from item to item, work from slice to slice.
    first, last = annotator.ids()[0], annotator.ids()[-1]
    for place in slices:
        assert ann.get("/api/next", after=place)["image"] == last
        assert ann.get("/api/next", after=place, step=-1)["image"] == first
    assert ann.get("/api/next", after=last, step=-1)["image"] == slices[0]
    assert ann.get("/api/next", after=slices[1], unfinished=True)["image"] == slices[2]
    # Neighbours are encoded ahead.
    ready = [ann.post(f"/api/images/{one}/open")["ready"] for one in (slices[2], slices[3])]
    for _ in range(100):
        if all(ready):
            break
        time.sleep(0.05)
        ready = [ann.post(f"/api/here/{one}")["ready"] for one in (slices[2], slices[3])]
    assert all(ready)


def test_an_object_is_carried_from_slice_to_slice(
    annotator: Annotator, ann: Person, slices: list[int]
) -> None:
    now = drawn(ann, slices[0], 0)
    head = now["id"]
    for index in (1, 2, 3):
        answer = carried(ann, now, slices[index - 1])
        assert (answer["image"], answer["why"], answer["track"]) == (slices[index], "", head)
        assert answer["proposal"]["label"] == "disc"
        now = accepted(ann, answer)
        assert iou(saved(now), disc_at(index)) > 0.8
        assert (now["label"], now["source"]) == (1, "similar")
        assert tracks(ann, slices[index]) == {now["id"]: head}
    # The disc is missing in the fifth slice: what is carried there is doubted, and shown.
    answer = carried(ann, now, slices[3])
    assert answer["image"] == slices[4]
    assert "IoU of the prediction with the carried mask" in answer["why"]
    waiting = annotator.project.proposals.get(answer["proposal"]["id"])
    assert iou(waiting.proposal.rle.mask(), disc_at(4)) > 0.15
    ann.post(f"/api/proposals/{waiting.id}/reject")
    again = carried(ann, now, slices[3])  # asked for again, it is shown again
    assert again["proposal"]["id"] != waiting.id
    # Where it is already, there is nothing to propose; nor where another object lies.
    assert carried(ann, now, slices[3], -1)["proposal"] is None
    first = {"id": head}
    assert carried(ann, first, slices[0])["object"] == head + 1
    other = drawn(ann, slices[5], 5)
    back = carried(ann, other, slices[5], -1)
    assert back["proposal"] is not None
    assert tracks(ann, slices[5]) == {other["id"]: other["id"]}
    assert ann.refused(f"/api/images/{slices[5]}/carry", object=other["id"], step=1) == (
        409,
        "this is the last slice of volume.ome.tif",
    )
    status, text = ann.refused(f"/api/images/{slices[1]}/carry", object=head, step=1)
    assert (status, "not on this image" in text) == (409, True)
    photo = annotator.ids()[0]
    status, text = ann.refused(f"/api/images/{photo}/carry", object=head, step=1)
    assert status == 409
    check_rebuilt(annotator.project)


def test_accepting_what_was_carried_is_a_step_of_undo(
    annotator: Annotator, ann: Person, slices: list[int]
) -> None:
    first = drawn(ann, slices[0], 0)
    answer = carried(ann, first, slices[0])
    thing = accepted(ann, answer)
    undone = ann.post(f"/api/images/{slices[1]}/undo")
    assert undone["removed"] == [thing["id"]]
    assert undone["waiting"] == [answer["proposal"]["id"]]
    assert tracks(ann, slices[1]) == {}
    ann.post(f"/api/images/{slices[1]}/redo")
    assert tracks(ann, slices[1]) == {thing["id"]: first["id"]}
    # Corrected with a click, it is the same object of the same track.
    ann.post(f"/api/images/{slices[1]}/undo")
    number = answer["proposal"]["id"]
    fixed = ann.post(f"/api/proposals/{number}/accept", fix=True)
    assert fixed["edited"]["id"] == fixed["object"]["id"]
    ann.click(slices[1], 23, 24)
    better = ann.accept(slices[1], "better-00001")
    assert (better["id"], better["revision"]) == (fixed["object"]["id"], 2)
    assert tracks(ann, slices[1]) == {better["id"]: first["id"]}
    check_rebuilt(annotator.project)


def test_what_is_accepted_in_one_slice_is_learned_for_the_next(
    folder: Path, tmp_path: Path
) -> None:
    annotator = started(folder, tmp_path, "online")
    try:
        ann = annotator.person()
        (stack,) = ann.get("/api/images")["stacks"]
        slices = stack["slices"]
        now = drawn(ann, slices[0], 0, None)
        now = accepted(ann, carried(ann, now, slices[0]))
        accepted(ann, carried(ann, now, slices[1]))
        for _ in range(100):
            if (learned := ann.get("/api/learning")["learned"]) >= 2:
                break
            time.sleep(0.05)
        assert learned >= 2
    finally:
        annotator.stop()


def filled(ann: Person, image: int, thing: Json) -> Json:
    ann.post(f"/api/images/{image}/fill", object=thing["id"])
    while (now := ann.get("/api/fill"))["running"]:
        time.sleep(0.02)
    return now


def test_the_slices_between_two_are_filled_and_accepted_as_one_step(
    annotator: Annotator, ann: Person, slices: list[int]
) -> None:
    first, last = drawn(ann, slices[0], 0), drawn(ann, slices[5], 5)
    status, text = ann.refused(f"/api/images/{slices[0]}/fill", object=first["id"])
    assert (status, text.split(":")[0]) == (
        409,
        "fill needs the same object in another slice, with slices between",
    )
    join = f"/api/images/{slices[5]}/tracks/merge"
    ann.post(join, object=last["id"], other=first["id"])
    now = filled(ann, slices[0], first)
    assert (now["problem"], now["done"], now["steps"]) == ("", 8, 8)
    assert [image for image, _ in now["found"]] == slices[1:5]
    assert slices[4] in dict(now["stops"])  # nothing is to be seen there
    rows = {row[0]: row for row in ann.get("/api/images")["images"]}
    assert [rows[one][9] for one in slices] == [0, 1, 1, 1, 1, 0]
    # All of it is accepted at once, of the same track, and taken back at once.
    numbers = [number for _, number in now["found"]]
    ann.post(f"/api/proposals/{numbers[2]}/reject")  # but for one
    done = ann.post("/api/fill/accept", proposals=numbers)
    assert len(done["objects"]) == 3
    assert ann.post("/api/fill/accept", proposals=numbers)["objects"] == []
    for index in (1, 2, 4):
        ((number, track),) = tracks(ann, slices[index]).items()
        assert (track, number in done["objects"]) == (first["id"], True)
    thing = annotator.project.objects.of_image(slices[2])[0]
    assert iou(thing.mask(), disc_at(2)) > 0.75
    assert thing.label_id == 1
    back = ann.post("/api/import/undo", **done)
    assert back["objects"] == done["objects"]
    assert tracks(ann, slices[1]) == {}
    ann.post("/api/import/redo", objects=back["objects"], revision=2)
    assert len(tracks(ann, slices[1])) == 1
    check_rebuilt(annotator.project)


def test_a_track_is_split_joined_and_ended_and_each_is_taken_back(
    annotator: Annotator, ann: Person, slices: list[int]
) -> None:
    now = head = drawn(ann, slices[0], 0)
    for index in (1, 2, 3):
        now = accepted(ann, carried(ann, now, slices[index - 1]))
    ids = [head["id"] + k for k in range(4)]

    def all_tracks() -> list[int]:
        numbers = annotator.project.tracks.numbers()
        return [numbers.get(one.id, one.id) for one in annotator.project.objects.all()]

    def said(index: int) -> Json:
        found: Json = ann.get(f"/api/images/{slices[index]}/tracks")["tracks"][str(ids[index])]
        return found

    assert all_tracks() == [ids[0]] * 4
    at = f"/api/images/{slices[2]}/tracks"
    split = ann.post(f"{at}/split", object=ids[2])
    assert all_tracks() == [ids[0], ids[0], ids[2], ids[2]]
    assert said(3) == {"track": ids[2], "parent": ids[0], "ends": False, "slices": [2, 3]}
    status, text = ann.refused(f"{at}/split", object=ids[2])
    assert (status, "begins here" in text) == (409, True)
    joined = ann.post(f"{at}/merge", object=ids[2], other=ids[1])
    assert all_tracks() == [ids[0]] * 4
    assert said(3)["parent"] is None
    assert ann.refused(f"{at}/merge", object=ids[2], other=ids[1])[0] == 409
    ann.post("/api/tracks/undo", **joined)
    assert said(2)["parent"] == ids[0]
    assert ann.refused("/api/tracks/undo", **joined)[0] == 409  # not twice
    ann.post("/api/tracks/undo", **split)
    assert all_tracks() == [ids[0]] * 4
    # Nothing of it is left after the slice where it ends.
    end = ann.post(f"/api/images/{slices[1]}/tracks/end", object=ids[1])
    assert all_tracks() == [ids[0]] * 2
    assert said(1)["ends"]
    assert ann.refused(f"/api/images/{slices[1]}/carry", object=ids[1], step=1)[0] == 409
    assert ann.refused(f"/api/images/{slices[1]}/tracks/end", object=ids[1])[0] == 409
    again = ann.post("/api/tracks/undo", **end)
    assert all_tracks() == [ids[0]] * 4
    end = ann.post("/api/tracks/redo", **again)
    assert all_tracks() == [ids[0]] * 2
    again = ann.post("/api/tracks/undo", **end)
    # Somebody changed a later object meanwhile: nothing happens.
    thing = annotator.project.objects.get(ids[3])
    ann.post(f"/api/objects/{ids[3]}", revision=thing.revision, label=None)
    assert ann.refused("/api/tracks/redo", **again)[0] == 409
    assert all_tracks() == [ids[0]] * 4
    check_rebuilt(annotator.project)


def test_what_waits_beyond_the_end_of_a_track_is_withdrawn_until_that_is_taken_back(
    annotator: Annotator, ann: Person, slices: list[int]
) -> None:
    first, last = drawn(ann, slices[0], 0), drawn(ann, slices[5], 5)
    ann.post(f"/api/images/{slices[5]}/tracks/merge", object=last["id"], other=first["id"])
    one, *later = [number for _, number in filled(ann, slices[0], first)["found"]]
    middle = ann.post(f"/api/proposals/{one}/accept")["object"]
    ann.post(f"/api/proposals/{later[2]}/reject")

    def waiting() -> list[int]:
        rows = {row[0]: row for row in ann.get("/api/images")["images"]}
        return [rows[image][9] for image in slices]

    before = waiting()
    assert before[2:4] == [1, 1]
    end = ann.post(f"/api/images/{slices[1]}/tracks/end", object=middle["id"])
    assert (end["withdrawn"], waiting()) == (later[:2], [0] * 6)
    assert ann.refused(f"/api/proposals/{later[0]}/accept")[0] == 404
    assert ann.post("/api/fill/accept", proposals=later)["objects"] == []
    # What was rejected before is asked about again, and the track does not grow by it.
    ann.post(f"/api/images/{slices[4]}/undo")
    refused = (
        409,
        f"track {first['id']} ends in an earlier slice: undo its end first, or reject this "
        "proposal",
    )
    assert ann.refused(f"/api/proposals/{later[2]}/accept") == refused
    assert ann.refused(f"/api/images/{slices[4]}/proposals/accept", proposals=[later[2]]) == refused
    assert ann.post("/api/fill/accept", proposals=later)["objects"] == []
    assert tracks(ann, slices[4]) == {}
    again = ann.post("/api/tracks/undo", **end)
    assert waiting() == [*before[:4], 1, 0]
    ann.post(f"/api/proposals/{later[0]}/accept")
    assert list(tracks(ann, slices[2]).values()) == [first["id"]]
    assert ann.refused("/api/tracks/redo", **again)[0] == 404  # it does not wait any more
    end = ann.post(f"/api/images/{slices[1]}/tracks/end", object=middle["id"])
    assert (end["withdrawn"], waiting()) == (later[1:], [0] * 6)
    # What was discarded meanwhile does not come back.
    ann.post("/api/fill/discard", proposals=later[1:2])
    ann.post("/api/tracks/undo", **end)
    assert waiting() == [0, 0, 0, 0, 1, 0]
    check_rebuilt(annotator.project)


def test_filling_proposes_nothing_beyond_the_end_that_its_track_got_meanwhile(
    annotator: Annotator, ann: Person, slices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()

    def slow(*some: Any, **more: Any) -> Propagation:
        may_go_on.wait(20)
        return fill(*some, **more)

    monkeypatch.setattr(carrying, "fill", slow)
    now = first = drawn(ann, slices[0], 0)
    now = accepted(ann, carried(ann, now, slices[0]))
    last = drawn(ann, slices[5], 5)
    ann.post(f"/api/images/{slices[5]}/tracks/merge", object=last["id"], other=first["id"])
    ann.post(f"/api/images/{slices[1]}/fill", object=now["id"])
    ann.post(f"/api/images/{slices[1]}/tracks/end", object=now["id"])
    may_go_on.set()
    while (done := ann.get("/api/fill"))["running"]:
        time.sleep(0.02)
    assert (done["problem"], done["found"]) == ("", [])
    assert annotator.project.proposals.numbers() == {}


def test_a_track_is_split_at_the_object_that_has_its_number(
    annotator: Annotator, ann: Person, slices: list[int]
) -> None:
    last = drawn(ann, slices[3], 3)
    before = accepted(ann, carried(ann, last, slices[3], -1))
    assert tracks(ann, slices[2]) == {before["id"]: last["id"]}
    split = ann.post(f"/api/images/{slices[3]}/tracks/split", object=last["id"])
    assert tracks(ann, slices[2]) == {before["id"]: before["id"]}
    found = ann.get(f"/api/images/{slices[3]}/tracks")["tracks"][str(last["id"])]
    assert (found["track"], found["parent"]) == (last["id"], before["id"])
    ann.post("/api/tracks/undo", **split)
    assert tracks(ann, slices[2]) == {before["id"]: last["id"]}
    check_rebuilt(annotator.project)


def test_a_bad_slice_costs_only_itself(folder: Path, tmp_path: Path) -> None:
    """A page of another size, and one that is cut off."""
    for path in folder.iterdir():
        path.unlink()
    good = moving_disc(5)
    path = folder / "volume.tif"
    with tifffile.TiffWriter(path) as writer:
        for index, one in enumerate(good):
            page = one[:30] if index == 1 else one
            writer.write(page, photometric="rgb", contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as file:
        offsets = [page.dataoffsets[0] for page in file.pages]
        tag = file.pages[3].tags["StripOffsets"]
        place, size = tag.valueoffset, path.stat().st_size
    with path.open("r+b") as raw:
        raw.seek(place)
        raw.write(int(size - 10).to_bytes(4, "little"))
    assert len(set(offsets)) == 5
    annotator = started(folder, tmp_path)
    try:
        ann = annotator.person()
        listed = ann.get("/api/images")
        (stack,) = listed["stacks"]
        slices = stack["slices"]
        assert [row[2] for row in listed["images"]] == ["new", "problem", "new", "problem", "new"]
        status, text = ann.refused(f"/api/images/{slices[1]}/open")
        assert (status, "save all slices alike" in text) == (422, True)
        now = drawn(ann, slices[0], 0, None)
        answer = carried(ann, now, slices[0])  # over the slice that cannot be read
        assert answer["image"] == slices[2]
        assert len(answer["problems"]) == 1
        assert accepted(ann, answer)["id"] == now["id"] + 1
    finally:
        annotator.stop()


def test_a_volume_that_was_one_image_before_keeps_its_objects(folder: Path, tmp_path: Path) -> None:
    path, pixels = folder / "volume.ome.tif", moving_disc(6)
    save_stack(path, pixels[:1], voxel=2.0)  # as a version took it that knew of no stacks
    with Project.open(project_file(folder)) as project:
        project.images.scan(folder)
        image = project.images.named(path.name)
        assert image is not None
        rle, content = Rle.from_mask(disc_at(0)), hash_pixels(pixels[0])
        project.objects.add(NewMask(image.id, rle, content_hash=content), "")
    save_stack(path, pixels, voxel=2.0)
    annotator = started(folder, tmp_path)
    try:
        ann = annotator.person()
        (stack,) = ann.get("/api/images")["stacks"]
        assert stack["slices"][0] == image.id
        assert len(stack["slices"]) == 6
        opened = ann.post(f"/api/images/{image.id}/open")
        assert (len(opened["objects"]), opened["warnings"]) == (1, [])
        answer = carried(ann, opened["objects"][0], image.id)
        assert answer["image"] == stack["slices"][1]
        accepted(ann, answer)
    finally:
        annotator.stop()


def test_frames_of_a_folder_are_one_item(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, one in enumerate(moving_disc(5)):
        if index != 3:
            Image.fromarray(one).save(folder / f"f{index:03}.png")
    with Project.open(project_file(folder)) as project:
        project.images.scan(folder)
        assert len(project.images.entries()) == 4
        project.stacks.set_frames(True, "ann")
    annotator = started(folder, tmp_path)  # the project remembers it
    try:
        ann = annotator.person()
        listed = ann.get("/api/images")
        (stack,) = listed["stacks"]
        assert (stack["name"], stack["axis"], len(stack["slices"])) == ("frames", "t", 5)
        kinds = {row[1]: row[2] for row in listed["images"]}
        assert kinds == {f"f{k:03}.png": "problem" if k == 3 else "new" for k in range(5)}
        places = stack["slices"]
        now = drawn(ann, places[2], 2, None)
        answer = carried(ann, now, places[2])  # the missing frame is passed over
        assert answer["image"] == places[4]
        assert "no frame 3" in answer["problems"][0]
        thing = drawn(ann, places[1], 1, None)
        assert accepted(ann, carried(ann, thing, places[1], -1))["id"] == thing["id"] + 1
        check_rebuilt(annotator.project)
    finally:
        annotator.stop()


def unpacked(answer: bytes, place: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(answer)) as archive:
        archive.extractall(place)
    return place


def test_stacks_are_exported_with_their_tracks(
    annotator: Annotator, ann: Person, slices: list[int], tmp_path: Path, folder: Path
) -> None:
    now = drawn(ann, slices[0], 0)
    track = now["id"]
    now = accepted(ann, carried(ann, now, slices[0]))
    single = drawn(ann, slices[3], 3)
    split = accepted(ann, carried(ann, now, slices[1]))
    ann.post(f"/api/images/{slices[2]}/tracks/split", object=split["id"])
    photo = annotator.ids()[0]
    mask = np.zeros((40, 56), np.bool_)
    mask[3:9, 4:20] = True
    ann.paint(photo, mask)
    ann.accept(photo, "photo-000001")
    wanted = {track: (0, 1), split["id"]: (2,), single["id"]: (3,)}
    things = {one.id: one for one in annotator.project.objects.all()}

    answer = ann.http.get("/api/export?format=coco")
    file = tmp_path / "tracks.json"
    file.write_bytes(answer.content)
    document = json.loads(answer.content)
    (video,) = document["videos"]
    assert (video["name"], video["length"]) == ("volume.ome.tif", 6)
    assert voxel_size_of(file).zyx == (2.0, 0.5, 0.5)
    by_id = {one["id"]: one for one in document["annotations"]}
    assert "track_id" not in by_id[max(by_id)]  # on the photo
    document["images"] = [one for one in document["images"] if "video_id" in one]
    kept = {one["id"] for one in document["images"]}
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in kept]
    file.write_text(json.dumps(document))
    with Stack.open(folder / "volume.ome.tif") as stack:
        read = load_tracks_coco(file, stack)
    assert {one.id: one.slices for one in read} == wanted
    assert {one.id: one.parent for one in read}[split["id"]] == track
    assert read[track].masks[1] == things[now["id"]].rle

    again = ann.http.post("/api/import?name=tracks.json", content=answer.content).json()
    assert (again["added"], again["left_out_count"]) == (0, 0)
    assert annotator.project.labels.all()[0][0].attributes == ()

    answer = ann.http.get("/api/export?format=label-volume")
    summary = answer.headers["x-samadapt-left-out"]
    assert summary == "1"  # the photo is in no stack
    place = unpacked(answer.content, tmp_path / "volumes")
    assert "a.png" in (place / "left-out.txt").read_text()
    labels = place / "volume_labels.tif"
    read = load_label_volume(labels)
    assert (read.length, {one.id: one.slices for one in read}) == (6, wanted)
    with Stack.open(labels) as written:
        assert written.voxel.zyx == (2.0, 0.5, 0.5)
        assert np.array_equal(written.values(3) == single["id"], saved(single))
        assert not written.values(5).any()

    answer = ann.http.get("/api/export?format=ctc")
    place = unpacked(answer.content, tmp_path / "ctc")
    read = load_ctc(place / "volume")
    assert {one.id: one.slices for one in read} == wanted
    assert {one.id: one.parent for one in read}[split["id"]] == track
    # Formats of images have a file for each slice.
    answer = ann.http.get("/api/export?format=label-maps")
    place = unpacked(answer.content, tmp_path / "maps")
    names = {path.name for path in place.glob("*.png")}
    assert names == {"a.png", *(f"volume_z{k:04}.png" for k in range(4))}


def test_a_project_without_stacks_has_no_formats_of_stacks(folder: Path, tmp_path: Path) -> None:
    (folder / "volume.ome.tif").unlink()
    annotator = started(folder, tmp_path)
    try:
        ann = annotator.person()
        names = {one["name"] for one in ann.get("/api/project")["formats"]}
        assert "coco" in names
        assert not names & {"ctc", "label-volume"}
        answer = ann.http.get("/api/export?format=ctc")
        assert (answer.status_code, "has none" in answer.json()["error"]) == (422, True)
        assert ann.get(f"/api/images/{annotator.ids()[0]}/tracks") == {"tracks": {}}
    finally:
        annotator.stop()
