"""Labels in hands: a list that stays, search, groups, changing and merging, attributes and tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from annotator import Annotator
from story import Story

Opener = Callable[..., Any]

DISC, SQUARE = (14, 12), (37, 29)


def names(story: Story) -> list[str]:
    found: list[str] = story.page.evaluate(
        "() => [...document.querySelectorAll('.label-list .row .name')].map((e) => e.textContent)"
    )
    return found


def test_a_long_list_stays_and_is_searched_by_number_and_name(
    annotator: Annotator, open_page: Opener
) -> None:
    annotator.project.labels.named(
        ["animal/cat", *(f"kind {k}" for k in range(36)), "animal/dog"], "ann"
    )
    story = Story(open_page())
    page = story.page
    # Forty labels; those of a group stand together, and a group can be folded.
    assert names(story)[:5] == ["disc", "square", "cat", "dog", "kind 0"]
    page.click("[aria-label='Labels below animal']")
    assert names(story)[:3] == ["disc", "square", "kind 0"]
    page.click("[aria-label='Labels below animal']")
    # By number, beyond nine, and by a part of the name; the list stays where it was.
    for typed, index in (("25", 24), ("dog", 39), ("ind 35", 38)):
        story.press("/")
        page.keyboard.type(typed)
        story.press("Enter")
        story.until(f"samadapt.state.label === samadapt.state.labels[{index}].id")
    place = page.evaluate("document.querySelector('.label-list').scrollTop")
    assert place > 0
    story.click(*DISC)
    story.accept()
    assert page.evaluate("document.querySelector('.label-list').scrollTop") == place
    (thing,) = annotator.project.objects.all()
    assert annotator.project.labels.all()[0][38].id == thing.label_id
    assert annotator.project.labels.all()[0][38].name == "kind 35"
    # A name that no label has is told, and can be corrected.
    story.press("/")
    page.keyboard.type("sqare")
    story.press("Enter")
    page.wait_for_selector("text=No label is called “sqare”")
    assert page.evaluate("document.activeElement.value") == "sqare"
    # Escape leaves the search, and the keys are the image's again.
    story.press("/")
    page.keyboard.type("square")
    story.press("Escape", "b")
    story.until("samadapt.state.tool === 'brush'")
    assert page.evaluate("samadapt.state.labels[38].id === samadapt.state.label")


def test_a_label_is_renamed_recoloured_and_merged(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page())
    page = story.page
    story.click(*DISC)
    story.accept()
    second = annotator.ids()[1]
    story.open(second)
    story.click(*SQUARE)
    story.accept()
    page.click("[aria-label='Change label disc']")
    page.fill(".dialog [aria-label=Name]", "plate")
    page.fill(".dialog [aria-label=Colour]", "#123456")
    page.click(".dialog >> text=Save")
    story.until("samadapt.state.labels[0].name === 'plate'")
    assert annotator.project.labels.all()[0][0].colour == "#123456"
    # Its objects on all images, also those that are not open, get the other label.
    page.click("[aria-label='Change label plate']")
    page.wait_for_selector(".dialog >> text=Its 2 objects on all images")
    page.select_option(".dialog [aria-label='Label that its objects get']", label="square")
    page.click(".dialog >> text=Remove label")
    story.until("samadapt.state.labels.length === 1")
    story.saved()
    assert [thing.label_id for thing in annotator.project.objects.all()] == [2, 2]
    story.until("[...samadapt.state.objects.values()].every(({label}) => label === 2)")


def test_attributes_and_tags_are_typed_in_the_page(annotator: Annotator, open_page: Opener) -> None:
    story = Story(open_page(1280, 720, has_touch=True))
    page = story.page
    page.tap("[aria-label='Change label disc']")
    for name, kind in (("age", "number"), ("shape", "choice"), ("new", "flag")):
        page.tap("text=Add attribute")
        line = page.locator(".attribute").last
        line.locator(".name").fill(name)
        line.locator(".kind").select_option(kind)
        if kind == "choice":
            line.locator(".choices").fill("round, square")
    page.tap(".dialog >> text=Save")
    story.until("samadapt.state.labels[0].attributes.length === 3")
    story.click(*DISC)
    story.accept()
    (number,) = story.objects()
    page.locator("#object-list .row").tap()
    page.fill("#tags", "night, blurred")
    held: list[tuple[Any, Any]] = []
    page.route("**/details", lambda route: held.append((route, route.fetch())), times=1)
    page.keyboard.press("Enter")
    while not held:
        page.wait_for_timeout(20)
    page.fill("#said [type=number]", "7")
    page.select_option("#said select", "round")
    held[0][0].fulfill(response=held[0][1])  # it knows of the tags alone
    page.wait_for_timeout(200)
    page.locator("#said [type=checkbox]").check()
    story.idle()
    story.saved()
    details = annotator.project.details
    assert details.attributes() == {number: {"age": 7, "shape": "round", "new": True}}
    assert details.tags() == {annotator.ids()[0]: ["night", "blurred"]}
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    page.locator("#object-list .row").tap()
    page.wait_for_selector("#said select")
    assert page.input_value("#said select") == "round"
    assert page.input_value("#tags") == "night, blurred"
