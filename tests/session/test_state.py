"""The reducer: a session's state from its events alone, without a model."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce as fold

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeModel, OracleModel, blobs
from samadapt.errors import SessionError
from samadapt.prompts import Box, Click
from samadapt.session.events import (
    Accepted,
    Added,
    Boxed,
    Clicked,
    Deleted,
    Edited,
    Event,
    Forgotten,
    ImageReference,
    Labelled,
    ObjectVersion,
    Opened,
    Painted,
    Redone,
    Rejected,
    Relabelled,
    Reopened,
    Skipped,
    Undone,
)
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session
from samadapt.session.state import Asked, SessionState, reduce

OPENED = Opened(ImageReference(4, 6), "m", "h", "p", (), SessionOptions(), "1")
DOT = Accepted.from_mask(1, "cell", np.eye(4, 6) > 0)


def after(*events: Event) -> SessionState:
    return fold(reduce, (OPENED, *events), SessionState())


def test_prompts_are_numbered_and_refer_to_the_mask_before() -> None:
    state = after(Clicked(1, 1), Clicked(2, 2, False), Undone(), Clicked(3, 3), Boxed(0, 0, 2, 2))
    assert state.object.asked == (
        Asked(1, Click(1, 1)),
        Asked(3, Click(3, 3), (1, None)),
        Asked(4, Box(0, 0, 2, 2)),
    )
    assert state.object.clicks == (Click(1, 1), Click(3, 3))


def test_a_skip_of_nothing_leaves_the_numbers_to_what_redo_brings_back() -> None:
    both = (Clicked(1, 1), DOT, Clicked(2, 2), Undone(), Undone(), Undone())
    state = after(*both, Skipped())
    asked = reduce(state, Clicked(3, 3)).object
    other = after(*both[:3]).object
    assert (asked.number, asked.step) != (other.number, other.step)
    assert after(*both, Skipped(), *[Redone()] * 3).object == other


def test_a_step_back_takes_its_own_decisions_alone() -> None:
    added = Added(1, "cell", DOT.height, DOT.width, DOT.counts, proposal=2)
    state = after(Rejected(1), added, Rejected(3), Forgotten())
    assert state.decided == {1: False, 2: True, 3: False}
    state = reduce(reduce(state, Forgotten()), Undone())  # of the rejection of 1
    assert state.decided == {2: True, 3: False}
    assert reduce(state, Redone()).decided == {1: False, 2: True, 3: False}
    both = Edited("accept all", added=(replace(added, object_id=5), replace(added, proposal=4)))
    state = after(Rejected(1), both, Undone())
    assert state.decided == {1: False}
    assert reduce(state, Redone()).decided == {1: False, 2: True, 4: True}


def test_a_state_is_never_changed() -> None:
    before = after(Clicked(1, 1), DOT)
    copy = (before.object, dict(before.objects), before.undo)
    reduce(reduce(before, Deleted((before.objects[1].version,))), Undone())
    assert (before.object, dict(before.objects), before.undo) == copy


def test_one_stack_covers_objects_and_prompts() -> None:
    version = ObjectVersion(1, 1, "cell")
    events = (Clicked(1, 1), DOT, Relabelled((version,), "nucleus"), Clicked(2, 2))
    state = after(*events, Deleted((ObjectVersion(1, 2, "nucleus"),)))
    seen = []
    while state.undo:
        state = reduce(state, Undone())
        saved = state.objects[1]
        seen.append((saved.revision, saved.label, saved.deleted, len(state.object.asked)))
    assert seen == [
        (4, "nucleus", False, 1),
        (4, "nucleus", False, 0),
        (5, "cell", False, 0),
        (6, "cell", True, 1),
        (6, "cell", True, 0),
    ]
    while state.redo:
        state = reduce(state, Redone())
    saved = state.objects[1]
    assert (saved.revision, saved.label, saved.deleted) == (9, "nucleus", True)
    assert len(state.object.asked) == 1


def test_a_new_version_follows_the_one_that_was_opened_again() -> None:
    opened = Reopened(ObjectVersion(7, 3, "cell"), DOT.height, DOT.width, DOT.counts)
    state = after(Labelled("other"), opened)
    assert state.object.label == "cell"
    better = Accepted.from_mask(7, "cell", np.ones((4, 6), np.bool_))
    state = reduce(reduce(state, Clicked(1, 1)), better)
    assert (state.objects[7].revision, state.object.label) == (4, "other")
    state = reduce(state, Undone())
    assert state.object.edited is not None
    assert state.object.edited.revision == state.objects[7].revision == 5
    np.testing.assert_array_equal(state.objects[7].rle.mask(), DOT.mask())  # type: ignore[union-attr]
    # Deleted in the middle, there is nothing left to edit.
    state = reduce(state, Deleted((state.objects[7].version,)))
    assert state.object.is_blank
    assert reduce(state, Undone()).object.edited is not None


def test_a_label_of_the_current_object_is_a_step_and_one_for_the_next_is_not() -> None:
    state = after(Labelled("a"))
    assert (state.object.label, state.undo) == ("a", ())
    state = after(Labelled("a"), Clicked(1, 1), Labelled("b"), Undone())
    assert (state.object.label, state.label, len(state.object.asked)) == ("a", "a", 1)
    assert after(Labelled("a"), Clicked(1, 1), Labelled("b"), Skipped()).object.label == "b"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SessionError, match="no image is open"):
        reduce(SessionState(), Clicked(1, 1))
    version = ObjectVersion(1, 1, "cell")
    for events, words in (
        ((DOT,), "nothing to accept"),
        ((Undone(),), "nothing to undo"),
        (
            (Clicked(1, 1), DOT, Deleted((version,)), Deleted((ObjectVersion(1, 2, None),))),
            "deleted",
        ),
        ((Clicked(1, 1), Reopened(version, 4, 6, DOT.counts)), "finish or skip"),
        ((Reopened(version, 4, 6, DOT.counts), Relabelled((version,), "x")), "being edited"),
        ((Painted(4, 0, 4, 3, "0<"),), "outside the image"),
    ):
        with pytest.raises(SessionError, match=words):
            after(*events)


def test_a_step_that_cannot_be_taken_any_more_is_passed_over() -> None:
    state = after(Clicked(1, 1), DOT, Forgotten(), Undone())
    assert state.object.is_blank
    assert not state.objects[1].deleted


# -- with a model -----------------------------------------------------------------------------


@pytest.fixture
def session() -> Session:
    session = Session(FakeModel())
    session.open(blobs())
    return session


def rectangle(rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((40, 56), np.bool_)
    mask[rows, columns] = True
    return mask


def test_strokes_lie_on_top_of_the_models_mask(session: Session) -> None:
    more, less = rectangle(slice(30, 34), slice(2, 9)), rectangle(slice(8, 12), slice(10, 14))
    model = session.click(14.5, 12.5)
    np.testing.assert_array_equal(session.paint(more), model | more)
    np.testing.assert_array_equal(session.paint(less, positive=False), (model | more) & ~less)
    clicked = session.click(38.5, 29.5, positive=False)
    assert session.prediction is not None
    np.testing.assert_array_equal(clicked, (session.prediction.masks[0] | more) & ~less)
    session.undo()
    np.testing.assert_array_equal(session.undo(), model | more)  # type: ignore[arg-type]
    with pytest.raises(SessionError, match="empty"):
        session.paint(np.zeros((40, 56), np.bool_))
    with pytest.raises(SessionError, match="stroke of"):
        session.paint(np.ones((4, 5), np.bool_))


def test_pixels_of_others_are_left_to_them_in_the_same_step(session: Session) -> None:
    others = rectangle(slice(0, 40), slice(0, 14))
    mask = session.click(14.5, 12.5)
    np.testing.assert_array_equal(session.accept("cell", without=others), mask & ~others)
    session.undo()
    session.undo()
    assert session.mask is None
    session.click(14.5, 12.5)
    with pytest.raises(SessionError, match="belongs to earlier objects"):
        session.accept(without=np.ones((40, 56), np.bool_))


def test_an_edit_begins_with_the_mask_that_was_accepted() -> None:
    labels = np.zeros((20, 30), np.int_)
    labels[3:9, 3:9] = 1
    session = Session(OracleModel(labels))
    session.open(blobs(20, 30))
    session.click(5, 5)
    mask = session.accept("cell")
    np.testing.assert_array_equal(session.edit(session.objects[1]), mask)
    dot = np.zeros_like(mask)
    dot[15, 15] = True
    session.paint(dot)
    session.accept()
    (found,) = session.accepted
    assert (found.object_id, found.label) == (1, "cell")
    np.testing.assert_array_equal(found.mask(), mask | dot)
    session.delete([session.objects[1]])
    assert session.accepted == ()


def test_answers_that_were_given_up_are_computed_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = [session.click(14.5, 12.5), session.click(38.5, 29.5)]
    session.accept()
    monkeypatch.setattr("samadapt.session.answers.MOST_BYTES", 0)
    session.click(3.5, 3.5)
    for expected in (None, masks[1], masks[0]):
        found = session.undo()
        assert (found is None) == (expected is None)
        if expected is not None:
            np.testing.assert_array_equal(found, expected)  # type: ignore[arg-type]
