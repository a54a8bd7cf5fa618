from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from annotator import SIZE, Annotator, Person, saved, sent, shown
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.prompts import Prompt
from samadapt.session.events import Accepted


@pytest.fixture
def image(annotator: Annotator) -> int:
    return annotator.ids()[0]


def expected(prompt: Prompt) -> np.ndarray:
    model = FakeModel()
    found = model.predict(model.encode(blobs()), prompt, True)
    return found.masks[found.best]


def test_what_is_shown_is_what_the_model_says(ann: Person, image: int) -> None:
    answer = ann.click(image, 14, 12)
    assert np.array_equal(shown(answer), expected(Prompt([(14, 12)])))
    assert (answer["candidates"], answer["clicks"]) == (3, [[14.0, 12.0, 1]])
    other = (answer["chosen"] + 1) % 3
    chosen = ann.post(f"/api/images/{image}/choose", index=other)
    assert chosen["chosen"] == other
    assert not np.array_equal(shown(chosen), shown(answer))


def test_only_the_changed_object_travels(ann: Person, annotator: Annotator, image: int) -> None:
    for index in range(8):
        mask = np.zeros(SIZE, np.bool_)
        mask[index, :] = True
        key = f"stripe-{index:04d}"
        ann.post(f"/api/images/{image}/objects", key=key, mask=sent(mask))
    answer = ann.http.post(f"/api/images/{image}/click", json={"x": 14, "y": 12})
    assert len(answer.content) < 600
    assert answer.json()["saved"] == []
    crop = answer.json()["mask"]
    assert crop["width"] * crop["height"] < SIZE[0] * SIZE[1]


def test_a_whole_object(ann: Person, annotator: Annotator, image: int) -> None:
    first = ann.click(image, 14, 12)
    second = ann.click(image, 50, 30, positive=False)
    assert [c[2] for c in second["clicks"]] == [1, 0]
    undone = ann.post(f"/api/images/{image}/undo")
    assert np.array_equal(shown(undone), shown(first))
    assert undone["can_redo"]
    redone = ann.post(f"/api/images/{image}/redo")
    assert np.array_equal(shown(redone), shown(second))
    boxed = ann.post(f"/api/images/{image}/box", x0=4, y0=2, x1=25, y1=23)
    assert boxed["box"] == [4, 2, 25, 23]
    thing = ann.accept(image, "key-of-object")
    assert np.array_equal(saved(thing), shown(boxed))
    assert thing["prompts"] == 3
    (stored,) = annotator.project.objects.of_image(image)
    assert np.array_equal(stored.mask(), shown(boxed))
    log = [e.event for e in annotator.project.journal.entries(image_id=image)]
    kinds = ["opened", "clicked", "clicked", "undone", "redone", "boxed", "accepted"]
    assert [e.kind for e in log] == [*kinds, "object added"]
    accepted = next(e for e in log if isinstance(e, Accepted))
    assert np.array_equal(accepted.mask(), stored.mask())
    assert ann.post(f"/api/images/{image}/open")["current"] is None


def test_the_same_acceptance_twice_is_one_object(ann: Person, image: int) -> None:
    ann.click(image, 14, 12)
    first = ann.accept(image, "key-of-object")
    assert ann.accept(image, "key-of-object") == first
    assert len(ann.get(f"/api/images/{image}/objects")["objects"]) == 1


def test_the_painted_mask_is_saved_exactly(ann: Person, image: int) -> None:
    painted = shown(ann.click(image, 14, 12)).copy()
    more, less = np.zeros((2, *SIZE), np.bool_)
    more[30:34, 3:9] = less[10:13, 12:16] = True
    ann.paint(image, more)
    now = ann.paint(image, less, positive=False)
    painted = (painted | more) & ~less
    assert np.array_equal(shown(now), painted)
    thing = ann.accept(image, "key-of-object")
    assert np.array_equal(saved(thing), painted)
    assert thing["prompts"] == 3  # strokes count
    # And one that was painted alone.
    alone = np.zeros(SIZE, np.bool_)
    alone[1:3, 50:56] = True
    ann.paint(image, alone)
    thing = ann.accept(image, "key-of-painted")
    assert np.array_equal(saved(thing), alone)
    assert thing["prompts"] == 1
    assert thing["source"] == "brush"


