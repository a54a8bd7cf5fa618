"""Two people at one project: a task, its review, comments on places, and each sees the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from annotator import Annotator
from story import Story

Opener = Callable[..., Any]

DISC, SQUARE = (14, 12), (37, 29)


LISTED = "() => [...document.querySelectorAll('#image-list .name')].map((e) => e.textContent)"


def listed(page: Any) -> list[str]:
    found: list[str] = page.evaluate(LISTED)
    return found


def comment(story: Story, x: float, y: float, text: str) -> None:
    story.page.mouse.click(*story.place(x, y))
    story.page.fill(".dialog textarea", text)
    story.page.keyboard.press("Enter")
    story.idle()
    story.saved()


def test_work_is_assigned_reviewed_sent_back_and_approved(
    annotator: Annotator, open_page: Opener
) -> None:
    first, second, *_ = annotator.ids()
    reviews = annotator.project.reviews
    ann, bob = Story(open_page()), Story(open_page())
    bob.open(second)
    # Bob makes the first two images Ann's task; his name is asked for once.
    bob.page.click("[data-tab=images]")
    bob.page.fill("#image-filter", "1")
    bob.page.click("[data-tab=review]")
    bob.page.fill("#assignee", "Ann")
    bob.page.keyboard.press("Enter")
    bob.page.fill(".dialog [aria-label='Your name']", "Bob")
    bob.page.keyboard.press("Enter")
    bob.until("samadapt.state.review?.assignee === 'Ann'")
    assert reviews.get(second).assignee == "Ann"
    bob.page.click("text=The same for all listed…")
    bob.page.click(".dialog button:has-text('Assign')")
    bob.idle()
    assert {n for n, review in reviews.all().items() if review.assignee == "Ann"} == {
        first,
        second,
    }
    assert ann.page.locator(".dialog").count() == 0  # nobody asked Ann for anything yet
    ann.page.click("[data-tab=images]")
    ann.page.select_option("#image-person", label="Ann")
    ann.until(f"({LISTED})().join() === '1.png,2.png'")  # it follows within two seconds
    ann.until("[...document.querySelectorAll('#image-list img')].every((e) => e.naturalWidth > 0)")
    # Ann draws; Bob sees it without a reload, within two seconds.
    bob.open(first)
    waits = []
    for place in (DISC, SQUARE):
        ann.click(*place)
        count = len(ann.objects())
        ann.press("Enter")
        began = time.monotonic()
        bob.until(f"samadapt.state.objects.size === {count + 1}")
        waits.append(time.monotonic() - began)
    assert min(waits) < 2
    # Marked for review it is done, and Ann is asked for her name at that moment, once.
    ann.press("Shift+R")
    ann.page.fill(".dialog [aria-label='Your name']", "Ann")
    ann.page.keyboard.press("Enter")
    ann.until(f"samadapt.state.image?.id === {second}")
    bob.until("samadapt.state.review?.state === 'review' && samadapt.state.image.mark === 'done'")
    bob.page.click("[data-tab=images]")
    bob.page.fill("#image-filter", "")
    bob.page.select_option("#image-review", "review")
    assert listed(bob.page) == ["1.png"]
    # Bob sends it back with a comment on a place; it is Ann's work again, and she sees the place.
    bob.page.evaluate("document.activeElement.blur()")
    bob.press("Shift+B")
    comment(bob, 37, 29, "The corner is missing")
    assert (reviews.get(first).state, annotator.project.images.get(first).mark) == ("returned", "")
    ann.until("samadapt.state.images[0][6] === 'returned' && samadapt.state.images[0][8] === 1")
    ann.page.click("[data-tab=review]")
    ann.press("n")  # the second image is done, and the first is what is left to do for Ann
    ann.until(f"samadapt.state.image?.id !== {second}")
    ann.open(first)
    ann.page.wait_for_selector("#review-state:has-text('sent back · 1 comment')")
    assert "The corner is missing" in ann.page.inner_text(".comment")
    ann.page.click("[data-tab=images]")
    row = ann.page.locator(".image-row:has-text('1.png') .state")
    assert "sent back" in row.inner_text()
    assert "for Ann" in row.inner_text()
    assert row.evaluate("(e) => e.scrollHeight <= e.clientHeight && e.scrollWidth <= e.clientWidth")
    ann.page.click("[data-tab=review]")
    assert ann.pixel("overlay", 37, 27)[:3] != [0, 0, 0]
    # She answers on another place, says that it is dealt with, and is done: it is for review.
    ann.press("u")
    comment(ann, 14, 12, "Is this one better?")
    ann.page.check("[aria-label='Comment 1 is resolved']")
    ann.idle()
    ann.press("n")
    bob.until("samadapt.state.images[0][6] === 'review' && samadapt.state.images[0][8] === 1")
    assert [(c.person, c.resolved) for c in reviews.comments(first)] == [
        ("Bob", True),
        ("Ann", False),
    ]
    bob.open(first)
    bob.press("Shift+Y")  # a comment is open: one has to insist
    bob.page.click(".dialog:has-text('1 comment still waits') button:has-text('Approve')")
    bob.until("samadapt.state.images[0][6] === 'approved'")
    assert reviews.get(first).state == "approved"
    # The approved alone are exported; what is changed afterwards is looked at again.
    bob.page.click("#menu-button")
    bob.page.click("text=Export…")
    bob.page.select_option("#export-images", "approved")
    with bob.page.expect_download() as download:
        bob.page.click(".dialog [type=submit]")
    document = json.loads(download.value.path().read_text())
    assert [image["file_name"] for image in document["images"]] == ["1.png"]
    ann.open(first)
    ann.page.keyboard.down("Shift")
    ann.page.mouse.click(*ann.place(*DISC))
    ann.page.keyboard.up("Shift")
    ann.press("Delete")
    ann.idle()
    assert reviews.get(first).state == "review"
    bob.until("samadapt.state.images[0][6] === 'review'")
    # Who comes later is asked above the image, once, and may go on without an answer.
    cid = Story(open_page())
    cid.page.fill("#name-note input", "Cid")
    cid.page.keyboard.press("Enter")
    cid.until("samadapt.state.settings.person === 'Cid'")
    assert cid.page.locator("#name-note input").count() == 0


def test_a_second_window_shows_labels_tags_and_marks(
    annotator: Annotator, open_page: Opener
) -> None:
    first, second, *_ = annotator.ids()
    one, other = Story(open_page()), Story(open_page())
    one.page.fill("#tags", "night")
    one.page.keyboard.press("Enter")
    other.until("document.getElementById('tags')?.value === 'night'")
    annotator.project.labels.named(["third"], "")
    for story in (one, other):
        story.until("samadapt.state.labels.length === 3")
    # What is being typed stays, whatever others do meanwhile.
    other.page.click("#tags")
    other.page.keyboard.type(", dawn")
    one.page.fill("#tags", "dusk")
    one.page.keyboard.press("Enter")
    one.click(*DISC)
    one.accept()
    other.until("samadapt.state.objects.size === 1")
    assert other.page.input_value("#tags") == "night, dawn"
    one.press("n")
    one.until(f"samadapt.state.image?.id === {second}")
    other.until("samadapt.state.image.mark === 'done' && samadapt.state.images[0][2] === 'done'")
    assert annotator.project.images.get(first).mark == "done"
