"""Images larger than memory, over HTTP."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from annotator import Annotator, Json, Person
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.data.coco import CocoDataset
from samadapt.data.rle import Rle
from samadapt.data.tiled import TiledImage
from samadapt.data.tiled import image as tiled_image
from samadapt.server import tiled_images, wire_answers
from samadapt.server.tiled_images import PreparingError, TiledImages
from samadapt.server.wire import Crop
from samadapt.store.export import export_project
from slides import write_slide

SIDE = 4096
DISC, BIG = (3000, 1000, 100), (1000, 3000, 700)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Annotator]:
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "tiles"))
    monkeypatch.setattr(tiled_image, "HUGE_PIXELS", 1_000_000)
    monkeypatch.setattr(wire_answers, "_LARGE", 1_000_000)
    monkeypatch.setattr(wire_answers, "_MOST_POINTS", 1 << 16)
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(blobs()).save(folder / "a.png")
    write_slide(folder / "slide.tif", SIDE, [DISC, BIG], 1)
    running = Annotator(folder, tmp_path / "cache", ("online",), FakeModel(side=64)).start()
    running.project.labels.named(["disc"], "")
    yield running
    running.stop()


@pytest.fixture
def ann(large: Annotator) -> Person:
    return large.person()


def whole(crop: Json) -> Rle:
    """A mask of the page, of all pixels."""
    from samadapt.data.frames import placed

    found = Crop(**crop)
    return placed(found.rle(), found.x, found.y, found.step, (SIDE, SIDE))


def number(large: Annotator, name: str = "slide.tif") -> int:
    found = large.project.images.named(name)
    assert found is not None
    return found.id


def test_tiles_come_from_the_pyramid_and_are_kept_by_version(large: Annotator, ann: Person) -> None:
    image = number(large)
    opened = ann.post(f"/api/images/{image}/open")
    assert (opened["width"], opened["height"], opened["tile"]) == (SIDE, SIDE, 512)
    assert opened["ready"]
    place = f"/api/images/{image}/tiles/2/2/0"
    found = ann.http.get(place, params={"version": opened["version"]})
    assert found.headers["cache-control"] == "private, max-age=31536000, immutable"
    pixels = np.asarray(Image.open(io.BytesIO(found.content)))
    assert pixels.shape == (512, 512, 3)
    # The tile begins at (2048, 0): the disc's centre is at (476, 500) of it.
    assert abs(pixels[500, 476].astype(int) - (220, 40, 40)).max() < 12
    assert pixels[300, 300].max() < 12
    assert ann.http.get(place).headers["cache-control"] == "no-store"
    assert ann.http.get(place, headers={"authorization": "Bearer no"}).status_code == 401
    assert ann.http.get(f"/api/images/{image}/tiles/2/4/0").status_code == 422
    assert ann.http.get(f"/api/images/{number(large, 'a.png')}/tiles/1/0/0").status_code == 422
    overview = ann.http.get(f"/api/images/{image}/pixels")
    assert overview.headers["x-samadapt-version"] == opened["version"]
    assert Image.open(io.BytesIO(overview.content)).size == (1024, 1024)
    thumbnail = ann.http.get(f"/api/images/{image}/thumbnail")
    assert Image.open(io.BytesIO(thumbnail.content)).size == (96, 96)


def test_objects_are_kept_and_exported_in_pixels_of_the_whole_image(
    large: Annotator, ann: Person, tmp_path: Path
) -> None:
    image = number(large)
    view = {"step": 4, "box": [0, 0, SIDE, SIDE]}
    shown = ann.post(f"/api/images/{image}/click", x=1000, y=3000, view=view)
    assert shown["mask"]["step"] > 1
    assert shown["mask"]["width"] * shown["mask"]["height"] <= 1 << 16
    assert len(ann.get(f"/api/images/{image}/candidates")["candidates"]) == 3
    ann.post(f"/api/images/{image}/box", x0=1650, y0=2900, x1=1750, y1=3100, view={"step": 1})
    before = ann.post(f"/api/images/{image}/undo")
    assert before["mask"] == shown["mask"]
    saved = ann.accept(image, "key-of-the-first", shown=shown["digest"])
    assert "counts" not in saved
    thing = large.project.objects.get(saved["id"])
    assert (thing.height, thing.width, thing.source) == (SIDE, SIDE, "clicks")
    assert thing.rle.share_in(whole(saved["mask"])) == 1, "the page has it a little coarser"
    ann.click(image, 3000, 1000)
    stroke = {"x": 3200, "y": 1200, "width": 4, "height": 2, "step": 8}
    stroke["counts"] = Rle.from_mask(np.ones((2, 4), np.bool_)).counts.decode()
    ann.post(f"/api/images/{image}/stroke", mask=stroke)
    ann.accept(image, "key-of-the-other", keep_earlier=True)
    second = large.project.objects.all()[-1]
    assert second.rle.crop(3200, 1200, 3232, 1216).all()
    export_project(large.project, large.folder, "coco", tmp_path / "out.json")
    dataset = CocoDataset.load(tmp_path / "out.json")
    assert [dataset.rle(one.id) for one in dataset.annotations] == [thing.rle, second.rle]
    ann.post(f"/api/images/{image}/undo")
    assert len(large.project.objects.all()) == 1


def test_a_session_goes_on_after_a_restart_of_the_server(large: Annotator, ann: Person) -> None:
    image = number(large)
    ann.click(image, 3000, 1000)
    shown = ann.click(image, 3010, 1300, positive=False)
    large.stop()
    large.start()
    again = large.person()
    opened = again.post(f"/api/images/{image}/open")
    # What the first click taught is not in the log: the second one is answered without it.
    before, after = whole(shown["mask"]), whole(opened["current"]["mask"])
    assert after.share_in(before) > 0.9
    assert before.share_in(after) > 0.9
    assert opened["current"]["clicks"] == [[3000, 1000, 1], [3010, 1300, 0]]
    ended = again.post(f"/api/images/{image}/undo")
    assert ended["clicks"] == [[3000, 1000, 1]]


def test_tools_and_similar_objects_on_a_large_image(large: Annotator, ann: Person) -> None:
    image, view = number(large), {"step": 1}
    ann.click(image, 3000, 1000)
    first = ann.accept(image, "key-of-the-disc")
    named = [{"id": first["id"], "revision": first["revision"]}]
    rings = ann.post(f"/api/images/{image}/objects/outline", objects=named, tolerance=4)["rings"]
    assert all(2500 < x < 3500 and 500 < y < 1500 for ring in rings for x, y in ring)
    square = [[2900, 900], [3100, 900], [3100, 1100], [2900, 1100]]
    drawn = ann.post(f"/api/images/{image}/objects/polygon", objects=named, rings=[square])
    assert whole(drawn["saved"][0]["mask"]).area == 200 * 200
    named[0]["revision"] += 1
    smooth = ann.post(f"/api/images/{image}/objects/tool", objects=named, tool="smooth")
    assert whole(smooth["saved"][0]["mask"]).area < 200 * 200
    named[0]["revision"] += 1
    before = large.project.objects.get(first["id"]).rle
    refined = ann.post(f"/api/images/{image}/objects/tool", objects=named, tool="refine outline")
    for one in refined["saved"]:  # four pixels on each side of the outline may change
        assert abs(whole(one["mask"]).area - before.area) < 800 * 8
        assert whole(one["mask"]).crop(2910, 910, 3090, 1090).all()
    path = {"x0": 2890, "y0": 1000, "x1": 3110, "y1": 1000, "view": view}
    found = ann.post(f"/api/images/{image}/objects/path", **path)["path"]
    assert np.hypot(*(np.subtract(found[0], (2890, 1000)))) < 2
    assert np.hypot(*(np.subtract(found[-1], (3110, 1000)))) < 2
    around = {"step": 4, "box": [0, 0, SIDE, SIDE]}
    similar = ann.post(f"/api/images/{image}/similar", view=around)
    for one in similar["proposals"]:
        assert whole(one["mask"]).share_in(Rle.from_mask(np.ones((SIDE, SIDE), np.bool_))) == 1
    preview = ann.post(f"/api/images/{image}/preview", x=3000, y=1000, view=view)
    assert preview["mask"]["width"] > 100
    _, text = ann.refused(f"/api/images/{image}/click", x=5000, y=10)
    assert "outside the image of 4096 x 4096 pixels" in text


def test_what_cannot_be_read_is_one_line_and_flat_files_are_cut_once(
    large: Annotator, ann: Person, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((1001, 1100), np.uint8)).save(large.folder / "flat.png")
    (large.folder / "broken.svs").write_bytes(b"II*\0 and nothing else")
    tifffile.imwrite(large.folder / "deep.tif", np.full((1100, 1000), 7.5, np.float32))
    store = large.folder / "store.zarr"
    store.mkdir()
    (store / ".zgroup").write_text("{}")
    names = [row[1] for row in ann.get("/api/images")["images"]]
    assert names == ["a.png", "broken.svs", "deep.tif", "flat.png", "slide.tif", "store.zarr"]
    for name, text in (("broken.svs", "broken.svs"), ("store.zarr", "store.zarr")):
        status, line = ann.refused(f"/api/images/{number(large, name)}/open")
        assert (status, "\n" in line) == (422, False)
        assert text in line
    for name in ("flat.png", "deep.tif"):
        assert ann.post(f"/api/images/{number(large, name)}/open")["tile"] == 512
    # The strips of the TIFF are read as they are.
    assert len(list((tmp_path / "tiles" / "tiles").iterdir())) == 1
    ann.click(number(large, "a.png"), 14, 12)  # the others work


def test_an_image_whose_tiles_are_being_made_opens_when_they_are(
    large: Annotator, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = large.folder / "flat.png"
    Image.fromarray(np.zeros((1001, 1100), np.uint8)).save(path)
    tiled = large.workspace.tiled
    monkeypatch.setattr(TiledImages.get, "__defaults__", (0.01,))  # seconds of patience
    slide = number(large, "slide.tif")
    # A client that asks so is told to ask again, with the same key, by an answer of success.
    patient = {"prefer": "respond-async", "idempotency-key": "key-of-opening"}
    with tiled._working:
        for what in ("pixels", "thumbnail", "tiles/8/0/0"):
            answer = ann.http.get(f"/api/images/{slide}/{what}")
            assert (answer.status_code, "is being opened: " in answer.json()["error"]) == (
                425,
                True,
            )
            answer = ann.http.get(f"/api/images/{slide}/{what}", headers=patient)
            assert (answer.status_code, list(answer.json())) == (202, ["preparing"])
        for _ in range(2):
            answer = ann.http.post(f"/api/images/{slide}/open", headers=patient)
            assert answer.status_code == 202
            assert answer.json()["preparing"].startswith("slide.tif is being opened: ")
    tiled.get(large.folder / "slide.tif", patience=60)
    assert ann.http.post(f"/api/images/{slide}/open", headers=patient).json()["tile"] == 512
    with tiled._working:  # another image is at its turn
        with pytest.raises(PreparingError, match=r"^flat\.png is being cut into tiles, once: "):
            tiled.get(path, patience=0)
        with pytest.raises(PreparingError, match="no small picture before it is opened"):
            tiled.thumbnail(path, 96)
    assert tiled.get(path, patience=60).size == (1001, 1100)
    assert Image.open(io.BytesIO(tiled.thumbnail(path, 96))).size == (96, 87)


def test_a_file_stays_open_while_it_is_read(
    large: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled, slide = large.workspace.tiled, large.folder / "slide.tif"
    other = write_slide(large.folder / "other.tif", SIDE, [DISC], 3)
    monkeypatch.setattr(tiled_images, "_MOST_OPEN", 1)
    view = TiledImage.view

    def evicted(image: TiledImage, *args: Any) -> Any:
        tiled.get(other)
        gc.collect()
        return view(image, *args)

    expected = tiled.tile(slide, 2, 2, 0)
    monkeypatch.setattr(TiledImage, "view", evicted)
    assert tiled.tile(slide, 2, 2, 0) == expected


_CLICK = """
import resource, sys
sys.path[:0] = sys.argv[3:5]
from pathlib import Path
from annotator import Annotator
from fakes import FakeModel
from samadapt.server.wire import View

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