def test_an_object_is_improved_from_its_mask_on(
    ann: Person, annotator: Annotator, image: int
) -> None:
    ann.click(image, 14, 12)
    thing = ann.accept(image, "key-of-object")
    edited = ann.post(f"/api/images/{image}/edit", object=thing["id"], revision=1)
    assert edited["edited"] == {"id": thing["id"], "revision": 1}
    assert np.array_equal(shown(edited), saved(thing))
    clicked = ann.click(image, 37, 29)
    model = FakeModel()
    prompt = Prompt([(37, 29)], mask=saved(thing))
    found = model.predict(model.encode(blobs()), prompt)
    assert np.array_equal(shown(clicked), found.masks[0])
    # Undone, it is what it was; given up, it stays what it was.
    assert np.array_equal(shown(ann.post(f"/api/images/{image}/undo")), saved(thing))
    ann.post(f"/api/images/{image}/skip")
    assert annotator.project.objects.get(thing["id"]).revision == 1
    ann.post(f"/api/images/{image}/edit", object=thing["id"], revision=1)
    again = ann.click(image, 37, 29)
    better = ann.accept(image, "key-of-change")
    assert (better["id"], better["revision"]) == (thing["id"], 2)
    assert np.array_equal(saved(better), shown(again))
    assert len(annotator.project.objects.of_image(image)) == 1


def test_an_improvement_by_brush_alone(ann: Person, annotator: Annotator, image: int) -> None:
    ann.click(image, 14, 12)
    thing = ann.accept(image, "key-of-object")
    ann.post(f"/api/images/{image}/edit", object=thing["id"], revision=1)
    dot = np.zeros(SIZE, np.bool_)
    dot[0, 0] = True
    ann.paint(image, dot)
    better = ann.accept(image, "key-of-change")
    assert np.array_equal(saved(better), saved(thing) | dot)
    assert ann.post(f"/api/images/{image}/open")["current"] is None


def test_the_same_improvement_twice_is_one(ann: Person, annotator: Annotator, image: int) -> None:
    ann.click(image, 14, 12)
    first = ann.accept(image, "key-0001")
    painted = np.zeros(SIZE, np.bool_)
    painted[5:9, 5:30] = True
    ann.post(f"/api/images/{image}/edit", object=first["id"], revision=1)
    ann.paint(image, painted)
    better = ann.accept(image, "key-0002")
    assert (better["id"], better["revision"]) == (first["id"], 2)
    # The answer got lost; the second time, the server was started again in between.
    assert ann.accept(image, "key-0002") == better
    annotator.stop()
    annotator.start()
    ann = annotator.person()
    assert ann.accept(image, "key-0002") == better
    assert ann.accept(image, "key-0001") == better  # the object of that key, as it is now
    assert len(annotator.project.objects.all()) == 1
    second = annotator.ids()[1]
    status, text = ann.refused(f"/api/images/{second}/accept", "key-0001")
    assert (status, "another request" in text) == (422, True)
    ann.click(second, 14, 12)
    other = annotator.person("tab-two")
    status, text = other.refused(f"/api/images/{second}/accept", "key-0001")
    assert (status, "another image" in text) == (409, True)


def test_relabel_delete_restore(ann: Person, annotator: Annotator, image: int) -> None:
    label = annotator.project.labels.named(["cell"], "")["cell"]
    ann.click(image, 14, 12)
    thing = ann.accept(image, "key-of-object", label=label)
    assert thing["label"] == label
    path = f"/api/objects/{thing['id']}"
    changed = ann.post(path, revision=1, label=None)["object"]
    assert (changed["label"], changed["revision"]) == (None, 2)
    assert np.array_equal(saved(changed), saved(thing))
    assert ann.refused(path, revision=1, label=label)[0] == 409
    assert ann.refused(path, revision=2, label=99)[0] == 404
    assert ann.post(f"{path}/delete", revision=2)["removed"] == [thing["id"]]
    assert ann.get(f"/api/images/{image}/objects")["objects"] == []
    (restored,) = ann.post(f"/api/images/{image}/undo")["saved"]
    assert np.array_equal(saved(restored), saved(thing))


def test_what_cannot_be_is_refused_in_one_line(ann: Person, image: int) -> None:
    click = f"/api/images/{image}/click"
    assert ann.refused(click, x=400, y=12) == (
        422,
        "click at (400, 12) is outside the image of 56 x 40 pixels (width x height); "
        "coordinates are (x, y) from the top-left corner",
    )
    assert ann.refused(click, x=1)[0] == 422
    assert ann.refused(f"/api/images/{image}/undo")[0] == 409
    assert ann.refused(f"/api/images/{image}/accept", "key-of-object")[0] == 409
    assert ann.refused(f"/api/images/{image}/choose", index=2)[0] == 409
    assert ann.refused("/api/images/999/click", x=1, y=1)[0] == 404
    mask = sent(np.ones(SIZE, np.bool_)) | {"x": 3}
    add = f"/api/images/{image}/objects"
    assert ann.refused(add, key="key-of-object", mask=mask)[0] == 422
    broken = mask | {"x": 0, "counts": "garbage"}
    assert ann.refused(add, key="key-of-object", mask=broken)[0] == 422
    # And after all that it goes on.
    assert ann.click(image, 14, 12)["mask"]


