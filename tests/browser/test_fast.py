"""Fast work at a slow model: what is pressed is done in order, and nothing wrong is saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator import Annotator
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from story import Story

from fakes import FakeModel, blobs
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session

Opener = Callable[..., Any]
Made = list[tuple[int | None, bytes]]

DISC, SQUARE, BACK = (14.5, 12.5), (37.5, 29.5), (80.5, 50.5)
ACTIONS = 200
WEIGHTS = {
    "click": 6, "background": 2, "box": 2, "stroke": 2, "accept": 6, "drop": 1, "undo": 3,
    "redo": 1, "cycle": 2, "label": 3, "select": 2, "remove": 1, "edit": 1,
}  # fmt: skip
KEYS = {
    "accept": "Enter", "drop": "Escape", "undo": "Control+z", "redo": "Control+y", "cycle": "c",
    "remove": "Delete", "edit": "i",
}  # fmt: skip


class SlowModel(FakeModel):
    """Takes its time to answer."""

    seconds = 0.0

    def run_decoder(self, *args: Any) -> Any:
        time.sleep(self.seconds)
        return super().run_decoder(*args)


@pytest.fixture
def slow(annotator: Annotator) -> Annotator:
    annotator.stop()
    model = SlowModel(side=64)
    model.seconds = 0.25
    annotator.model = model
    return annotator.start()


@pytest.fixture
def story(slow: Annotator, open_page: Opener) -> Story:
    return Story(open_page())


@pytest.fixture
def session() -> Session:
    found = Session(FakeModel(side=64), options=SessionOptions.annotator())
    found.open(blobs(80, 112))
    return found


def made(annotator: Annotator) -> Made:
    objects = annotator.project.objects.of_image(annotator.ids()[0])
    return [(thing.label_id, thing.mask().tobytes()) for thing in objects]


def label(annotator: Annotator, name: str) -> int:
    return annotator.project.labels.named([name], "")[name]


def test_enter_while_an_answer_is_due_saves_that_answer(
    slow: Annotator, story: Story, session: Session
) -> None:
    story.click(*DISC)
    story.page.mouse.click(*story.place(*BACK), button="right")
    story.page.wait_for_selector("#stage[data-busy]")
    assert story.page.locator("#busy-cursor").is_visible()
    assert story.page.locator("#busy-object").is_visible()
    story.press("Enter", "Enter")
    story.idle()
    assert not story.page.locator("#busy-cursor").is_visible()
    session.click(*DISC)
    mask = session.click(*BACK, positive=False)
    assert made(slow) == [(label(slow, "disc"), mask.tobytes())]
    assert story.current()["clicks"] == []


def test_a_new_box_under_another_label_and_enter_at_once(
    slow: Annotator, story: Story, session: Session
) -> None:
    story.click(*DISC)
    story.press("2")
    story.drag((26, 18), (50, 40))
    story.press("Enter")
    story.idle()
    story.saved()
    session.click(*DISC)
    x0, y0, x1, y1 = session_box(slow)
    assert made(slow) == [(label(slow, "square"), session.box(x0, y0, x1, y1).tobytes())]


def test_enter_before_the_first_answer_counts(
    slow: Annotator, story: Story, session: Session
) -> None:
    story.page.mouse.click(*story.place(*DISC))
    story.press("Enter", "2")
    story.page.mouse.click(*story.place(*SQUARE))
    story.press("Enter", "n")
    story.idle()
    first = session.click(*DISC)
    session.accept()
    second = session.click(*SQUARE)
    expected = [(label(slow, "disc"), first.tobytes()), (label(slow, "square"), second.tobytes())]
    assert made(slow) == expected
    first_image, second_image, *_ = slow.ids()
    assert slow.project.images.get(first_image).mark == "done"
    assert story.current()["image"] == second_image


def session_box(annotator: Annotator) -> tuple[float, float, float, float]:
    """The last box, as it was saved: a drag ends at whole pixels of the screen."""
    for entry in reversed(list(annotator.project.journal.entries())):
        event: Any = entry.event
        if event.kind == "boxed":
            return event.x0, event.y0, event.x1, event.y1
    raise AssertionError("no box was drawn")


def test_a_reload_loses_nothing_of_the_object_under_way(
    annotator: Annotator, open_page: Opener
) -> None:
    story = Story(open_page())
    story.click(*DISC)
    story.press("b")
    story.drag((60, 30), (90, 30))
    story.press("2")
    before = story.mask()
    other = Story(open_page())
    story.page.reload()
    story.page.wait_for_selector("html[data-ready=true]")
    story.until("samadapt.current.strokes === 1")
    assert np.array_equal(story.mask(), before)
    assert story.page.evaluate("samadapt.current.label") == label(annotator, "square")
    story.press("Control+z", "Control+z", "Control+z", "Control+z")
    story.idle()
    assert not story.mask().any()
    story.press("Control+y", "Control+y", "Control+y")
    story.accept()
    assert made(annotator) == [(label(annotator, "square"), before.tobytes())]
    # Another tab of the project sees the same object.
    other.open(annotator.ids()[0])
    other.until("samadapt.state.objects.size === 1")
    assert [mask.tobytes() for mask in other.objects().values()] == [before.tobytes()]


# -- a fast and a slow typist -----------------------------------------------------------------


class Typist:
    """Somebody who does the same as anybody else with the same seed."""

    def __init__(self, story: Story, *, waits: bool) -> None:
        self._story, self._waits = story, waits
        self._left, self._top = story.place(0, 0)
        right, _ = story.place(112, 0)
        self._scale = (right - self._left) / 112

    def work(self, chance: Generator, count: int) -> None:
        names, weights = list(WEIGHTS), np.array(list(WEIGHTS.values()), float)
        for _ in range(count):
            name = str(chance.choice(names, p=weights / weights.sum()))
            x, y = chance.uniform(2, 90), chance.uniform(2, 50)
            self._do(name, x, y, int(chance.integers(3)))
            if self._waits:
                self._story.idle()
        self._story.idle(300)

    def _do(self, name: str, x: float, y: float, number: int) -> None:
        page = self._story.page
        if name in KEYS:
            page.keyboard.press(KEYS[name])
        elif name == "label":
            page.keyboard.press(str(number))
        elif name == "select":
            page.keyboard.down("Shift")
            page.mouse.click(*self._place(x, y))
            page.keyboard.up("Shift")
        elif name in ("click", "background"):
            button = "left" if name == "click" else "right"
            page.mouse.click(*self._place(x, y), button=button)
        else:
            page.keyboard.press("b" if name == "stroke" else "w")
            page.mouse.move(*self._place(x, y))
            page.mouse.down()
            page.mouse.move(*self._place(x + 18, y + 14), steps=2)
            page.mouse.up()
            page.keyboard.press("w")

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return self._left + x * self._scale, self._top + y * self._scale


def test_a_fast_typist_makes_the_objects_of_a_slow_one(
    slow: Annotator, open_page: Opener, tmp_path: Path
) -> None:
    assert isinstance(slow.model, SlowModel)
    found: list[tuple[Made, bytes]] = []
    for waits, seconds in ((True, 0.0), (False, 0.02)):
        slow.stop()
        slow.folder = tmp_path / f"waits-{waits}"
        slow.folder.mkdir()
        Image.fromarray(blobs(80, 112)).save(slow.folder / "1.png")
        slow.model.seconds = seconds
        slow.start()
        slow.project.labels.named(["disc", "square"], "")
        story = Story(open_page())
        Typist(story, waits=waits).work(np.random.default_rng(5), ACTIONS)
        found.append((made(slow), under_way(story).tobytes()))
        story.page.close()
    (expected, unfinished), (fast, same) = found
    assert len(expected) > 5
    assert fast == expected
    assert same == unfinished


def under_way(story: Story) -> NDArray[np.bool_]:
    return story.mask()
