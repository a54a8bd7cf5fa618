from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeModel
from samadapt.adapters.base import Adapter, Interaction
from samadapt.data.frames import Frame, outside_of
from samadapt.data.rle import Rle
from samadapt.data.tiled import TiledImage
from samadapt.errors import PromptError, SessionError
from samadapt.prompts import Prompt
from samadapt.session import window_editing
from samadapt.session.events import Clicked, ImageReference
from samadapt.session.lease import AdapterLease
from samadapt.session.log import EventLog
from samadapt.session.mask_tools import fill_holes
from samadapt.session.options import SessionOptions
from samadapt.session.record import Record
from samadapt.session.replay import replay_windows
from samadapt.session.window_session import WindowSession
from samadapt.session.windows import ImageWindows
from slides import write_slide

SIDE, WINDOW = 2048, 128
SMALL, LARGE, CORNER = (400, 300, 30), (1200, 1300, 300), (2040, 5, 20)
REFERENCE = ImageReference(SIDE, SIDE, "slide.tif")


class Told(Adapter):
    """Writes down what a session tells it."""

    method = "told"
    learns_in_session = True

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, Any]] = []

    def on_open(self, embedding: Any) -> None:
        self.events.append(("open", embedding))

    def on_click(self, interaction: Interaction) -> None:
        self.events.append(("click", interaction))

    def on_undo(self, interaction: Interaction) -> None:
        self.events.append(("undo", interaction))

    def on_accept(self, interaction: Interaction, mask: Any) -> None:
        self.events.append(("accept", (interaction, mask)))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledImage]:
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    with TiledImage.open(write_slide(path, SIDE, [SMALL, LARGE, CORNER], 2)) as image:
        yield image


Begin = Callable[..., WindowSession]


@pytest.fixture
def begin(slide: TiledImage) -> Begin:
    def begun(*adapters: Adapter, log: EventLog | None = None) -> WindowSession:
        model = FakeModel(side=WINDOW)
        windows = ImageWindows(model, slide, side=WINDOW)
        lease = AdapterLease(adapters)
        session = WindowSession(model, windows, lease, log, SessionOptions.annotator())
        session.open(REFERENCE)
        return session

    return begun


def rectangle(x: int, y: int, width: int, height: int) -> Rle:
    return Rle.from_crops([(np.ones((height, width), np.bool_), x, y)], (SIDE, SIDE))


def mask_of(session: WindowSession) -> Rle:
    assert session.rle is not None
    return session.rle


def test_a_click_is_answered_on_the_window_around_it(begin: Begin) -> None:
    session = begin()
    session.click(410, 300)
    frame = Frame(346, 236, WINDOW, WINDOW)
    assert session.state.object.frame == frame
    model = session.model
    pixels = session.windows.image.view(frame.window, WINDOW)
    found = model.predict(model.encode(pixels), Prompt([(64, 64)]), True)
    assert session.prediction is not None
    np.testing.assert_array_equal(session.prediction.scores, found.scores)
    np.testing.assert_array_equal(
        frame.points(mask_of(session)), session.prediction.masks[session.chosen]
    )
    disc = np.hypot(*(np.mgrid[:SIDE, :SIDE] + 0.5 - np.array([300, 400])[:, None, None])) < 30
    assert mask_of(session).iou(Rle.from_mask(disc)) > 0.6
    assert len(session.candidates()) == 3
    assert session.candidates()[session.chosen] == mask_of(session)


def test_the_zoom_chooses_the_level_and_a_cut_object_a_coarser_one(begin: Begin) -> None:
    session = begin()
    session.click(400, 300, step=4)
    now = session.state.object.frame
    assert now is not None
    assert (now.step, now.size) == (4, (WINDOW, WINDOW))
    session.skip()
    session.click(1200, 1300)  # 600 pixels wide, in a window of 128
    frame = session.state.object.frame
    assert frame is not None
    assert frame.step == 4, "twice as wide, twice"
    session.skip()
    session.box(900, 1000, 1500, 1600)
    frame = session.state.object.frame
    assert frame is not None
    assert (frame.step, frame.window) == (8, (688, 788, 1712, 1812))


