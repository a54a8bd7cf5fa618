from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.adapters.base import Adapter
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.prompts import Click
from samadapt.session.events import Accepted, Clicked, Skipped
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.replay import replay, resume, steps
from samadapt.session.session import Session, SessionStatus
from toy_adapter import ToyAdapter

IMAGES = {"a": blobs(), "b": blobs(24, 30)[:, ::-1].copy()}
MODEL = FakeModel()


# -- random work --------------------------------------------------------------------------

Action = tuple[str, tuple[Any, ...]]
unit = st.floats(0, 1)
actions = st.one_of(
    st.tuples(st.just("click"), st.tuples(unit, unit, st.booleans())),
    st.tuples(st.just("click"), st.tuples(unit, unit, st.booleans())),
    st.tuples(st.just("box"), st.tuples(unit, unit)),
    st.tuples(st.just("undo"), st.just(())),
    st.tuples(st.just("undo"), st.just(())),
    st.tuples(st.just("redo"), st.just(())),
    st.tuples(st.just("reset"), st.just(())),
    st.tuples(st.just("choose"), st.tuples(st.integers(0, 3))),
    st.tuples(st.just("accept"), st.just(("cell",))),
    st.tuples(st.just("skip"), st.just(())),
    st.tuples(st.just("paint"), st.tuples(unit, unit, st.booleans())),
    st.tuples(st.just("label"), st.tuples(st.sampled_from([None, "cell", "debris"]))),
    st.tuples(st.just("edit"), st.tuples(unit)),
    st.tuples(st.just("delete"), st.tuples(unit)),
    st.tuples(st.just("relabel"), st.tuples(unit, st.sampled_from([None, "cell"]))),
    st.tuples(st.just("open"), st.tuples(st.sampled_from(sorted(IMAGES)))),
)


def act(session: Session, action: Action) -> bool:
    """Do it; False when the session refuses."""
    name, values = action
    height, width = session.image_size
    if name == "click":
        values = (values[0] * width, values[1] * height, values[2])
    elif name == "box":
        x, y = values[0] * width / 2, values[1] * height / 2
        values = (x, y, x + width / 2, y + height / 2)
    elif name == "open":
        values = (IMAGES[values[0]], values[0])
    elif name == "paint":
        mask = np.zeros((height, width), np.bool_)
        y, x = int(values[0] * (height - 4)), int(values[1] * (width - 4))
        mask[y : y + 4, x : x + 4] = True
        values = (mask, values[2])
    elif name in ("edit", "delete", "relabel"):
        there = list(session.objects.values())
        if not there:
            return False
        one = there[int(values[0] * (len(there) - 1))]
        values = (one,) if name == "edit" else ([one], *values[1:])
    try:
        getattr(session, name)(*values)
    except SessionError:
        return False
    return True


