"""Whole stories at the page, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator import Annotator
from PIL import Image
from story import Story

from fakes import OracleModel
from samadapt.data.coco import CocoDataset
from samadapt.proposals import similar

Opener = Callable[..., Any]

DISC, SQUARE, BAR = (14, 12), (37, 29), (43, 7)


def on_disk(annotator: Annotator, image: int) -> dict[int, np.ndarray]:
    return {o.id: o.mask() for o in annotator.project.objects.of_image(image)}


def same(one: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_three_images_from_the_first_click_to_the_export(
    annotator: Annotator, open_page: Opener, tmp_path: Path
) -> None:
    story = Story(open_page())
    first, second, third, _ = annotator.ids()
    # Clicks: object, background with the right button, and with Alt.
    story.click(*DISC)
    alone = story.mask()
    story.click(50, 70, button="right")
    story.click(80, 70, keys=("Alt",))
    assert [c[2] for c in story.current()["clicks"]] == [1, 0, 0]
    story.press("Control+z")
    story.until("samadapt.current.clicks.length === 2")
    story.press("Control+z")
    story.until("samadapt.current.clicks.length === 1")
    assert np.array_equal(story.mask(), alone)
    story.press("Control+y")
    story.until("samadapt.current.clicks.length === 2")
    story.press("Control+z")
    story.until("samadapt.current.clicks.length === 1")
    # Candidates.
    chosen = story.current()["chosen"]
    story.press("c")
    story.until(f"samadapt.current.chosen === {(chosen + 1) % 3}")
    screens = {first: [story.accept()]}
    # A box, with the second label.
    story.press("2")
    story.drag((26, 18), (50, 40))
    story.until("samadapt.current.box !== null && samadapt.current.mask !== null")
    screens[first].append(story.accept())
    # Reload in the middle of an object: it is still there.
    story.click(*BAR)
    before = story.mask()
    story.page.reload()
    story.page.wait_for_selector("html[data-ready=true]")
    story.until("samadapt.current.clicks.length === 1")
    assert np.array_equal(story.mask(), before)
    assert same(story.objects(), on_disk(annotator, first))
    screens[first].append(story.accept())
    # On to the next image; brush and eraser there.
    story.press("n")
    story.until(f"samadapt.state.image.id === {second}")
    assert annotator.project.images.get(first).mark == "done"
    story.click(*DISC)
    story.press("b", "]", "]")
    story.drag((60, 60), (90, 60))
    painted = story.mask()
    assert painted[60, 75]
    story.press("d")
    story.drag((75, 50), (75, 75))
    erased = story.mask()
    assert painted.sum() > erased.sum()
    assert not erased[60, 75]
    story.press("Control+z")
    assert np.array_equal(story.mask(), painted)
    story.press("Control+Shift+z")
    assert np.array_equal(story.mask(), erased)
    screens[second] = [story.accept()]
    story.press("w", "ArrowRight")
    story.until(f"samadapt.state.image.id === {third}")
    story.click(*SQUARE)
    screens[third] = [story.accept()]
    # What was on the screen is what is exported.
    story.page.click("#menu-button")
    story.page.click("text=Export…")
    with story.page.expect_download() as download:
        story.page.click(".dialog [type=submit]")
    path = tmp_path / "export.json"
    download.value.save_as(path)
    dataset = CocoDataset.load(path, annotator.folder)
    exported = {
        image: [dataset.mask(a.id) for a in dataset.annotations_of(image)] for image in screens
    }
    for image, masks in screens.items():
        assert len(exported[image]) == len(masks)
        assert all(map(np.array_equal, exported[image], masks))
    names = [dataset.category(a.category_id).name for a in dataset.annotations_of(first)]
    assert names == ["disc", "square", "square"]


def test_an_export_says_what_is_not_in_it(
    annotator: Annotator, open_page: Opener, folder: Path
) -> None:
    story = Story(open_page())
    story.click(*DISC)
    story.accept()
    Image.new("RGB", (30, 20)).save(folder / "1.png")
    story.page.click("#menu-button")
    story.page.click("text=Export…")
    with story.page.expect_download():
        story.page.click(".dialog [type=submit]")
    story.page.wait_for_selector(".dialog >> text=1.png, object 1: drawn on 112 x 80 pixels")


def test_what_is_painted_is_what_is_known(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page())
    assert story.pixel("base", 14.5, 12.5)[:3] == [220, 40, 40]
    assert story.pixel("overlay", 20, 12)[3] == 0
    story.click(*DISC)
    inside = story.mask()
    rows, columns = np.nonzero(inside)
    y, x = int(rows[len(rows) // 2]), int(columns[len(rows) // 2])
    assert story.pixel("overlay", x + 0.5, y + 0.5)[3] > 0
    story.accept()
    assert story.pixel("overlay", x + 0.5, y + 0.5)[3] == 0
    assert story.pixel("objects-layer", x + 0.5, y + 0.5)[3] > 60
    story.press("o", "l")
    assert story.pixel("objects-layer", x + 0.5, y + 0.5)[3] == 0


def test_objects_are_selected_improved_relabelled_deleted_and_brought_back(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    image = annotator.ids()[0]
    story.click(*DISC)
    mask = story.accept()
    (number,) = story.objects()
    rows, columns = np.nonzero(mask)
    middle = columns[len(rows) // 2] + 0.5, rows[len(rows) // 2] + 0.5
    story.page.keyboard.down("Shift")
    story.page.mouse.click(*story.place(*middle))
    story.page.keyboard.up("Shift")
    story.until(f"samadapt.state.selected === {number}")
    story.press("2")
    story.until(f"samadapt.state.objects.get({number}).label === 2")
    story.press("i")
    story.until("samadapt.current.edited !== null")
    assert np.array_equal(story.mask(), mask)
    story.click(100, 75, button="right")
    story.press("b")
    story.drag((95, 5), (105, 5))
    better = story.accept()
    assert not np.array_equal(better, mask)
    assert same(on_disk(annotator, image), {number: better})
    # Undo goes back over the improvement, the new label stays; then delete and undo.
    story.press("Control+z")
    story.until(f"samadapt.state.objects.get({number}).revision === 4")
    assert same(on_disk(annotator, image), {number: mask})
    story.page.evaluate("id => { samadapt.state.selected = id }", number)
    story.press("Delete")
    story.until("samadapt.state.objects.size === 0")
    story.saved()
    assert on_disk(annotator, image) == {}
    story.press("Control+z")
    story.until("samadapt.state.objects.size === 1")
    story.saved()
    assert same(on_disk(annotator, image), {number: mask})
    assert annotator.project.objects.get(number).label_id == 2


def test_the_label_of_an_object_can_change_while_it_is_improved(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    story.press("2")
    story.click(*DISC)
    story.accept()
    (number,) = story.objects()
    for label, keys in ((2, ()), (1, ("1",))):
        story.page.evaluate("id => { samadapt.state.selected = id }", number)
        story.press("i")
        story.until("samadapt.current.edited !== null")
        # Loaded anew in the middle: its label is still its label.
        story.page.reload()
        story.page.wait_for_selector("html[data-ready=true]")
        story.until("samadapt.current.edited !== null")
        story.press(*keys, "b")
        story.drag((60, 60), (80, 50 + 10 * label))
        story.accept()
        assert annotator.project.objects.get(number).label_id == label


def test_buttons_that_were_clicked_leave_the_keys_to_the_image(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    story.page.click("[data-tool=box]")
    story.page.click("[data-tool=click]")
    story.click(*DISC)
    story.accept()  # Enter does not press the tool's button again
    story.page.click("#tools [data-action=undo]")
    story.until("samadapt.state.objects.size === 0")
    story.page.click("#tools [data-action=redo]")
    story.until("samadapt.state.objects.size === 1")
    # One that was reached by Tab is pressed by Enter.
    story.page.locator("#tools [data-tool=brush]").focus()
    story.press("Enter")
    story.until("samadapt.state.tool === 'brush'")


def test_new_objects_can_leave_earlier_ones(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page())
    story.press("b")
    story.drag((20, 40), (60, 40))
    first = story.accept()
    story.press("t")
    story.drag((40, 20), (40, 60))
    assert not (story.mask() & first).any()
    second = story.accept()
    assert second.any()
    assert same(on_disk(annotator, annotator.ids()[0]), story.objects())


def test_a_server_that_goes_away_loses_nothing(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page())
    image = annotator.ids()[0]
    story.click(*DISC)
    annotator.kill()
    mask = story.mask()
    story.press("Enter")
    story.page.wait_for_selector("#saved[data-state=failed]")
    annotator.start(annotator.port)
    story.saved()
    story.until("samadapt.state.objects.size === 1")
    assert [m.tolist() for m in on_disk(annotator, image).values()] == [mask.tolist()]
    story.click(*SQUARE)
    story.accept()
    assert same(on_disk(annotator, image), story.objects())


def test_two_browsers_at_one_project(annotator: Annotator, open_page: Opener) -> None:
    first, second, *_ = annotator.ids()
    ann = Story(open_page())
    bob = Story(open_page())
    assert bob.page.locator("#others").is_visible()  # the same image: a clear warning
    ann.click(*DISC)
    mine = ann.accept()
    bob.press("n")
    bob.until(f"samadapt.state.image.id === {second}")
    assert not bob.page.locator("#others").is_visible()
    bob.open(first)
    bob.until("samadapt.state.objects.size === 1")
    (number,) = bob.objects()
    assert np.array_equal(bob.objects()[number], mine)
    # Both change the same object: the second is told, and nothing is overwritten.
    for story in (ann, bob):
        story.page.evaluate("id => { samadapt.state.selected = id }", number)
    ann.press("2")
    ann.until(f"samadapt.state.objects.get({number}).revision === 2")
    ann.saved()
    bob.press("Delete")
    bob.page.wait_for_selector(".toast.bad >> text=meanwhile")
    bob.until(f"samadapt.state.objects.get({number})?.revision === 2")
    assert annotator.project.objects.get(number).label_id == 2
    # Who leaves is gone at once.
    ann.page.wait_for_selector("#others:not([hidden])")
    bob.page.goto("about:blank")
    ann.page.wait_for_selector("#others", state="hidden", timeout=3000)


def test_import_in_the_page(annotator: Annotator, open_page: Opener, tmp_path: Path) -> None:
    story = Story(open_page())
    document = {
        "images": [{"id": 7, "file_name": "1.png", "height": 80, "width": 112}],
        "categories": [{"id": 3, "name": "imported"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 3,
                "segmentation": [[5, 5, 25, 5, 25, 20, 5, 20]],
            }
        ],
    }
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    story.page.click("#menu-button")
    story.page.click("text=Import…")
    with story.page.expect_file_chooser() as chooser:
        story.page.click("text=A COCO or zip file")
    chooser.value.set_files(str(path))
    story.page.wait_for_selector(".dialog >> text=imported 1 objects")
    story.page.click(".dialog button")
    story.until("samadapt.state.objects.size === 1")
    ((number, mask),) = story.objects().items()
    assert mask.sum() == 20 * 15
    assert story.page.locator("#labels >> text=imported").count() == 1
    story.page.locator("#object-list .row").dblclick()
    story.until("samadapt.current.edited !== null")
    story.press("b")
    story.drag((60, 60), (70, 60))
    better = story.accept()
    assert same(on_disk(annotator, annotator.ids()[0]), {number: better})


def test_it_fits_follows_the_system_and_keys_can_be_changed(open_page: Opener) -> None:
    story = Story(open_page(color_scheme="dark"))
    page, theme = story.page, "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    wide, high = page.evaluate(
        "() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert (wide, high) == (1280, 720)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{theme} === 'light'")
    page.click("[data-action=theme]")  # now dark, whatever the system says
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    assert page.evaluate(theme) == "dark"
    # All keys are in sight at once.
    story.press("?")
    whole = "(e) => e.scrollHeight <= e.clientHeight && e.getBoundingClientRect().bottom <= 720"
    assert page.locator(".dialog").evaluate(whole)
    # One that is used is not taken without asking.
    line = ".keys .line:has-text('Find similar') button"
    page.click(line)
    story.press("b")
    page.wait_for_selector("text=B is the key for “Brush”")
    page.click(".dialog >> text=Cancel")
    assert page.inner_text(line) == "F"
    page.click(line)
    story.press("b")
    page.click(".dialog >> text=Use it here")
    page.wait_for_function("document.querySelectorAll('.dialog').length === 1")
    assert page.inner_text(line) == "B"
    brush = page.locator(".keys .line:has-text('Brush')").first
    assert "B" not in brush.inner_text().split()
    page.click(line)
    story.press("Shift+w")
    page.keyboard.press("Escape")
    page.wait_for_selector(".veil", state="detached")
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    assert "(Shift+W)" in page.locator("#similar-button").get_attribute("title")


def test_similar_objects_are_proposed_until_none_is_left(
    annotator: Annotator, open_page: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns = np.mgrid[:80, :112]
    labels = np.zeros((80, 112), np.int_)
    picture = np.full((80, 112, 3), 110, np.uint8)
    for number, (y, x) in enumerate([(20, 20), (20, 56), (20, 92), (60, 38), (60, 74)], 1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 80] = number
    picture[labels > 0] = (220, 40, 40)
    annotator.stop()
    annotator.model = OracleModel(labels)
    Image.fromarray(picture).save(annotator.folder / "0.png")
    # Two at a time, so that the page has to ask again.
    whole = similar.propose_similar
    asked: list[dict[str, Any]] = []

    def two(*args: Any, **more: Any) -> similar.SimilarObjects:
        asked.append(more)
        return whole(*args[:6], 2, seconds=60, **more)

    monkeypatch.setattr("samadapt.server.client_masks.propose_similar", two)
    annotator.start()
    story = Story(open_page())
    story.page.evaluate(
        "samadapt.openImage(samadapt.state.images.find(([, name]) => name === '0.png')[0])"
    )
    story.until("samadapt.state.image?.name === '0.png'")
    story.click(20.5, 20.5)
    story.accept()
    story.press("f")
    story.until("samadapt.state.proposals?.list.length === 2 && samadapt.state.proposals.more")
    assert "Similar 1 / 2+" in story.page.locator("#bar").inner_text()
    story.press("r")
    story.until("samadapt.state.proposals.list.length === 1")
    # The rejection is taken back first, and not the object that was accepted before.
    story.press("Control+z")
    story.until("samadapt.state.proposals.list.length === 2")
    assert story.page.evaluate("samadapt.state.objects.size") == 1
    story.press("r")
    story.until("samadapt.state.proposals.list.length === 1")
    story.press("Enter")
    # The last one dealt with, the page looks on by itself; what was rejected does not come back.
    story.until("samadapt.state.objects.size === 2 && samadapt.state.proposals?.list.length === 2")
    assert len(asked[1]["rejected"]) == 1
    # Undo proposes again what was accepted, at its place; how many are not in sight is told.
    first = story.page.evaluate("samadapt.state.proposals.list[0].mask.x")
    story.press("Enter")
    story.until("samadapt.state.objects.size === 3 && samadapt.state.proposals?.list.length === 1")
    story.press("Control+z")
    story.until("samadapt.state.objects.size === 2 && samadapt.state.proposals?.list.length === 2")
    assert story.page.evaluate("samadapt.state.proposals.list[0].mask.x") == first
    assert "out of sight" not in story.page.locator("#which-proposal").inner_text()
    story.page.evaluate("samadapt.show(5, 75, 40)")
    assert "(2 out of sight)" in story.page.locator("#which-proposal").inner_text()
    story.press("z")
    story.press("Shift+Enter")
    story.until("samadapt.state.objects.size === 4")
    story.idle()
    # Nothing is proposed beside what redo brings back.
    story.press("Control+z")
    story.until("samadapt.state.objects.size === 2 && samadapt.state.proposals?.list.length === 2")
    story.press("Control+y")
    story.until("samadapt.state.objects.size === 4 && !samadapt.state.proposals")
    story.press("f")
    story.page.wait_for_selector(".toast >> text=Nothing else here looks like")
    image = next(i for i in annotator.ids() if annotator.project.images.get(i).name == "0.png")
    found = {int(labels[mask].max()) for mask in on_disk(annotator, image).values()}
    assert len(found) == 4
    assert 1 in found


def test_a_press_on_a_button_survives_that_the_bar_is_drawn_again(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    story.page.mouse.click(*story.place(*DISC))
    story.until("samadapt.current.mask !== null")
    story.page.hover("#bar [data-bar=accept]")
    story.page.mouse.down()
    story.page.evaluate(
        """() => document.getElementById("brush-size").dispatchEvent(new Event("input"))"""
    )
    story.page.mouse.up()
    story.until("samadapt.state.objects.size === 1")


def test_fingers(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page(1024, 768, has_touch=True))
    story.page.touchscreen.tap(*story.place(*DISC))
    story.until("samadapt.current.mask !== null")
    story.page.locator("#bar [data-bar=accept]").tap()
    story.until("samadapt.state.objects.size === 1")
    # Two fingers zoom.
    before = story.page.evaluate("samadapt.view.scale")
    story.page.evaluate(
        """() => {
            const stage = document.getElementById("stage");
            const touch = (type, id, x, y) => stage.dispatchEvent(new PointerEvent(type, {
                pointerId: id, clientX: x, clientY: y, pointerType: "touch", bubbles: true,
                button: 0 }));
            stage.setPointerCapture = () => {};
            touch("pointerdown", 1, 400, 400); touch("pointerdown", 2, 500, 400);
            touch("pointermove", 2, 600, 400);
            touch("pointerup", 1, 400, 400); touch("pointerup", 2, 600, 400);
        }"""
    )
    assert story.page.evaluate("samadapt.view.scale") == pytest.approx(2 * before, rel=0.01)
    assert story.current()["clicks"] == []


def test_labels_images_and_display(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page())
    story.page.click("text=Add")
    story.page.keyboard.type("new “kind”")
    story.press("Enter")
    story.until("samadapt.state.labels.length === 3")
    story.click(*DISC)
    story.accept()
    thing = annotator.project.objects.all()[0]
    assert thing.label_id == 3
    # Jump by a part of the name, and by the list.
    story.press("g")
    story.page.keyboard.type("3.p")
    story.press("Enter")
    story.until("samadapt.state.image.name === '3.png'")
    story.page.click("[data-tab=images]")
    story.page.click(".image-row:has-text('1.png')")
    story.until("samadapt.state.image.name === '1.png'")
    story.until("samadapt.state.objects.size === 1")
    story.press("k")
    story.until("samadapt.state.image.name === '2.png'")
    assert annotator.project.images.named("1.png").mark == "skipped"
    story.page.click("[data-tab=view]")
    story.page.locator("[data-setting=gamma]").fill("2")
    assert "display" in story.page.evaluate("document.getElementById('base').style.filter")
    story.page.click("[data-tab=learning]")
    story.page.wait_for_selector("#learning-panel >> text=you corrected or checked: 0 so far")


def test_an_image_that_cannot_be_read_is_said_so(annotator: Annotator, open_page: Opener) -> None:
    path = annotator.folder / "2.png"
    path.write_bytes(path.read_bytes()[:80])
    story = Story(open_page())
    story.press("ArrowRight")
    story.page.wait_for_selector("#blank >> text=2.png")
    story.press("ArrowRight")
    story.until("samadapt.state.image?.name === '3.png'")
    story.click(*DISC)
