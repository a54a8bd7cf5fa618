"""In the page: a folder is imported, a task is taught, and what reaches beyond one image undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotator import Annotator
from story import Story

from samadapt.server.teaching import Teaching
from samadapt.store.events import Attribute

Opener = Callable[..., Any]


def test_a_folder_is_imported_and_taught_and_steps_are_taken_back(
    annotator: Annotator, open_page: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Teaching.start
    monkeypatch.setattr(Teaching, "start", lambda self, label, _: start(self, label, 2))
    project = annotator.project
    labels, revision = project.labels.all()
    worn = labels[0].model_copy(update={"attributes": (Attribute(name="worn", kind="flag"),)})
    project.labels.set([worn, *labels[1:]], revision, "")
    story = Story(open_page())
    page = story.page
    # A folder of labelme files, in the page.
    folder = tmp_path / "work"
    folder.mkdir()
    corners = [[5, 5], [25, 5], [25, 20], [5, 20]]
    shape = {"label": "disc", "points": corners, "shape_type": "polygon", "flags": {"worn": True}}
    for k in (1, 2, 3):
        document = {
            "imagePath": f"{k}.png",
            "imageHeight": 80,
            "imageWidth": 112,
            "shapes": [shape],
        }
        (folder / f"{k}.json").write_text(json.dumps(document))
    page.click("#menu-button")
    page.click("text=Import…")
    page.set_input_files("#import-folder", str(folder))
    page.wait_for_selector(".dialog >> text=imported 3 objects")
    page.click(".dialog >> text=OK")
    story.until("samadapt.state.objects.size === 1")
    assert project.details.attributes() == {k: {"worn": True} for k in (1, 2, 3)}
    # The label becomes a task: an entry of the list of adapters, which looks at all images.
    page.click("[data-of='choose 1']")
    page.click("[data-tab=learning]")
    page.wait_for_selector("#teach:has-text('disc')")
    # As with an exported model; the page may ask for the true state at any moment, so say it again.
    page.wait_for_function(
        """() => {
            samadapt.set({learning: {...samadapt.state.learning, can_learn: false}});
            const teach = document.getElementById("teach");
            return teach.disabled && teach.title.includes("exported model");
        }"""
    )
    page.evaluate("samadapt.set({learning: {...samadapt.state.learning, can_learn: true}})")
    page.click("#teach:has-text('disc')")
    found = "#learning-panel option:has-text('task disc')"
    page.wait_for_selector(found, state="attached", timeout=120_000)
    page.click("[data-tab=review]")
    page.click("[data-task='task:disc-1']")
    page.wait_for_selector("#review-queue >> text=on 4 images", timeout=120_000)
    # An attribute, the tags and a merged label are steps of undo.
    page.click("[data-tab=objects]")
    page.locator("#object-list .row").click()
    page.locator("#said [type=checkbox]").uncheck()
    story.idle()
    assert 1 not in project.details.attributes() or not project.details.attributes()[1]["worn"]
    page.fill("#tags", "night")
    page.keyboard.press("Enter")
    story.idle()
    page.click("[aria-label='Change label disc']")
    page.select_option(".dialog [aria-label='Label that its objects get']", label="square")
    page.click(".dialog >> text=Remove label")
    story.until("samadapt.state.labels.length === 1")
    story.idle()
    assert {thing.label_id for thing in project.objects.all()} == {2}
    for _ in range(3):
        story.press("Control+z")
        story.idle()
    assert {thing.label_id for thing in project.objects.all()} == {1}
    assert project.labels.all()[0][1].attributes == worn.attributes
    assert project.details.tags() == {}
    assert project.details.attributes()[1] == {"worn": True}
    story.press("Control+y")
    story.idle()
    assert project.details.attributes()[1] == {"worn": False}
    # What is refused is not shown any more, and is no step that every later undo fails at.
    page.fill("#tags", "night, " + "x" * 101)
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast.bad >> text=use 100 or fewer")
    story.until("document.getElementById('tags')?.value === ''")
    page.fill("#tags", "dusk")
    page.keyboard.press("Enter")
    story.idle()
    page.locator("#said [type=checkbox]").check()
    story.idle()
    labels, revision = project.labels.all()
    bare = [label.model_copy(update={"attributes": ()}) for label in labels]
    project.labels.set(bare, revision, "")
    story.press("Control+z")
    page.wait_for_selector(".toast.bad >> text=has no attribute 'worn'")
    story.idle()
    story.press("Control+z")
    story.idle()
    assert project.details.tags() == {}
