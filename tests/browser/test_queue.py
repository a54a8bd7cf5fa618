"""Proposals across images: looked for behind the work, then accepted, fixed and rejected by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from annotator import Annotator
from PIL import Image
from story import Story

from fakes import OracleModel

Opener = Callable[..., Any]

CENTRES = [(20, 20), (20, 56), (20, 92), (60, 38)]


def test_proposals_of_all_images_are_reviewed_by_key(
    annotator: Annotator, open_page: Opener
) -> None:
    rows, columns = np.mgrid[:80, :112]
    labels = np.zeros((80, 112), np.int_)
    picture = np.full((80, 112, 3), 110, np.uint8)
    for number, (y, x) in enumerate(CENTRES, 1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 80] = number
    picture[labels > 0] = (220, 40, 40)
    annotator.stop()
    annotator.model = OracleModel(labels)
    for path in annotator.folder.glob("*.png"):
        path.unlink() if path.stem in "34" else Image.fromarray(picture).save(path)
    annotator.start()
    first, second = annotator.ids()
    story = Story(open_page())
    page = story.page
    story.click(20, 20)
    story.accept()
    # Similar ones on another image, from the example on the first.
    story.open(second)
    story.press("f")
    story.until("samadapt.state.proposals?.list.length === 4")
    story.press("Escape")
    story.until("samadapt.state.proposals === null")
    # On all images, behind the work; the list says where proposals wait.
    page.click("[data-tab=review]")
    page.click("#propose-similar")
    page.wait_for_selector("#open-queue:has-text('Review 7 proposals')")
    story.until("samadapt.state.images[0][9] === 3 && samadapt.state.images[1][9] === 4")
    page.evaluate("document.activeElement.blur()")
    story.press("Shift+Q")
    story.until("samadapt.state.proposals?.queue.waiting === 7")
    doubts = []
    for key, left in (("Enter", 6), ("r", 5), ("Enter", 4)):
        now = page.evaluate("samadapt.state.proposals.list[samadapt.state.proposals.index]")
        doubts.append(abs(now["score"] - 0.5))
        story.press(key)
        story.until(f"samadapt.state.proposals?.queue.waiting === {left}")
        story.idle()
    assert doubts == sorted(doubts)
    assert len(annotator.project.objects.all()) == 3
    # Taken back, whatever image it is on, and done again.
    for keys, left, objects in (("Control+z", 7, 1), ("Control+y", 4, 3)):
        for _ in range(3):
            story.press(keys)
            story.idle()
        story.until(f"samadapt.state.proposals?.queue.waiting === {left}")
        assert len(annotator.project.objects.all()) == objects
    # Fixed with a click: the object is saved, and the queue goes on.
    story.press("i")
    story.until("samadapt.current.edited !== null")
    assert story.mask().sum() > 100
    story.idle()
    story.press("Enter")
    story.until("samadapt.state.proposals?.queue.waiting === 3")
    # Another image may come next; what is left there is accepted at once.
    for _ in range(2):
        if page.evaluate("samadapt.state.proposals !== null"):
            story.press("Shift+Enter")
            story.idle()
    story.until("samadapt.state.proposals === null")
    assert annotator.project.proposals.numbers() == {}
    things = annotator.project.objects.all()
    assert len(things) == 7  # one was rejected, one was drawn
    assert {thing.source for thing in things} == {"clicks", "similar"}
    # Accepting all is one step, too: they wait again, and are shown.
    page.wait_for_selector(".toast >> text=accepted.")
    story.press("Control+z")
    story.until("samadapt.state.proposals !== null")
    left = page.evaluate("samadapt.state.proposals.list.length")
    assert len(annotator.project.objects.all()) == 7 - left
    # An image on which something waits is approved only if one insists.
    story.press("Escape", "Shift+Y")
    image = page.evaluate("samadapt.state.image.id")
    page.click(".dialog:has-text('still wait') button:has-text('Cancel')")
    story.idle()
    assert annotator.project.reviews.get(image).state == ""
    assert image in (first, second)
