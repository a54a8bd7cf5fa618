"""A volume in the page: one item with a slider; an object is carried, filled, split, exported."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from annotator import Annotator
from story import Story

from fakes import FakeModel
from moving import disc_at, moving_disc, save_stack
from samadapt.data.label_volumes import load_label_volume
from samadapt.data.rle import Rle
from samadapt.store.objects import NewMask

Opener = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A volume of six slices; the disc is missing in the fifth."""
    place = tmp_path / "pictures"
    place.mkdir()
    save_stack(place / "volume.tif", moving_disc(6, without=(4,)))
    return place


@pytest.fixture
def annotator(folder: Path, tmp_path: Path) -> Iterator[Annotator]:
    running = Annotator(folder, tmp_path / "cache", model=FakeModel(side=96)).start()
    running.project.labels.named(["disc"], "")
    yield running
    running.stop()


def test_an_object_is_followed_through_a_volume(
    annotator: Annotator, open_page: Opener, tmp_path: Path
) -> None:
    story = Story(open_page())
    page, ids = story.page, annotator.ids()
    project = annotator.project

    def at(index: int) -> None:
        story.until(f"samadapt.state.image?.id === {ids[index]}")
        story.idle()

    def carried(index: int) -> dict[str, Any]:
        at(index)
        story.until("samadapt.state.proposals?.carried !== undefined")
        found: dict[str, Any] = page.evaluate("samadapt.state.proposals.carried")
        return found

    def tracks() -> list[list[int]]:
        """The tracks in each slice."""
        numbers = project.tracks.numbers()
        return [[numbers.get(o.id, o.id) for o in project.objects.of_image(one)] for one in ids]

    def drawn(index: int) -> int:
        x = 20 + 3 * index
        story.click(x, 24)
        assert (story.mask() & disc_at(index)).sum() > 150
        story.accept()
        number = max(story.objects())
        page.evaluate("document.activeElement.blur()")
        return number

    def select(index: int) -> None:
        page.keyboard.down("Shift")
        page.mouse.click(*story.place(20 + 3 * index, 24))
        page.keyboard.up("Shift")
        story.until("samadapt.state.selected !== null")

    # One row, and a slider with keys, the wheel and the mouse; the view stays where it is.
    page.click("[data-tab=images]")
    page.wait_for_selector(".image-row:has-text('6 slices')")
    assert page.locator(".image-row").count() == 1
    page.click("[data-tab=objects]")
    page.evaluate("samadapt.show(36, 24, 12)")
    place = page.evaluate("[samadapt.view.x, samadapt.view.scale]")
    story.press("ArrowDown")
    at(1)
    page.mouse.move(*story.place(30, 24))
    page.keyboard.down("Shift")
    page.mouse.wheel(0, 100)
    page.keyboard.up("Shift")
    at(2)
    for _ in range(8):  # no further than the last one
        page.keyboard.press("PageDown")
    at(5)
    assert page.inner_text("#slice-value") == "z 5 / 5"
    page.locator("#slice-range").fill("0")
    at(0)
    assert page.evaluate("[samadapt.view.x, samadapt.view.scale]") == place

    # Accepted slice by slice with one key, until the answer is doubted; nothing unseen is accepted.
    head = drawn(0)
    select(0)
    story.press(".")
    for index in (1, 2, 3):
        assert carried(index)["why"] == ""
        assert page.is_visible("#slices")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
    assert "IoU of the prediction with the carried mask" in carried(4)["why"]
    assert page.inner_text("#remark").startswith("Look closely: ")
    assert tracks() == [[head]] * 4 + [[], []]
    # Corrected with a click: the object goes on being the same, and is carried on.
    story.click(30, 24)
    story.until("samadapt.current.edited !== null")
    story.press("Enter")
    at(5)
    assert tracks()[4] == [head]
    story.press("Escape")
    story.idle()
    assert project.proposals.numbers() == {}
    # Each of these is a step of undo, wherever it was done.
    for left in (4, 3):
        while sum(map(len, tracks())) > left:
            story.press("Control+z")
            story.idle()
    assert carried(3)["track"] == head
    story.press("Enter")
    assert "IoU of the prediction with the carried mask" in carried(4)["why"]
    # It is not there: it ends in the slice before, for which its number is selected.
    story.press("Shift+N")
    at(3)
    story.until("samadapt.state.tracks[samadapt.state.selected]?.ends")
    story.press(".")
    page.wait_for_selector("text=ends in this slice")
    story.press("Control+z")
    story.until("samadapt.state.tracks[samadapt.state.selected]?.ends === false")
    assert "track" in page.inner_text("#object-list")

    # What lies between two slices of it is filled, and accepted with the same key.
    for index in (2, 1):
        story.press("ArrowUp")
        at(index)
        story.until("samadapt.state.selected !== null")  # it is followed
        story.press("Delete")
        story.until("samadapt.state.objects.size === 0")
    story.press("ArrowUp")
    at(0)
    story.until("samadapt.state.selected !== null")
    story.press("Shift+G")
    page.wait_for_selector("#fill-state:has-text('2 slices filled')")
    story.press("ArrowDown")
    assert carried(1)["isFilled"]
    story.press("Shift+G")
    story.until("samadapt.state.objects.size === 1")
    assert tracks() == [[head]] * 4 + [[], []]
    story.press("Control+z")
    story.until("samadapt.state.objects.size === 0")
    story.press("Control+y")
    story.until("samadapt.state.objects.size === 1")
    assert tracks() == [[head]] * 4 + [[], []]

    # Split, joined again with what was selected before, taken back.
    story.press("ArrowUp")
    at(0)
    for index in (1, 2):
        story.press("ArrowDown")
        at(index)
        story.until("samadapt.state.selected !== null")
    story.press("Shift+T")
    story.until(f"samadapt.state.tracks[samadapt.state.selected]?.parent === {head}")
    new = tracks()[2][0]
    assert tracks() == [[head], [head], [new], [new], [], []]
    story.press("Control+z")
    story.until("samadapt.state.tracks[samadapt.state.selected]?.parent === null")
    story.press("Control+y")
    story.until(f"samadapt.state.tracks[samadapt.state.selected]?.parent === {head}")
    # Also when the page was loaded anew, and before what was done earlier.
    story.press("Control+z")
    story.until("samadapt.state.tracks[samadapt.state.selected]?.parent === null")
    story.press("Shift+N")
    story.until("samadapt.state.tracks[samadapt.state.selected]?.ends")
    assert tracks() == [[head]] * 3 + [[], [], []]
    story.idle()
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    at(2)
    story.press("Control+z")
    story.until("Object.values(samadapt.state.tracks).every((one) => !one.ends)")
    assert tracks() == [[head]] * 4 + [[], []]
    story.press("Control+y")
    story.until("Object.values(samadapt.state.tracks).every((one) => one.ends)")
    story.press("Control+z")
    story.until("Object.values(samadapt.state.tracks).every((one) => !one.ends)")
    page.evaluate(f"samadapt.set({{ selected: {project.objects.of_image(ids[2])[0].id} }})")
    story.press("Shift+T")
    story.until(f"samadapt.state.tracks[samadapt.state.selected]?.parent === {head}")
    new = tracks()[2][0]

    # Out, as labels of the whole volume.
    page.click("#menu-button")
    page.click("text=Export…")
    page.select_option("#export-format", "label-volume")
    with page.expect_download() as download:
        page.click(".dialog [type=submit]")
    download.value.save_as(tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "out")
    found = load_label_volume(tmp_path / "out/volume_labels.tif")
    assert found.length == 6
    assert {one.id: one.slices for one in found} == {head: (0, 1), new: (2, 3)}