def test_looking_is_no_event(ann: Person, annotator: Annotator, image: int) -> None:
    found = ann.post(f"/api/images/{image}/preview", x=14, y=12)
    assert np.array_equal(shown(found), expected(Prompt([(14, 12)])))
    kinds = [e.event.kind for e in annotator.project.journal.entries(image_id=image)]
    assert kinds == ["opened"]


# -- files that change, and bad ones ----------------------------------------------------------


def test_an_unfinished_object_survives_a_restart(annotator: Annotator, image: int) -> None:
    ann = annotator.person()
    ann.click(image, 14, 12)
    thing = ann.accept(image, "key-of-object")
    ann.click(image, 37, 29)
    now = ann.click(image, 5, 5, positive=False)
    annotator.stop()
    annotator.start()
    ann = annotator.person()
    found = ann.post(f"/api/images/{image}/open")["current"]
    assert np.array_equal(shown(found), shown(now))
    assert found["clicks"] == now["clicks"]
    # The log goes on where it was.
    second = ann.accept(image, "key-of-second")
    assert second["id"] != thing["id"]
    entries = [e for e in annotator.project.journal.entries(image_id=image) if e.stream]
    assert len({e.stream for e in entries}) == 1
    assert [e.event.object_id for e in entries if isinstance(e.event, Accepted)] == [1, 2]
    # Another tab has nothing under way.
    assert annotator.person("tab-two").post(f"/api/images/{image}/open")["current"] is None


def test_an_unfinished_improvement_survives_a_restart(annotator: Annotator, image: int) -> None:
    ann = annotator.person()
    ann.click(image, 14, 12)
    thing = ann.accept(image, "key-of-object")
    ann.post(f"/api/images/{image}/edit", object=thing["id"], revision=1)
    now = ann.click(image, 37, 29)
    annotator.stop()
    annotator.start()
    ann = annotator.person()
    found = ann.post(f"/api/images/{image}/open")["current"]
    assert found["edited"] == {"id": thing["id"], "revision": 1}
    assert np.array_equal(shown(found), shown(now))
    assert ann.accept(image, "key-of-change")["revision"] == 2


def test_a_file_replaced_while_it_is_open(annotator: Annotator, ann: Person, image: int) -> None:
    ann.click(image, 14, 12)
    ann.accept(image, "key-of-object")
    ann.click(image, 37, 29)
    time.sleep(0.01)
    Image.fromarray(255 - blobs()).save(annotator.folder / "a 1.png")
    status, text = ann.refused(f"/api/images/{image}/accept", "key-of-second")
    assert status == 409
    assert "was replaced" in text
    answer = ann.post(f"/api/images/{image}/open")
    assert len(answer["objects"]) == 1
    ann.click(image, 37, 29)
    warning = ann.post(f"/api/images/{image}/open")["warnings"]
    assert warning == ["This file was replaced since its objects were drawn: check them."]


def test_a_file_replaced_while_no_server_ran(annotator: Annotator, ann: Person, image: int) -> None:
    ann.click(image, 14, 12)
    ann.accept(image, "key-of-object")
    path, before = annotator.folder / "a 1.png", (annotator.folder / "a 1.png").read_bytes()
    told = []
    for content in (255 - blobs(), None):
        annotator.stop()
        time.sleep(0.01)
        path.write_bytes(before) if content is None else Image.fromarray(content).save(path)
        annotator.start()
        told.append(annotator.person().post(f"/api/images/{image}/open")["warnings"])
    assert told == [["This file was replaced since its objects were drawn: check them."], []]
    # One that cannot be decoded is opened as ever.
    annotator.stop()
    path.write_bytes(before[:-40])
    annotator.start()
    ann = annotator.person()
    assert ann.post(f"/api/images/{image}/open")["warnings"] == []
    assert ann.http.get(f"/api/images/{image}/pixels").status_code == 422


def test_a_file_replaced_by_one_of_another_size(
    annotator: Annotator, ann: Person, image: int
) -> None:
    ann.click(image, 14, 12)
    ann.accept(image, "key-of-object")
    Image.fromarray(blobs(20, 30)).save(annotator.folder / "a 1.png")
    answer = ann.post(f"/api/images/{image}/open")
    assert (answer["width"], answer["height"]) == (30, 20)
    assert "were drawn on 56 x 40 pixels, now it has 30 x 20" in answer["warnings"][0]
    ann.click(image, 10, 10)
    assert ann.accept(image, "key-of-second")["width"] == 30


