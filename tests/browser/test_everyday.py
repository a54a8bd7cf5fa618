"""What one meets every day: broken images, undo elsewhere, imports, keys, and the look."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotator import Annotator
from PIL import Image
from story import Story

Opener = Callable[..., Any]

DISC, SQUARE = (14, 12), (37, 29)


@pytest.mark.parametrize(("kind", "cut"), [("PNG", slice(80)), ("JPEG", slice(-200))])
def test_a_broken_image_says_why_and_can_be_skipped(
    annotator: Annotator, open_page: Opener, kind: str, cut: slice
) -> None:
    path = annotator.folder / "2.png"
    Image.open(path).save(path, kind, quality=95)
    path.write_bytes(path.read_bytes()[cut])  # a JPEG's size is known, but not its pixels
    story = Story(open_page())
    page = story.page
    page.click("[data-tab=images]")
    story.press("ArrowRight")
    page.wait_for_selector("#blank >> text=Skip this image")
    assert "2.png" in page.inner_text("#blank span")
    # List, position and header follow at once.
    assert page.inner_text("#image-name") == "2.png"
    assert page.inner_text("#image-count") == "2 / 4"
    row = page.locator(".image-row[aria-current=true]")
    assert "problem: " in row.inner_text()
    assert "2.png" in row.get_attribute("title")
    page.select_option("#image-state", "problem")
    assert page.locator(".image-row").count() == 1
    page.select_option("#image-state", "")
    assert page.get_attribute("#progress", "title") == "0 of 4 finished"
    page.evaluate("document.activeElement.blur()")
    story.press("k")
    story.until("samadapt.state.image?.name === '3.png'")
    assert annotator.project.images.named("2.png").mark == "skipped"
    assert page.get_attribute("#progress", "title") == "1 of 4 finished"
    story.press("n")
    story.until("samadapt.state.image?.name === '4.png'")
    assert page.get_attribute("#progress", "title") == "2 of 4 finished"
    assert "4.png" in page.inner_text(".image-row[aria-current=true]")


def test_undo_survives_changing_the_image_and_an_import_is_one_step(
    annotator: Annotator, open_page: Opener, tmp_path: Path
) -> None:
    story = Story(open_page(1280, 720, has_touch=True))
    page, objects = story.page, annotator.project.objects
    first, second, *_ = annotator.ids()
    story.click(*DISC)
    story.accept()
    story.open(second)
    story.open(first)
    square = [[5, 5, 25, 5, 25, 20, 5, 20]]
    document = {
        "images": [
            {"id": k, "file_name": f"{k}.png", "height": 80, "width": 112} for k in (1, 2, 3)
        ],
        "categories": [{"id": 3, "name": "imported"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 3, "segmentation": square} for k in (1, 2, 3)
        ],
    }
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    page.tap("#menu-button")
    page.tap("text=Import…")
    with page.expect_file_chooser() as chooser:
        page.tap("text=A COCO or zip file")
    chooser.value.set_files(str(path))
    page.wait_for_selector(".dialog >> text=undoes the import")
    page.tap(".dialog .button.main")
    story.until("samadapt.state.objects.size === 2")
    story.press("Control+z")  # the import, on all images,
    story.until("samadapt.state.objects.size === 1")
    story.idle()
    assert [thing.image_id for thing in objects.all()] == [first]
    story.press("Control+y")
    story.until("samadapt.state.objects.size === 2")
    story.idle()
    images = sorted(thing.image_id for thing in objects.all())
    assert images == [first, *sorted(annotator.ids()[:3])]
    story.press("Control+z")
    story.until("samadapt.state.objects.size === 1")
    story.press("Control+z")  # and then the object from before
    story.until("samadapt.state.objects.size === 0")
    story.idle()
    assert objects.all() == []
    # Where nothing else can be undone, the import is asked about once, however often one presses.
    story.press("Control+y", "Control+y")
    story.until("samadapt.state.objects.size === 2")
    story.open(second)
    story.click(*DISC)
    story.accept()
    third = annotator.ids()[2]
    story.open(third)
    story.press("Control+z", "Control+z", "Control+z")
    page.wait_for_selector(".dialog >> text=Nothing else can be undone on this image")
    page.tap(".dialog .button >> text=Cancel")
    story.idle()
    assert page.locator(".dialog").count() == 0
    assert len(objects.all()) == 5


def test_a_contrast_fit_is_of_each_image_unless_locked(
    annotator: Annotator, open_page: Opener
) -> None:
    import numpy as np
    from PIL import Image

    dark = np.zeros((80, 112, 3), np.uint8)
    dark[::2] = 40
    Image.fromarray(dark).save(annotator.folder / "2.png")
    story = Story(open_page())
    first, second, *_ = annotator.ids()
    read = "[samadapt.state.settings.contrast, samadapt.state.settings.brightness]"
    story.press("a")
    one = story.page.evaluate(read)
    story.open(second)
    other = story.page.evaluate(read)
    assert (one[0], other[0]) == (100, 67), "at most 100; 25 log2(255 / 40)"
    story.open(first)
    assert story.page.evaluate(read) == one
    story.page.click("[data-tab=view]")
    story.page.check("[data-setting=lockContrast]")
    story.open(second)
    assert story.page.evaluate(read) == one


def test_a_snapshot_under_another_name_confirms(open_page: Opener, annotator: Annotator) -> None:
    annotator.stop()
    annotator.specs = ("online",)
    annotator.start()
    story = Story(open_page())
    story.press("y")
    button = story.page.locator("text=Snapshot…")
    button.click()
    story.page.fill(".dialog input", "my own name!")
    story.press("Enter")
    story.page.wait_for_selector(".toast.bad >> text=cannot be the name")
    button.click()
    story.page.fill(".dialog input", "mine")
    story.press("Enter")
    story.page.wait_for_selector(".dialog >> text=mine holds what was learned so far")