def test_esc_stops_following_an_object_and_still_remembers_it_for_joining(
    annotator: Annotator, open_page: Opener
) -> None:
    project, ids = annotator.project, annotator.ids()
    head, later = (
        project.objects.add(
            NewMask(ids[index], Rle.from_mask(disc_at(index)), 1, "brush"), "ana"
        ).id
        for index in (0, 2)
    )
    story = Story(open_page())

    def select(index: int, number: int) -> None:
        story.open(ids[index])
        story.until(f"samadapt.state.tracks[{number}] !== undefined")
        story.page.evaluate(f"samadapt.set({{ selected: {number} }})")

    def tracks() -> list[int]:
        numbers = project.tracks.numbers()
        return [numbers.get(number, number) for number in (head, later)]

    select(0, head)
    story.press("Escape")
    story.until("samadapt.state.selected === null")
    select(2, later)
    story.press("Escape")  # again, with the second object chosen anew
    select(2, later)
    story.press("Shift+J")
    story.page.wait_for_selector(f"text=Both are track {head} now")
    assert tracks() == [head, head]
    # What was joined is remembered no more, and nothing is selected after Esc in another slice.
    story.press("Shift+J")
    story.page.wait_for_selector("text=Select two objects")
    story.press("Escape")
    story.open(ids[0])
    story.until(f"samadapt.state.tracks[{head}]?.track === {head}")
    story.idle()
    assert story.page.evaluate("samadapt.state.selected") is None