def test_files_that_cannot_be_read(annotator: Annotator, ann: Person) -> None:
    path = annotator.folder / "a 2.png"
    path.write_bytes(path.read_bytes()[:60])
    (annotator.folder / "empty.png").touch()
    rows = {row[1]: row[0] for row in ann.get("/api/images")["images"]}
    for name in ("a 2.png", "empty.png"):
        status, text = ann.refused(f"/api/images/{rows[name]}/click", x=1, y=1)
        assert status == 422
        assert name in text
        assert ann.http.get(f"/api/images/{rows[name]}/pixels").status_code == 422
    states = {row[1]: row[2] for row in ann.get("/api/images")["images"]}
    assert states["a 2.png"] == states["empty.png"] == "problem"
    assert states["a 1.png"] == "new"
    # They are passed over when looking for work.
    after = ann.get("/api/next", after=rows["a 1.png"], step=1, unfinished=True)["image"]
    assert after == rows["a 10.png"]


def test_a_jpeg_whose_size_is_known_but_not_its_pixels(
    annotator: Annotator, ann: Person, image: int
) -> None:
    path = annotator.folder / "a 1.png"
    Image.open(path).save(path, "JPEG")
    whole = ann.http.get(f"/api/images/{image}/pixels?decoded=true")
    assert whole.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(whole.content)).size == (56, 40)
    path.write_bytes(path.read_bytes()[:-200])
    assert ann.http.get(f"/api/images/{image}/pixels?decoded=true").status_code == 422
    assert [r[2] for r in ann.get("/api/images")["images"] if r[0] == image] == ["problem"]


def test_a_file_that_is_gone(annotator: Annotator, ann: Person, image: int) -> None:
    (annotator.folder / "a 1.png").unlink()
    status, text = ann.refused(f"/api/images/{image}/open")
    assert (status, "no longer in" in text) == (422, True)


def test_the_same_picture_twice_is_told(annotator: Annotator, ann: Person, image: int) -> None:
    copy = annotator.folder / "copy.png"
    copy.write_bytes((annotator.folder / "a 1.png").read_bytes())
    rows = {row[1]: row[0] for row in ann.get("/api/images")["images"]}
    ann.click(image, 14, 12)
    ann.click(rows["copy.png"], 14, 12)
    (warning,) = ann.post(f"/api/images/{rows['copy.png']}/open")["warnings"]
    assert warning == "The same picture as a 1.png: annotate only one of them."


@pytest.mark.parametrize("kind", ["plain", "turned", "deep", "grey16", "palette", "transparent"])
def test_pixels_on_the_page_are_those_of_the_model(
    annotator: Annotator, ann: Person, kind: str
) -> None:
    import io

    from samadapt.data.images import read_image

    path = annotator.folder / f"{kind}.png"
    picture = Image.fromarray(blobs())
    exif = Image.Exif()
    match kind:
        case "plain":
            picture.save(path)
        case "turned":
            exif[0x0112] = 6
            path = path.with_suffix(".jpg")
            picture.save(path, exif=exif, quality=95)
        case "deep":
            import cv2

            cv2.imwrite(str(path), blobs().astype(np.uint16) * 200)
        case "grey16":
            path = path.with_suffix(".tif")
            Image.fromarray(blobs()[..., 0].astype(np.uint16) * 9).save(path)
        case "palette":
            picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=5).save(path)
        case "transparent":
            picture.putalpha(100)
            picture.save(path)
    image = next(row[0] for row in ann.get("/api/images")["images"] if row[1] == path.name)
    body = ann.http.get(f"/api/images/{image}/pixels").content
    with Image.open(io.BytesIO(body)) as received:
        assert np.array_equal(np.asarray(received.convert("RGB")), read_image(path))
    small = ann.http.get(f"/api/images/{image}/thumbnail")
    assert small.headers["content-type"] == "image/jpeg"


def test_names_of_any_kind(annotator: Annotator, ann: Person) -> None:
    names = ["“quotes” & 'more'.png", "ünïcode 图像.png", "a?b#c%41.png", "  spaces  .png"]
    for shift, name in enumerate(names, 10):
        Image.fromarray(np.roll(blobs(), shift, axis=0)).save(annotator.folder / name)
    rows = {row[1]: row[0] for row in ann.get("/api/images")["images"]}
    for name in names:
        assert ann.post(f"/api/images/{rows[name]}/open")["name"] == name
        assert ann.http.get(f"/api/images/{rows[name]}/pixels").status_code == 200


def test_a_name_that_is_no_text_is_left_out(annotator: Annotator, ann: Person) -> None:
    bad = bytes(annotator.folder) + b"/\xff\xfe.png"
    Path(bad.decode(errors="surrogateescape")).write_bytes(b"x")
    assert len(ann.get("/api/images")["images"]) == 4
