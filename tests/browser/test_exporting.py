"""Export in the page: which images, what was written, and what the format could not hold."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotator import Annotator
from story import Story

from samadapt.store.events import Attribute

Opener = Callable[..., Any]

DISC, SQUARE = (14, 12), (37, 29)


def test_what_is_exported_is_chosen_and_said(
    annotator: Annotator, open_page: Opener, tmp_path: Path
) -> None:
    project, (first, second, *_) = annotator.project, annotator.ids()
    labels, revision = project.labels.all()
    labelled = labels[0].model_copy(update={"attributes": (Attribute(name="worn", kind="flag"),)})
    project.labels.set([labelled, *labels[1:]], revision, "ann")
    story = Story(open_page())
    page = story.page

    def export(format: str, images: str) -> tuple[Path, str]:
        page.click("#menu-button")
        page.click("text=Export…")
        page.select_option("#export-format", format)
        page.select_option("#export-images", images)
        with page.expect_download() as download:
            page.click(".dialog [type=submit]")
        path = tmp_path / f"{format}-{images}-{download.value.suggested_filename}"
        download.value.save_as(path)
        text = page.inner_text(".dialog:has-text('Exported')")
        page.click(".dialog >> text=OK")
        return path, text

    story.click(*DISC)
    story.accept()
    project.details.describe(1, {"worn": True}, "ann")
    project.details.tag(first, ["night"], "ann")
    story.press("ArrowRight")
    story.until(f"samadapt.state.image.id === {second}")
    story.click(*SQUARE)
    story.accept()
    story.press("n")  # done; the first one is only begun, and two are untouched
    story.until(f"samadapt.state.image.id !== {second}")
    listed = {}
    for images in ("annotated", "done", "all"):
        path, text = export("coco", images)
        document = json.loads(path.read_text())
        listed[images] = [image["file_name"] for image in document["images"]]
        assert f"on {len(listed[images])} image" in text
    assert listed["annotated"] == ["1.png", "2.png"]
    assert listed["done"] == ["2.png"]
    assert listed["all"] == ["1.png", "2.png", "3.png", "4.png"]
    assert document["annotations"][0]["attributes"] == {"worn": True}
    assert document["images"][0]["tags"] == ["night"]
    # A format without a place for attributes and tags: the summary says so, and so does a file.
    path, text = export("yolo", "annotated")
    assert "2 objects on 2 images" in text
    assert "the attributes of 1 objects" in text
    assert "the tags of 1 images" in text
    with zipfile.ZipFile(path) as archive:
        assert "the attributes of 1 objects" in archive.read("left-out.txt").decode()
        whole = b"".join(map(archive.read, archive.namelist()))
    assert str(annotator.folder).encode() not in whole
    page.click("#menu-button")
    page.click("text=Export…")
    groups = page.locator("#export-format optgroup")
    assert groups.count() == 2
    assert groups.nth(0).locator("option").count() == 2
