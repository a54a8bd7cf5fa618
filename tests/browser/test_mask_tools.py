"""Tools for masks at the page: each by its key, each one step of undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from annotator import Annotator
from story import Story
from test_many_objects import add, block, selected, shift_click, stored

Opener = Callable[..., Any]

RING = block(10, 10, 40, 40) & ~block(20, 20, 30, 30)
DOTTED = RING | block(60, 60, 62, 62)
BAR = block(60, 10, 68, 50)


@pytest.fixture
def numbers(annotator: Annotator) -> list[int]:
    return add(annotator, [DOTTED, BAR])


def test_every_tool_is_one_step_of_undo(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    before = stored(annotator)
    for tell in (
        tools_change_the_selected_objects,
        a_tool_changes_the_object_under_way,
        a_stroke_splits_the_object_below_it,
        corners_are_dragged_and_simplified,
        scissors_paint_a_path_as_one_step,
    ):
        tell(annotator, story, numbers)
        story.press("Escape", "Escape", "w")
        story.idle()
        assert stored(annotator) == before, tell.__name__
        assert not story.mask().any(), tell.__name__


def tools_change_the_selected_objects(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    before = stored(annotator)
    shift_click(story, (15, 15), (30, 64))
    for key, expected in (
        ("Shift+F", block(10, 10, 40, 40) | block(60, 60, 62, 62)),
        ("Shift+I", RING),
        ("Shift+K", RING),
    ):
        story.press(key)
        story.idle()
        after = stored(annotator)
        assert after[numbers[0]][1] == expected.tobytes(), key
        assert after[numbers[1]] == before[numbers[1]]
        story.press("Control+z")
        story.idle()
        assert stored(annotator) == before
    story.press("?")
    for text in ("Fill holes", "Split by a stroke", "Scissors: click along an edge, Enter ends"):
        assert story.page.locator(".keys .line", has_text=text).is_visible()


def a_tool_changes_the_object_under_way(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    story.press("b")
    story.drag((80, 20), (80, 21))
    story.drag((80, 60), (100, 60))
    before = story.mask()
    story.press("Shift+K")
    after = story.mask()
    assert not after[20, 80]
    assert np.array_equal(after[45:], before[45:])
    story.press("Control+z")
    assert np.array_equal(story.mask(), before)


def a_stroke_splits_the_object_below_it(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    before = stored(annotator)
    story.press("Shift+X")
    story.drag((25, 56), (25, 72))
    story.idle()
    after = stored(annotator)
    assert len(after) == 3
    kept, piece = (
        np.frombuffer(after[n][1], bool).reshape(80, 112) for n in (numbers[1], max(after))
    )
    assert np.array_equal(kept | piece, BAR)
    assert kept[:, 30:50].any()
    assert not piece[:, 30:50].any()
    story.press("Control+z")
    story.idle()
    assert stored(annotator) == before


def corners_are_dragged_and_simplified(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    shift_click(story, (30, 64))
    assert selected(story) == {numbers[1]}
    story.press("Shift+P")
    story.until("samadapt.corners().length === 1")
    assert sorted(story.page.evaluate("samadapt.corners()[0]")) == [
        [10, 60], [10, 68], [50, 60], [50, 68],
    ]  # fmt: skip
    story.drag((50, 68), (50, 76))
    story.idle()
    mask = np.frombuffer(stored(annotator)[numbers[1]][1], bool).reshape(80, 112)
    assert mask[72, 48]
    assert not mask[72, 12]
    # A corner of its own on the upper line, then fewer corners again.
    story.until("samadapt.corners()[0]?.length >= 4")
    story.drag((30, 60), (30, 52))
    story.idle()
    story.until("samadapt.corners()[0]?.length >= 5")
    count = story.page.evaluate("samadapt.corners()[0].length")
    story.press("Shift+C")
    story.idle()
    story.until(f"samadapt.corners()[0]?.length < {count}")
    story.press("Control+z", "Control+z", "Control+z")
    story.idle()
    assert stored(annotator)[numbers[1]][1] == BAR.tobytes()


def scissors_paint_a_path_as_one_step(
    annotator: Annotator, story: Story, numbers: list[int]
) -> None:
    story.page.evaluate("samadapt.state.settings.brush = 3")
    story.press("s")
    for place in ((70, 10), (100, 10), (100, 40)):
        story.page.mouse.click(*story.place(*place))
        story.idle()
    story.press("Enter")
    mask = story.mask()
    assert mask[10, 70]
    assert mask[10, 100]
    assert mask[40, 100]
    assert 100 < mask.sum() < 600
    story.press("Control+z")
    assert not story.mask().any()