def test_what_is_outside_of_the_next_window_stays_and_undo_leads_back(begin: Begin) -> None:
    session = begin()
    session.click(1200, 1300, step=8)
    before, state = mask_of(session), session.state.object
    session.click(1480, 1300)  # looked at closely: another window
    frame = session.state.object.frame
    assert frame == Frame(1416, 1236, WINDOW, WINDOW)
    after = mask_of(session)
    outside = Rle.from_mask(np.ones((SIDE, SIDE), np.bool_))
    assert outside_of(after, frame) == outside_of(before, frame)
    assert outside_of(outside, frame).area == SIDE * SIDE - WINDOW**2
    assert [(c.x, c.y) for c in session.clicks] == [(1200, 1300), (1480, 1300)]
    session.click(1490, 1310)
    assert session.state.object.frame == frame, "near enough: the same window"
    session.undo()
    assert mask_of(session) == after
    session.undo()
    assert (mask_of(session), session.state.object.asked) == (before, state.asked)
    session.redo()
    assert mask_of(session) == after


def test_a_log_gives_the_same_again_after_a_restart_and_in_a_replay(
    begin: Begin, tmp_path: Path
) -> None:
    with EventLog.open(tmp_path / "events.log") as log:
        session = begin(log=log)
        session.click(1200, 1300, step=8)
        session.click(1480, 1300)
        session.undo()
        session.click(1485, 1290, positive=False, step=2)
        accepted = session.accept("disc")
        session.click(400, 300)
        session.paint(rectangle(470, 290, 6, 4))
        session.click(2047.5, 0.5)
        shown = mask_of(session)
        events = [record.event for record in log]
    again = begin()
    again.state = type(again.state)(again.options)
    again.restore(events)
    assert again.state == session.state
    assert mask_of(again) == shown
    log = EventLog.read(tmp_path / "events.log")
    replayed = replay_windows(log, session.model, session.windows)
    assert mask_of(replayed) == shown
    (saved,) = replayed.objects.values()
    assert (saved.rle, saved.label) == (accepted, "disc")


def test_old_clicks_have_no_window_in_the_log(begin: Begin) -> None:
    line = Record(0, 0.0, Clicked(1.0, 2.0)).to_json()
    assert "frame" not in line
    assert "base" not in line
    framed = Record(0, 0.0, Clicked(1.0, 2.0, True, Frame(0, 0, 8, 8, 2), "04"))
    assert Record.from_json(framed.to_json()) == framed


def test_strokes_lie_on_top_wherever_the_window_is(begin: Begin) -> None:
    session = begin()
    session.paint(rectangle(1000, 50, 20, 10))
    assert (mask_of(session).box, mask_of(session).area) == ((1000, 50, 20, 10), 200)
    session.click(400, 300)
    assert mask_of(session).share_in(Rle.from_mask(np.ones((SIDE, SIDE), np.bool_))) == 1
    assert mask_of(session).crop(1000, 50, 1020, 60).all()
    session.paint(rectangle(1000, 50, 10, 10), positive=False)
    assert not mask_of(session).crop(1000, 50, 1010, 60).any()
    assert mask_of(session).crop(1010, 50, 1020, 60).all()


def test_an_accepted_object_is_opened_again_and_keeps_what_is_out_of_sight(begin: Begin) -> None:
    session = begin()
    session.click(1200, 1300, step=8)
    first = session.accept()
    (saved,) = session.objects.values()
    session.edit(saved)
    assert mask_of(session) == first
    session.click(1490, 1300)
    assert session.state.object.base is None, "it is the accepted one: not written again"
    second = session.accept(others=[rectangle(1196, 1296, 9, 9)])
    assert first.crop(1196, 1296, 1205, 1305).all()
    assert not second.crop(1196, 1296, 1205, 1305).any()
    assert second.crop(1100, 1250, 1150, 1300).all()
    session.undo()
    session.undo()
    assert mask_of(session) == first