running = Annotator(Path(sys.argv[1]), Path(sys.argv[2]), ("online",), FakeModel(side=64)).start()
ann = running.person()
(image,) = running.ids()
small = ann.get("/api/project") and peak()
ann.post(f"/api/images/{image}/open")
ann.http.get(f"/api/images/{image}/tiles/32/0/0").raise_for_status()
whole = {"step": 32, "box": [0, 0, 20000, 20000]}
ann.post(f"/api/images/{image}/click", x=10000, y=10000, view=whole)
ann.post(f"/api/images/{image}/click", x=12000, y=10000, view={"step": 1})
ann.accept(image, "key-of-the-first")
ann.post(f"/api/images/{image}/click", x=500, y=500, view={"step": 1})
ann.accept(image, "key-of-the-second", keep_earlier=True)
grown = peak() - small
areas = [thing.rle.area for thing in running.project.objects.all()]
running.stop()
print(grown, *areas)
"""


def test_memory_stays_flat_when_400_million_pixels_are_clicked(tmp_path: Path) -> None:
    """As RGB the image has 1144 MiB, and one mask of all pixels 381."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_slide(folder / "slide.tif", 20_000, [(10_000, 10_000, 2500), (500, 500, 200)], 4)
    tests = Path(__file__).parents[1]
    arguments = [str(folder), str(tmp_path / "cache"), str(tests), str(tests / "server")]
    command = [sys.executable, "-c", _CLICK, *arguments]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert out.returncode == 0, out.stderr[-2000:]
    grown, big, small = (int(value) for value in out.stdout.split())
    assert big > 5_000_000
    assert small > 10_000
    assert grown < 300
