"""Mask tools of a session: one event, one step of undo, the same after a replay."""

from __future__ import annotations

from functools import reduce as fold

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeModel, blobs
from samadapt.errors import SessionError
from samadapt.session.events import Edited
from samadapt.session.record import Record
from samadapt.session.session import Session
from samadapt.session.state import SavedObject, SessionState, reduce

Mask = NDArray[np.bool_]


@pytest.fixture
def session() -> Session:
    found = Session(FakeModel(side=64))
    found.open(blobs(80, 112))
    return found


def rectangle(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros((80, 112), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def masks(session: Session) -> dict[int, bytes]:
    return {k: saved.rle.mask().tobytes() for k, saved in session.objects.items() if saved.rle}


def all_saved(session: Session) -> list[SavedObject]:
    return list(session.objects.values())


RING = rectangle(10, 10, 30, 30) & ~rectangle(15, 15, 20, 20)


def test_a_tool_on_the_current_object_is_one_step(session: Session) -> None:
    session.paint(RING)
    session.paint(rectangle(50, 50, 51, 51))
    before = session.mask
    assert session.fill_holes() == 1
    assert session.keep_largest() == 1
    assert session.mask is not None
    assert np.array_equal(session.mask, rectangle(10, 10, 30, 30))
    assert session.fill_holes() == 0  # nothing to fill is no event
    session.undo()
    after_undo = session.undo()
    assert np.array_equal(after_undo, before)
    session.redo()
    mask = session.redo()
    assert np.array_equal(mask, rectangle(10, 10, 30, 30))
    assert np.array_equal(session.accept(), rectangle(10, 10, 30, 30))


def test_a_tool_on_several_objects_is_one_step(session: Session) -> None:
    for mask in (RING, rectangle(40, 40, 50, 50), np.roll(RING, 60, axis=1)):
        session.add(mask, "cell")
    before = masks(session)
    assert session.fill_holes(all_saved(session)) == 2
    assert [o.revision for o in session.objects.values()] == [2, 1, 2]
    assert masks(session)[1] == rectangle(10, 10, 30, 30).tobytes()
    session.undo()
    assert masks(session) == before


def test_merge_makes_objects_one_and_undo_brings_all_back(session: Session) -> None:
    one, two = rectangle(0, 0, 10, 10), rectangle(5, 5, 20, 20)
    session.add(one, "a")
    session.add(two, "b")
    before = masks(session)
    session.merge(all_saved(session))
    assert masks(session) == {1: (one | two).tobytes()}
    assert session.objects[1].label == "a"
    session.undo()
    assert masks(session) == before
    session.redo()
    assert masks(session) == {1: (one | two).tobytes()}
    with pytest.raises(SessionError, match="select two objects"):
        session.merge(all_saved(session))


def test_the_current_object_takes_others_in(session: Session) -> None:
    one, two = rectangle(0, 0, 10, 10), rectangle(5, 5, 20, 20)
    session.add(one)
    session.paint(two)
    session.merge(all_saved(session))
    assert masks(session) == {}
    assert np.array_equal(session.mask, one | two)
    session.undo()
    assert masks(session) == {1: one.tobytes()}
    assert np.array_equal(session.mask, two)


def test_split_makes_the_pieces_objects_of_the_same_label(session: Session) -> None:
    whole = rectangle(10, 10, 30, 60)
    session.add(whole, "cell")
    cut = rectangle(0, 29, 80, 30)
    assert session.split(cut, all_saved(session)) == 1
    large, small = (saved.rle.mask() for saved in session.objects.values() if saved.rle)
    assert np.array_equal(large | small, whole)
    assert large.sum() > small.sum() >= 19 * 20
    assert [o.label for o in session.objects.values()] == ["cell", "cell"]
    session.undo()
    assert masks(session) == {1: whole.tobytes()}
    with pytest.raises(SessionError, match="divides nothing"):
        session.split(rectangle(70, 70, 75, 75), all_saved(session))


def test_split_of_the_current_object_leaves_its_largest_piece(session: Session) -> None:
    session.label("cell")
    session.paint(rectangle(10, 10, 30, 60))
    assert session.split(rectangle(0, 29, 80, 30)) == 1
    assert session.mask is not None
    assert session.mask[20, 50]
    assert not session.mask[20, 12]
    assert [o.label for o in session.objects.values()] == ["cell"]
    session.undo()
    assert session.objects == {}
    assert np.array_equal(session.mask, rectangle(10, 10, 30, 60))


def test_an_object_that_is_being_edited_is_left_alone(session: Session) -> None:
    session.add(RING)
    session.edit(session.objects[1])
    with pytest.raises(SessionError, match="being edited"):
        session.fill_holes(all_saved(session))


def test_the_events_say_it_all(session: Session) -> None:
    session.add(RING, "a")
    session.add(rectangle(40, 40, 60, 60), "b")
    session.fill_holes(all_saved(session))
    session.split(rectangle(0, 50, 80, 51), all_saved(session)[1:])
    session.merge(all_saved(session)[:2])
    session.undo()
    records = [Record.from_json(record.to_json()) for record in session.log]
    assert sum(isinstance(record.event, Edited) for record in records) == 3
    again = fold(reduce, (record.event for record in records), SessionState())
    assert again.objects == session.state.objects
    assert again.object == session.state.object
