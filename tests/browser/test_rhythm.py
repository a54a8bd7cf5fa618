"""Objects that one can trust: leaving them, proposals, clicks that are followed, candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from annotator import Annotator
from story import Story

from fakes import FakeModel
from samadapt.models.prediction import Prediction

Opener = Callable[..., Any]

DISC, SQUARE, BACK = (14.5, 12.5), (37.5, 29.5), (80.5, 50.5)


class Stubborn(FakeModel):
    """Answers a click with three candidates, and later with the smallest, whatever is said."""

    def predict(self, *args: Any, **more: Any) -> Prediction:
        found = super().predict(*args, **more)
        masks = np.zeros_like(found.masks)
        for index, size in enumerate((6, 10)[: len(masks)]):
            masks[index, 8 : 8 + size, 10 : 10 + size] = True
        masks[2:, 8:] = True  # all over the image
        masks[:, 70:74, 90:94] = True  # an island
        scores = np.array([0.7, 0.8, 0.95][: len(masks)], np.float32)
        return Prediction(masks, scores, found.logits)


@pytest.fixture
def stubborn(annotator: Annotator) -> Annotator:
    annotator.stop()
    annotator.model = Stubborn(side=64)
    return annotator.start()


def made(annotator: Annotator) -> int:
    return len(annotator.project.objects.all())


def test_leaving_an_object_that_is_not_accepted_asks(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    first, second, third, _ = annotator.ids()
    story.click(*DISC)
    story.press("n")
    story.page.wait_for_selector(".dialog >> text=not accepted yet")
    story.press("Escape")  # stay
    story.page.wait_for_selector(".veil", state="detached")
    story.idle()
    assert story.current()["image"] == first
    assert len(story.current()["clicks"]) == 1
    assert annotator.project.images.get(first).mark == ""
    # The list shows it, after the page was loaded anew, too.
    story.open(second)
    story.page.reload()
    story.page.wait_for_selector("html[data-ready=true]")
    story.page.click("[data-tab=images]")
    holding = story.page.locator(".image-row:has-text('not accepted')")
    assert holding.locator(".name").all_inner_texts() == ["1.png"]
    story.open(first)
    story.until("samadapt.current.clicks.length === 1")
    # Accept by the key that has the focus, and go on.
    story.press("ArrowRight")
    story.page.wait_for_selector("[data-leave=accept]")
    story.press("Enter")
    story.until(f"samadapt.state.image.id === {second}")
    assert made(annotator) == 1
    assert holding.count() == 0
    # Drop, and remember that.
    story.click(*SQUARE)
    story.page.click(".image-row:has-text('3.png')")
    story.page.check(".dialog input[type=checkbox]")
    story.page.click("[data-leave=drop]")
    story.until(f"samadapt.state.image.id === {third}")
    story.click(*DISC)
    story.press("n")
    story.until(f"samadapt.state.image.id !== {third}")
    assert made(annotator) == 1
    assert annotator.project.images.get(third).mark == "done"
    story.page.click("[data-tab=view]")
    assert story.page.locator("[data-setting=leaving]").input_value() == "drop"


def test_a_click_begins_an_object_while_proposals_are_open(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    square = "{x: 11, y: 9, w: 6, h: 6, step: 1, bits: new Uint8Array(36).fill(1)}"
    bar = story.page.locator("#dock")
    story.page.evaluate(
        f"""() => samadapt.set({{proposals: {{index: 0, more: false, list: [
            {{mask: {square}}}, {{mask: {{...{square}, x: 90, y: 60}}}}]}}}})"""
    )
    assert "A click begins an object of your own" in bar.inner_text()
    assert "Accept proposal" in bar.inner_text()
    story.page.keyboard.down("Shift")
    story.page.mouse.click(*story.place(92, 62))
    story.page.keyboard.up("Shift")
    story.until("samadapt.state.proposals.index === 1")
    story.click(*DISC)  # on a proposal, too
    assert "2 proposals wait" in bar.inner_text()
    assert "Accept this object" in bar.inner_text()
    assert "Reject" not in bar.inner_text()
    own = story.mask()
    story.press("r", "Shift+Enter", "Tab")
    story.idle()
    assert story.page.evaluate("samadapt.state.proposals.list.length") == 2
    story.accept()
    (number,) = story.objects()
    assert np.array_equal(annotator.project.objects.get(number).mask(), own)
    assert annotator.project.objects.get(number).source == "clicks"
    # What the object covers is not proposed again; then Enter accepts a proposal.
    assert own[9:15, 11:17].all()
    left = story.page.evaluate("samadapt.state.proposals.list.map(({mask}) => mask.x)")
    assert left == [90]
    story.press("Enter")
    story.until("samadapt.state.objects.size === 2")
    assert sorted(o.source for o in annotator.project.objects.all()) == ["clicks", "similar"]
    # Escape drops one's own object first, and the proposals next.
    story.page.evaluate(
        f"() => samadapt.set({{proposals: {{index: 0, more: false, list: [{{mask: {square}}}]}}}})"
    )
    story.click(*DISC)
    story.press("Escape")
    story.until("samadapt.current.clicks.length === 0")
    assert story.page.evaluate("samadapt.state.proposals !== null")
    story.press("Escape")
    story.until("samadapt.state.proposals === null")


def test_a_click_shows_the_part_under_it_what_else_it_may_mean_and_what_is_not_followed(
    stubborn: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    story.click(12.5, 10.5)
    mask = story.mask()
    assert story.current()["chosen"] == 1  # the third has the best score, but sprawls
    assert mask.sum() == 100
    assert not mask[70:74, 90:94].any()
    buttons = story.page.locator("[data-candidate]")
    assert buttons.all_inner_texts() == ["70", "80", "95"]
    buttons.nth(0).hover()
    story.page.wait_for_selector("[data-candidate='0'] canvas[data-drawn]")
    seen = story.page.locator("canvas.candidate").bounding_box()
    assert (seen["width"], seen["height"]) == (168, 126)
    story.page.mouse.move(5, 5)
    story.page.wait_for_selector("[data-candidate] canvas", state="detached")
    assert np.array_equal(story.mask(), mask)
    buttons.nth(0).click()
    story.until("samadapt.current.chosen === 0")
    assert story.mask().sum() == 36
    # An answer that does not follow a click is told.
    remark = story.page.locator("#remark:not(:empty)")
    assert remark.count() == 0
    story.click(60.5, 60.5)
    assert "could not add what you clicked: paint it (B)" in remark.inner_text()
    story.click(12.5, 10.5, button="right")
    assert "could not take away what you clicked: erase it (D)" in remark.inner_text()
    story.press("Control+z", "b")
    story.drag((55, 60), (66, 60))
    story.idle()
    assert remark.count() == 0
    assert story.mask()[60, 60]