def test_adapters_see_windows(begin: Begin) -> None:
    told = Told()
    session = begin(told)
    assert told.events == []
    session.click(400, 300)
    session.click(405, 310)
    session.click(1480, 1300, step=2)
    session.undo()
    session.accept()
    kinds = [kind for kind, _ in told.events]
    assert kinds == ["open", "click", "click", "open", "click", "open", "undo", "accept"]
    interaction, mask = told.events[-1][1]
    assert mask.shape == interaction.embedding.original_size == (WINDOW, WINDOW)
    np.testing.assert_array_equal(mask, interaction.mask)
    assert [(c.x, c.y) for c in interaction.clicks] == [(64, 64), (69, 74)]
    session.learn(rectangle(10, 10, 20, 20))
    assert told.events[-1][1][1].sum() == 400


def test_tools_change_what_they_see_and_nothing_else(begin: Begin) -> None:
    session = begin()
    ring = np.ones((60, 60), np.bool_)
    ring[20:30, 20:30] = False
    whole = Rle.from_crops([(ring, 700, 800)], (SIDE, SIDE))
    session.add(whole, "ring")
    (saved,) = session.objects.values()
    assert session.apply("fill holes", [saved]) == 1
    (filled,) = session.objects.values()
    assert filled.rle == Rle.from_crops([(fill_holes(ring), 700, 800)], (SIDE, SIDE))
    assert session.apply("fill holes", [filled]) == 0
    assert session.split(rectangle(730, 795, 2, 70), [filled]) == 1
    left, right = (one.rle for one in session.objects.values())
    assert left is not None
    assert right is not None
    assert filled.rle is not None
    assert Rle.union([left, right]) == filled.rle
    assert {left.box[2], right.box[2]} in ({30}, {31, 29})
    session.merge(tuple(session.objects.values()))
    (merged,) = session.objects.values()
    assert merged.rle == filled.rle
    nothing = Rle.from_crops([], (SIDE, SIDE))
    with pytest.raises(SessionError, match="nothing would be left of the object"):
        session.change("polygon", lambda mask: nothing, [merged])
    for _ in range(3):
        session.undo()
    assert next(iter(session.objects.values())).rle == whole


def test_a_split_measures_pieces_in_pixels(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thin tail covers more points at a coarse step than a block of more pixels."""
    monkeypatch.setattr(window_editing, "MOST_POINTS", 2_000)
    session = begin()
    tailed = Rle.union([rectangle(100, 500, 60, 60), rectangle(160, 530, 1000, 1)])
    session.add(tailed, "tailed")
    (saved,) = session.objects.values()
    session.split(rectangle(176, 490, 8, 80), [saved])
    kept, tail = (one.rle for one in session.objects.values())
    assert kept is not None
    assert tail is not None
    assert kept.share_in(rectangle(100, 500, 100, 60)) == 1
    assert kept.area > 3600
    assert Rle.union([kept, tail]) == tailed
    # What the cut leaves of a short tail is a crumb: less than half a percent of the pixels.
    session.add(Rle.union([rectangle(100, 1000, 60, 60), rectangle(160, 1030, 24, 1)]), "short")
    short = session.objects[session.state.last_id]
    monkeypatch.setattr(window_editing, "MOST_POINTS", 200)
    with pytest.raises(SessionError, match="divides nothing"):
        session.split(rectangle(160, 990, 8, 80), [short])


def test_what_cannot_be_says_why(begin: Begin) -> None:
    session = begin()
    with pytest.raises(PromptError, match="outside the image of 2048 x 2048"):
        session.click(2049, 10)
    with pytest.raises(PromptError, match="outside the image"):
        session.box(-20, -20, -1, -1)
    with pytest.raises(SessionError, match="nothing to accept"):
        session.accept()
    assert session.state.object.is_blank
    assert len(session.log) == 1
