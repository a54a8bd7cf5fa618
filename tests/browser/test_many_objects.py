"""Hands full of objects: selected together, hidden, locked, sorted, and changed at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from annotator import Annotator
from numpy.typing import NDArray
from story import Story

from samadapt.data.rle import Rle
from samadapt.store.objects import NewMask

Opener = Callable[..., Any]
Mask = NDArray[np.bool_]

SIZE = (80, 112)


def block(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


BLOCKS = [block(y, x, y + 10, x + 8 + k) for k, (x, y) in enumerate([(5, 5), (30, 5), (55, 5)])]
BLOCKS += [block(y, x, y + 12, x + 8 + k) for k, (x, y) in enumerate([(5, 45), (30, 45), (55, 45)])]


def add(annotator: Annotator, masks: list[Mask], label: str = "disc") -> list[int]:
    number = annotator.project.labels.named([label], "")[label]
    image = annotator.ids()[0]
    objects = annotator.project.objects
    return [objects.add(NewMask(image, Rle.from_mask(m), number), "").id for m in masks]


def stored(annotator: Annotator) -> dict[int, tuple[int | None, bytes]]:
    objects = annotator.project.objects.of_image(annotator.ids()[0])
    return {o.id: (o.label_id, o.mask().tobytes()) for o in objects}


def shift_click(story: Story, *places: tuple[float, float]) -> None:
    story.page.keyboard.down("Shift")
    for place in places:
        story.page.mouse.click(*story.place(*place))
    story.page.keyboard.up("Shift")
    story.idle()


def selected(story: Story) -> set[int]:
    story.idle()
    return set(story.page.evaluate("samadapt.selectedIds()"))


@pytest.fixture
def numbers(annotator: Annotator) -> list[int]:
    return add(annotator, BLOCKS[:3]) + add(annotator, BLOCKS[3:], "square")


def test_many_objects_at_once(annotator: Annotator, story: Story, numbers: list[int]) -> None:
    for tell in (
        shift_lasso_and_label_select_and_bulk_changes_are_one_step,
        the_list_sorts_filters_and_points,
        each_object_can_have_a_colour_of_its_own,
        hidden_locked_and_alone,
    ):
        tell(annotator, story, numbers)
        story.press("Escape", "w")
        story.idle()


def shift_lasso_and_label_select_and_bulk_changes_are_one_step(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    before = stored(annotator)
    shift_click(story, (8, 8), (33, 8), (58, 8), (33, 8))
    assert selected(story) == {numbers[0], numbers[2]}
    # A lasso around the lower row.
    story.press("Escape", "v")
    story.drag((1, 40), (80, 40), (80, 65), (1, 65))
    assert selected(story) == set(numbers[3:])
    # Another label for all of them, and back again in one step.
    story.press("1")
    story.idle()
    assert {label for label, _ in stored(annotator).values()} == {before[numbers[0]][0]}
    story.press("Control+z")
    story.idle()
    assert stored(annotator) == before
    # All of a label; deleted, and back.
    story.press("Escape", "1", "Shift+A")
    assert selected(story) == set(numbers[:3])
    story.press("Delete")
    story.idle()
    assert set(stored(annotator)) == set(numbers[3:])
    story.press("Control+z")
    story.idle()
    assert stored(annotator) == before
    # Two become one, and two again.
    story.press("Escape")
    shift_click(story, (8, 8), (33, 8))
    story.press("Shift+M")
    story.idle()
    union = (BLOCKS[0] | BLOCKS[1]).tobytes()
    assert stored(annotator)[numbers[0]][1] == union
    assert len(stored(annotator)) == 5
    story.press("Control+z")
    story.idle()
    assert stored(annotator) == before


def hidden_locked_and_alone(annotator: Annotator, story: Story, numbers: list[int]) -> None:
    def seen(x: float, y: float) -> bool:
        return story.pixel("objects-layer", x, y)[3] > 60

    shift_click(story, (8, 8))
    story.press("Shift+H", "Escape")
    assert not seen(8.5, 8.5)
    assert seen(33.5, 8.5)
    shift_click(story, (8, 8))
    assert selected(story) == set()  # what is hidden is not there
    story.page.reload()
    story.page.wait_for_selector("html[data-ready=true]")
    assert not seen(8.5, 8.5)
    shift_click(story, (33, 8))
    story.press("Shift+O")
    assert seen(33.5, 8.5)
    assert not seen(58.5, 8.5)
    story.press("Shift+U", "Escape")
    assert seen(8.5, 8.5)
    assert seen(58.5, 8.5)
    # What is locked stays, whatever is done to all.
    shift_click(story, (58, 8))
    story.press("Shift+L", "Escape", "Control+a")
    assert selected(story) == set(numbers)
    story.press("Delete")
    story.idle()
    assert set(stored(annotator)) == {numbers[2]}


def the_list_sorts_filters_and_points(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    page = story.page

    def listed() -> list[int]:
        rows = page.locator("#object-list .row").all()
        return [int(row.get_attribute("data-object")) for row in rows]

    assert listed() == numbers[::-1]
    page.select_option("#object-sort", "largest")
    areas = [int(mask.sum()) for mask in BLOCKS]
    assert listed() == [numbers[k] for k in np.argsort(areas)[::-1]]
    page.fill("#object-filter", "square")
    assert set(listed()) == set(numbers[3:])
    assert page.inner_text("#object-count") == "3/6"
    page.fill("#object-filter", "")
    page.select_option("#object-sort", "oldest")
    # From the first row to the third with Shift; the fifth too, with Ctrl.
    rows = page.locator("#object-list .row")
    rows.nth(0).click()
    rows.nth(2).click(modifiers=["Shift"])
    rows.nth(4).click(modifiers=["Control"])
    assert selected(story) == {*numbers[:3], numbers[4]}
    # Pointing in the image marks the row, and the other way round.
    page.mouse.move(*story.place(33, 50))
    page.wait_for_selector(f".row.hovered[data-object='{numbers[4]}']")
    rows.nth(5).hover()
    story.until(f"samadapt.state.hovered === {numbers[5]}")


def each_object_can_have_a_colour_of_its_own(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    one, other = (story.pixel("objects-layer", x, 8.5)[:3] for x in (8.5, 33.5))
    assert np.abs(np.subtract(one, other)).max() < 4
    story.press("j")
    one, other = (story.pixel("objects-layer", x, 8.5)[:3] for x in (8.5, 33.5))
    assert np.abs(np.subtract(one, other)).max() > 40