class Model:
    """What undo and redo should do, on plain lists of whole states."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.past: list[object] = []
        self.now = state(session)
        self.future: list[object] = []
        self.is_blank = True

    def check(self, name: str, done: bool) -> None:
        found = state(self.session)
        was_blank, self.is_blank = self.is_blank, self.session.state.object.is_blank
        if name == "undo":
            assert done == bool(self.past)
            if done:
                self.future.append(self.now)
                self.now = self.past.pop()
        elif name == "redo":
            assert done == bool(self.future)
            if done:
                self.past.append(self.now)
                self.now = self.future.pop()
        elif name == "open" and done:
            self.past, self.future, self.now = [], [], found
        elif name == "label" and was_blank:
            self.now = found  # what is chosen for the next object is no step
        elif done:
            self.past.append(self.now)
            self.future, self.now = [], found
        assert found == self.now
        assert self.session.can_undo == bool(self.past)
        assert self.session.can_redo == bool(self.future)


def state(session: Session) -> tuple[object, ...]:
    """Everything one sees of the current object and of the others."""
    found = session.prediction
    bits = () if found is None else (
        found.masks.tobytes(), found.logits.tobytes(), found.scores.tobytes(),
    )  # fmt: skip
    painted = () if session.mask is None else session.mask.tobytes()
    now = session.state.object
    others = tuple((o.object_id, o.label, o.rle) for o in session.objects.values())
    return (
        session.clicks, session.current_box, session.chosen, bits, painted, now.label,
        now.edited is None, others,
    )  # fmt: skip


def run(session: Session, todo: list[Action]) -> list[tuple[object, ...]]:
    """Do all of it; the state after every event."""
    session.open(IMAGES["a"], "a")
    states = [state(session)]
    model = Model(session)
    for action in todo:
        before = len(session.log)
        done = act(session, action)
        has_event = len(session.log) > before
        is_skipped = action[0] == "skip" and model.is_blank
        model.check(action[0], has_event and not is_skipped)
        assert done or not has_event
        if len(session.log) > before:
            states.append(state(session))
    return states


@settings(max_examples=40)
@given(
    st.lists(actions, max_size=25),
    st.booleans(),
    st.sampled_from(["logits", "binary", "none"]),
    st.booleans(),
)
def test_a_replay_gives_the_same_masks_and_undo_is_a_stack(
    todo: list[Action], multimask: bool, feedback: Any, learns: bool
) -> None:
    def adapters() -> list[Adapter]:
        return [ToyAdapter.create("fast")] if learns else []

    session = Session(MODEL, adapters(), options=SessionOptions(multimask, feedback))
    states = run(session, todo)
    found = [state(again) for _, again in steps(session.log, MODEL, adapters(), IMAGES)]
    assert found == states
    replayed = replay(session.log, MODEL, adapters(), IMAGES)
    assert replayed.accepted == session.accepted
    assert replayed.options == session.options
    assert state(replayed) == state(session)
    assert (replayed.can_undo, replayed.can_redo) == (session.can_undo, session.can_redo)


# -- by hand ------------------------------------------------------------------------------


def work(session: Session) -> None:
    for name in ("a", "b"):
        session.open(IMAGES[name], name)
        session.click(14.5, 12.5)
        session.accept("disc")
        session.click(20.5, 5.5)
        session.click(3.5, 18.5, positive=False)
    session.undo()


def test_a_session_goes_on_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with EventLog.open(path) as log:
        lost = Session(MODEL, log=log)
        work(lost)
    for recover in (replay, resume):
        with EventLog.open(path) as log:
            count = len(log)
            session = recover(log, MODEL, images=IMAGES)
            assert len(log) == count
            assert state(session) == state(lost)
            assert session.accepted == lost.accepted
            assert session.can_redo == lost.can_redo
            session.click(10.5, 10.5)
            session.accept("more")
            assert session.accepted[-1].object_id == lost.accepted[-1].object_id + 1
            assert len(log) == count + 2
            lost = session


def test_resume_encodes_only_the_last_image(tmp_path: Path) -> None:
    session = Session(MODEL)
    work(session)
    model = FakeModel()
    resume(session.log, model, images=IMAGES)
    assert model.encoded == 1
    replay(session.log, model, images=IMAGES)
    assert model.encoded == 3


def test_images_come_from_their_paths(tmp_path: Path) -> None:
    Image.fromarray(IMAGES["a"]).save(tmp_path / "a.png")
    session = Session(MODEL)
    session.open(tmp_path / "a.png")
    session.click(14.5, 12.5)
    assert state(replay(session.log, MODEL)) == state(session)
    changed = IMAGES["a"].copy()
    changed[0, 0] = 0
    Image.fromarray(changed).save(tmp_path / "a.png")
    with pytest.raises(SessionError, match=r"event 0 \(opened\).*a.png has changed: its pixels"):
        replay(session.log, MODEL)
    Image.fromarray(IMAGES["b"]).save(tmp_path / "a.png")
    with pytest.raises(SessionError, match="was 56 x 40 pixels, now it is 30 x 24"):
        replay(session.log, MODEL)
    (tmp_path / "a.png").unlink()
    with pytest.raises(SessionError, match=r"event 0 \(opened\).*a.png"):
        replay(session.log, MODEL)


def test_images_can_be_embeddings() -> None:
    session = Session(MODEL)
    embedding = MODEL.encode(IMAGES["a"])
    session.open(embedding=embedding)
    session.click(14.5, 12.5)
    with pytest.raises(SessionError, match="has no file"):
        replay(session.log, MODEL)
    count = MODEL.encoded
    again = replay(session.log, MODEL, images=lambda reference: embedding)
    assert MODEL.encoded == count
    assert state(again) == state(session)
    smaller = MODEL.encode(IMAGES["b"])
    with pytest.raises(SessionError, match="was 56 x 40 pixels"):
        replay(session.log, MODEL, images=lambda reference: smaller)


@pytest.fixture
def log() -> EventLog:
    session = Session(MODEL)
    work(session)
    return session.log


def test_other_weights_are_refused_by_name(log: EventLog) -> None:
    other = FakeModel(seed=1)
    hashes = [m.identity.weights_hash[:12] for m in (MODEL, other)]
    with pytest.raises(SessionError, match=f"fake .{hashes[0]}.*fake .{hashes[1]}"):
        replay(log, other, images=IMAGES)


@pytest.mark.parametrize(
    ("model", "adapters", "words"),
    [
        (lambda: FakeModel(side=64), (), "preprocessing 'fake-32-None'"),
        (FakeModel, (ToyAdapter(),), r"adapters \(\), now it is \('toy',\)"),
    ],
)
def test_other_circumstances_are_refused(
    log: EventLog, model: Callable[[], SegmentationModel], adapters: Any, words: str
) -> None:
    with pytest.raises(SessionError, match=words):
        replay(log, model(), adapters, IMAGES)


def test_an_accepted_mask_that_comes_out_differently_is_noticed() -> None:
    session = Session(MODEL, [ToyAdapter()])
    session.open(IMAGES["a"], "a")
    session.click(14.5, 12.5)
    session.click(16.5, 12.5)
    mask = session.accept()
    trained = ToyAdapter()
    trained.load_state_dict({"amount": trained.module.amount.detach() + 0.5})
    with pytest.raises(SessionError, match=r"event 3 \(accepted\): the mask differs.* of 2240"):
        replay(session.log, MODEL, [trained], IMAGES)
    kept = replay(session.log, MODEL, [trained], IMAGES, verify=False)
    np.testing.assert_array_equal(kept.accepted[0].mask(), mask)


def test_events_that_cannot_be_are_refused() -> None:
    log = EventLog()
    log.append(Clicked(1, 1))
    with pytest.raises(SessionError, match=r"event 0 \(clicked\): no image is open"):
        replay(log, MODEL)
    session = Session(MODEL)
    session.open(IMAGES["a"], "a")
    session.log.append(Clicked(100, 1))
    with pytest.raises(SessionError, match=r"event 1 \(clicked\).*outside"):
        replay(session.log, MODEL, images=IMAGES)
    session = Session(MODEL)
    session.open(IMAGES["a"], "a")
    session.log.append(Skipped())
    session.log.append(Accepted.from_mask(1, None, np.ones((40, 56), np.bool_)))
    with pytest.raises(SessionError, match=r"event 2 \(accepted\)"):
        replay(session.log, MODEL, images=IMAGES)


def test_an_empty_log_gives_a_fresh_session() -> None:
    log = EventLog()
    for recover in (replay, resume):
        session = recover(log, MODEL)
        assert session.status is SessionStatus.NO_IMAGE
    session.open(IMAGES["a"])
    assert len(log) == 1


def test_looking_at_the_steps_saves_nothing(log: EventLog) -> None:
    count = len(log)
    seen = [(record.sequence, session.mask is not None) for record, session in
            steps(log, MODEL, images=IMAGES)]  # fmt: skip
    assert [sequence for sequence, _ in seen] == list(range(count))
    assert len(log) == count


def test_a_log_of_an_earlier_version_still_opens() -> None:
    """The file was written before strokes, labels and edits were events."""
    log = EventLog.read(Path(__file__).parent / "files" / "earlier.log")
    for recover in (replay, resume):
        session = recover(log, MODEL, images={"blobs": blobs()})
        assert session.clicks == (Click(42.5, 7.5),)
        assert session.mask is not None
        assert session.mask.sum() == 170
        assert session.can_redo
        assert [(a.object_id, a.label) for a in session.accepted] == [(1, "disc"), (2, "square")]
