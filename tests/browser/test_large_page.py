"""An image of 400 million pixels in the page, from opening it to its objects in the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from annotator import Annotator
from story import Story

from fakes import FakeModel
from samadapt.server.tiled_images import TiledImages
from slides import write_slide

SIDE = 20_000
SMALL, LARGE = (15_000, 4_000, 150), (6_000, 12_000, 2_000)
Opener = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    write_slide(place / "slide.tif", SIDE, [SMALL, LARGE], 4)
    return place


@pytest.fixture
def annotator(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    running = Annotator(folder, tmp_path / "cache", ("online",), FakeModel(side=64)).start()
    running.project.labels.named(["disc"], "")
    yield running
    running.stop()


_TILE = """async ([x, y]) => {
    const {view} = samadapt;
    for (let k = 0; k < 100; k++) {
        const canvas = document.querySelector("#tiles canvas"), ratio = canvas.width / view.width;
        const at = [view.x + x * view.scale, view.y + y * view.scale].map((v) => v * ratio | 0);
        const [r, g, b, a] = canvas.getContext("2d").getImageData(at[0], at[1], 1, 1).data;
        if (a) return [r, g, b];
        await new Promise((done) => setTimeout(done, 50));
    }
    return null;
}"""


def red(colour: list[int] | None) -> bool:
    return colour is not None and abs(colour[0] - 220) < 15 and colour[1] < 60


def becomes_red(page: Any, place: list[int]) -> bool:
    """Whether a place is red at last: coarser tiles may be shown before the finest ones."""
    for _ in range(100):
        if red(page.evaluate(_TILE, place)):
            return True
        page.wait_for_timeout(50)
    return False


def test_the_story_of_a_slide(
    annotator: Annotator, open_page: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(open_page())
    page = story.page
    story.until("samadapt.state.image?.tile === 512")
    # While it is opened again the page says so, and nothing of it is an error in its console.
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    tiled = annotator.workspace.tiled
    with monkeypatch.context() as patch, tiled._working:  # another image is at its turn
        patch.setattr(TiledImages.get, "__defaults__", (0.05,))  # seconds of patience
        tiled._open.clear()
        page.evaluate("samadapt.openImage(samadapt.state.image.id)")
        page.wait_for_selector("#blank:has-text('slide.tif is being opened')")
    story.until("samadapt.state.image?.tile === 512")
    assert said == []
    # All of it is in sight; tiles and the view agree about places.
    assert becomes_red(page, [6_000, 12_000])
    assert not red(page.evaluate(_TILE, [15_000, 12_000]))
    # An object larger than a window of full resolution, at the zoom that shows it.
    story.click(6_000, 12_000)
    story.idle()
    assert page.evaluate("samadapt.finalMask().step") > 1
    story.press("Enter")
    story.until("samadapt.state.objects.size === 1")
    story.saved()
    # Close to the small one: tiles of the finest level, and its own window.
    page.evaluate("samadapt.show(15000, 4000, 1)")
    assert becomes_red(page, [15_000, 4_000])
    assert not red(page.evaluate(_TILE, [15_250, 4_000]))
    story.click(15_000, 4_000)
    story.click(15_250, 4_100, button="right")
    story.press("Control+z")
    story.until("samadapt.current.clicks.length === 1")
    # A stroke, then panning by dragging, and the mask stays where it is.
    story.press("b")
    story.drag((15_000, 3_800), (15_100, 3_800))
    story.idle()
    box = "(({x, y, w, h}) => [x, y, w, h])(samadapt.finalMask())"
    before = page.evaluate(box)
    assert before[1] < 3_810
    page.keyboard.down(" ")
    story.drag((15_000, 4_000), (14_900, 3_950))
    page.keyboard.up(" ")
    assert page.evaluate(box) == before
    story.press("v", "Enter")
    story.until("samadapt.state.objects.size === 2")
    story.saved()
    # A tool on an accepted object, and undo of it.
    page.evaluate("samadapt.show(15000, 4000, 0.5)")
    page.mouse.click(*story.place(15_000, 4_000))
    story.until("samadapt.selectedIds().length === 1")
    story.press("Shift+S")
    story.idle()
    things = annotator.project.objects.all()
    assert [thing.revision for thing in things] == [1, 2]
    story.press("Control+z")
    story.idle()
    large, small = annotator.project.objects.all()
    x, y, width, height = large.rle.box
    assert x < 5_200 < 6_800 < x + width
    assert y < 11_200 < 12_800 < y + height
    assert small.rle.crop(14_990, 3_995, 15_010, 4_005).all()
    assert (small.height, small.width) == (SIDE, SIDE)
    # A page that is loaded anew shows the same.
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    story.until("samadapt.state.objects.size === 2")
