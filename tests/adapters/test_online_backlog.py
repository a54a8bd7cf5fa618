"""Objects that wait to be learned: few, the best first, never lost by a kill."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_online import quick
from test_online_learning import SINGLE, weights

from fakes import FakeModel, blobs
from samadapt.adapters.base import Interaction
from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.online.backlog import Backlog
from samadapt.adapters.online.waiting import Waiting
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Click, Prompt
from samadapt.session.session import Session

PLACES = ((14.5, 12.5), (38.5, 29.5), (3.5, 36.5))


def square(number: int) -> NDArray[np.bool_]:
    """A mask of 4 x 4 pixels; those of other numbers have none in common."""
    mask = np.zeros((40, 56), np.bool_)
    row, column = divmod(number % 140, 14)
    mask[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
    return mask


def ended(
    model: FakeModel, embedding: ImageEmbedding, mask: NDArray[np.bool_], prompts: int = 1
) -> Interaction:
    """An object whose last answer was accepted as it was."""
    sent = tuple(Prompt([(1.5 + k, 2.5)]) for k in range(prompts))
    clicks = (Click(1.5, 2.5),)
    return Interaction(model, (), embedding, sent, clicks, None, mask=mask, step=prompts)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def embedding(model: FakeModel) -> ImageEmbedding:
    return model.encode(blobs())


def fill(
    backlog: Backlog, model: FakeModel, embedding: ImageEmbedding, counts: list[int]
) -> list[NDArray[np.bool_]]:
    masks = [square(number) for number in range(len(counts))]
    for mask, prompts in zip(masks, counts, strict=True):
        backlog.add(0, ended(model, embedding, mask, prompts), mask, False, None, True)
    return masks


def taken(backlog: Backlog) -> Iterator[NDArray[np.bool_]]:
    while (entry := backlog.take()) is not None:
        yield entry.mask
        backlog.done(entry)


def test_the_newest_come_first(model: FakeModel, embedding: ImageEmbedding) -> None:
    backlog = Backlog(limit=5)
    masks = fill(backlog, model, embedding, [1] * 12)
    assert (len(backlog), backlog.dropped) == (5, 7)
    assert np.array_equal(list(taken(backlog)), masks[:6:-1])


def test_what_was_hard_comes_before_what_is_a_little_newer(
    model: FakeModel, embedding: ImageEmbedding
) -> None:
    backlog = Backlog(limit=10)
    masks = fill(backlog, model, embedding, [1, 1, 4, 1, 1])  # 1 - 1/4 is worth 7.5 of 10 objects
    order = [2, 4, 3, 1, 0]
    assert np.array_equal(list(taken(backlog)), [masks[k] for k in order])


def test_painting_counts_as_hard(model: FakeModel, embedding: ImageEmbedding) -> None:
    backlog = Backlog(limit=10)
    first, second = square(0), square(1)
    painted = replace(ended(model, embedding, first), mask=square(50))
    backlog.add(0, painted, first, False, None, True)
    backlog.add(0, ended(model, embedding, second), second, False, None, True)
    assert np.array_equal(list(taken(backlog)), [first, second])


def test_an_object_accepted_anew_takes_its_own_place(
    model: FakeModel, embedding: ImageEmbedding
) -> None:
    backlog = Backlog()
    before = np.zeros((40, 56), np.bool_)
    before[5:15, 5:15] = True
    after = before.copy()
    after[5, 5] = False
    other = model.encode(255 - blobs())
    for picture, mask in ((embedding, before), (other, before), (embedding, after)):
        backlog.add(0, ended(model, picture, mask), mask, False, None, True)
    assert np.array_equal(list(taken(backlog)), [after, before])


def test_an_object_taken_back_is_dropped_on_its_image_alone(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    backlog, other = Backlog(), model.encode(255 - blobs())
    for picture, number in ((embedding, 1), (embedding, 2), (other, 1)):
        done = ended(model, picture, square(number))
        backlog.add(0, done, square(number), False, None, True)
    backlog.keep(tmp_path)
    backlog.withdraw(embedding, square(1))
    backlog.withdraw(embedding, square(3))
    backlog.withdraw(model.encode(blobs()), square(1))
    assert len(list(tmp_path.glob("waiting-*"))) == 2
    assert np.array_equal(list(taken(backlog)), [square(1), square(2)])


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_object_put_back_is_learned_after_all(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path, on_disk: bool
) -> None:
    backlog = Backlog()
    for number in (1, 2):
        backlog.add(0, ended(model, embedding, square(number)), square(number), False, None, True)
    if on_disk:
        backlog.keep(tmp_path)
    backlog.withdraw(embedding, square(1))
    backlog.restore(embedding, square(3))
    assert len(backlog) == 1
    backlog.restore(embedding, square(1))
    assert len(list(tmp_path.glob("waiting-*"))) == 2 * on_disk
    assert sorted(mask.sum() for mask in taken(backlog)) == sorted(
        square(number).sum() for number in (1, 2)
    )
    assert not list(tmp_path.iterdir())


def test_of_two_versions_that_are_taken_back_the_earlier_one_waits_again(
    model: FakeModel, embedding: ImageEmbedding
) -> None:
    backlog, first = Backlog(), np.zeros((40, 56), np.bool_)
    first[5:15, 5:15] = True
    second = first.copy()
    second[5, 5] = False
    for mask in (first, second):
        backlog.add(0, ended(model, embedding, mask), mask, False, None, True)
    assert len(backlog) == 1
    backlog.withdraw(embedding, second)
    assert np.array_equal(list(taken(backlog)), [first])
    for mask in (first, second):
        backlog.add(0, ended(model, embedding, mask), mask, False, None, True)
    backlog.withdraw(embedding, first)  # the second version stands for both
    assert np.array_equal(list(taken(backlog)), [second])


def test_what_an_earlier_run_left_is_neither_replaced_nor_learned_twice(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    for run in range(2):
        backlog = Backlog()
        for number in (2 * run, 2 * run + 1):
            mask = square(number)
            backlog.add(0, ended(model, embedding, mask), mask, False, None, True)
            backlog.keep(tmp_path)
    assert len(list(tmp_path.glob("waiting-*"))) == 4
    backlog.load(tmp_path)  # the first run's, after two objects of its own
    masks = sorted(mask.tobytes() for mask in taken(backlog))
    assert masks == sorted(square(number).tobytes() for number in range(4))
    assert not list(tmp_path.iterdir())


def test_what_was_taken_back_does_not_pile_up(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    backlog = Backlog()
    masks = [np.roll(square(1), shift, axis=1) for shift in range(40)]
    for mask in masks:
        backlog.add(0, ended(model, embedding, mask), mask, False, None, True)
        backlog.keep(tmp_path)
        backlog.withdraw(embedding, mask)
    assert len(list(tmp_path.glob("withdrawn-*"))) == 32
    loaded = Backlog()
    loaded.load(tmp_path)
    assert len(loaded) == 0
    assert not list(tmp_path.iterdir())


def test_an_object_accepted_anew_keeps_the_file_of_its_image(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    backlog = Backlog()
    for _ in range(2):
        backlog.add(0, ended(model, embedding, square(1)), square(1), False, None, True)
        backlog.keep(tmp_path)
    entry = backlog.take()
    assert entry is not None
    opened, _ = backlog.opened(entry, model, ())
    assert opened.embedding.original_size == embedding.original_size
    backlog.done(entry)
    assert not list(tmp_path.iterdir())


def test_bytes_are_bounded_too(model: FakeModel, embedding: ImageEmbedding) -> None:
    backlog = Backlog(limit=100, most_bytes=embedding.nbytes + 20 * (40 * 7 + 40 * 56))
    fill(backlog, model, embedding, [1] * 60)
    assert len(backlog) == 20
    assert backlog.nbytes <= embedding.nbytes + 20 * (40 * 7 + 40 * 56)


@pytest.mark.parametrize("painted", [False, True])
def test_they_come_back_from_the_disk_as_they_were(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path, painted: bool
) -> None:
    backlog, mask = Backlog(), square(3)
    area = square(5) if painted else None
    done = replace(ended(model, embedding, mask, 2), mask=square(4), painted=area)
    backlog.add(7, done, mask, True, None, False)
    backlog.keep(tmp_path)
    assert backlog.nbytes < 2 * embedding.nbytes
    loaded = Backlog()
    loaded.load(tmp_path)
    entry = loaded.take()
    assert entry is not None
    assert (entry.domain, entry.several, entry.is_accepted) == (7, True, False)
    assert np.array_equal(entry.mask, mask)
    found, change = loaded.opened(entry, model, ())
    assert change is None
    assert [p.points for p in found.prompts] == [p.points for p in done.prompts]
    assert (found.clicks, found.box) == (done.clicks, None)
    assert np.array_equal(found.mask, square(4))
    np.testing.assert_array_equal(found.painted, area)
    assert all(
        np.array_equal(found.embedding.features[name], tensor)
        for name, tensor in embedding.features.items()
    )
    loaded.done(entry)
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_cleared_away(
    model: FakeModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    backlog = Backlog()
    fill(backlog, model, embedding, [1, 1, 1])
    backlog.keep(tmp_path)
    first, second, third = sorted(tmp_path.glob("waiting-*"))
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    (tmp_path / "view-none.safetensors").write_bytes(b"x")
    loaded = Backlog()
    loaded.load(tmp_path)
    assert len(loaded) == 1
    assert sorted(p.name.partition("-")[0] for p in tmp_path.iterdir()) == ["view", "waiting"]
    assert third.exists()


# -- with an adapter --------------------------------------------------------------------------


SETTINGS = quick(guard={"evidence": 0})  # whatever is learned counts as learned


def begin(place: Path | None) -> tuple[Session, OnlineAdapter]:
    adapter = OnlineAdapter(settings=SETTINGS, background=True, autosave=place)
    session = Session(FakeModel(), [adapter], options=SINGLE)
    session.open(blobs())
    return session, adapter


def test_from_the_disk_it_learns_the_same(tmp_path: Path) -> None:
    learned = []
    for place in (None, tmp_path / "a"):
        session, adapter = begin(place)
        for x, y in PLACES:
            session.click(x, y)
            assert adapter.wait(30)
            session.accept()
            assert adapter.wait(30)
        learned.append(weights(adapter, session.model))
        adapter.close()
    assert learned[0] == learned[1]
    assert list((tmp_path / "a" / "waiting").iterdir()) == []


def test_what_a_kill_left_is_learned_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a"
    session, adapter = begin(place)
    held = threading.Event()

    def never(*arguments: Any) -> Iterator[None]:
        while not held.wait(0.002):
            yield

    with monkeypatch.context() as patch:
        patch.setattr(adapter._learner, "learn", never)
        for x, y in PLACES:
            session.click(x, y)
            session.accept()
        until(lambda: len(list((place / "waiting").glob("waiting-*"))) == 3)
        adapter.close()  # long work is given up: as good as killed
    assert adapter.objects_learned == 0
    again = OnlineAdapter(settings=SETTINGS, background=True, autosave=place)
    again.bind(session.model)
    again.resume(session.model, (again,))
    assert again.wait(60)
    assert again.objects_learned == 3
    assert list((place / "waiting").iterdir()) == []
    again.close()


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ("", [0, 1, 2]),
        ("undo", [0, 1]),
        ("undo redo", [0, 1, 2]),
        ("undo redo undo", [0, 1]),
        ("delete", [0, 1]),
        ("delete undo", [0, 1, 2]),
        ("delete undo redo", [0, 1]),
        ("paint", [0, 1, 2]),
        ("paint undo undo undo undo", [0, 1]),
        ("paint undo redo", [0, 1, 2]),
        ("smooth undo redo", [0, 1, 2]),
        ("edit", [0, 1, 3]),
        ("edit undo", [0, 1, 2]),
        ("edit undo redo", [0, 1, 3]),
        ("edit delete", [0, 1]),
        ("again", [0, 1, 2]),
        ("again undo", [0, 1, 2]),
        ("again delete", [0, 1, 2]),
    ],
)
def test_what_waits_follows_undo_redo_and_deletion(
    monkeypatch: pytest.MonkeyPatch, steps: str, kept: list[int]
) -> None:
    session, adapter = begin(None)
    began, held = threading.Event(), threading.Event()
    learned: list[NDArray[np.bool_]] = []

    def later(entry: Waiting, *arguments: Any) -> Iterator[None]:
        began.set()
        while not held.wait(0.002):
            yield
        yield  # events come first, as between the steps of learning
        learned.append(entry.mask)

    monkeypatch.setattr(adapter._learner, "learn", later)

    def accept(place: tuple[float, float]) -> None:
        session.click(*place)
        masks.append(session.accept())

    def edit(click: bool) -> None:
        session.edit(list(session.objects.values())[-1])
        if click:
            session.click(40.5, 5.5)
        session.paint(square(5) | square(6) | square(7) | square(8))
        masks.append(session.accept())

    masks: list[NDArray[np.bool_]] = []
    for place in PLACES:
        accept(place)
        assert began.wait(20)  # the first object is being learned, the others wait
    actions: dict[str, Callable[[], object]] = {
        "undo": session.undo,
        "redo": session.redo,
        "delete": lambda: session.delete([list(session.objects.values())[-1]]),
        "edit": lambda: edit(click=True),
        "paint": lambda: edit(click=False),
        "smooth": lambda: session.smooth([list(session.objects.values())[-1]]),
        "again": lambda: accept(PLACES[-1]),
    }
    for step in steps.split():
        actions[step]()
    held.set()
    assert adapter.wait(30)
    expected = {masks[number].tobytes() for number in kept}
    assert {mask.tobytes() for mask in learned} == expected
    assert len(learned) == len(kept)
    adapter.close()


def test_after_the_end_nothing_is_left_of_what_was_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, adapter = begin(tmp_path / "a")
    monkeypatch.setattr(adapter._learner.backlog, "take", lambda: None)  # all objects wait
    for place in PLACES:
        session.click(*place)
        session.accept()
    session.delete(list(session.objects.values()))
    assert adapter.wait(30)
    assert len(list((tmp_path / "a" / "waiting").glob("withdrawn-*"))) == 3
    adapter.close()
    assert not list((tmp_path / "a" / "waiting").iterdir())


def test_an_object_that_waits_and_is_undone_is_not_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, adapter = begin(tmp_path / "a")
    began, held, learn = threading.Event(), threading.Event(), adapter._learner.learn

    def later(*arguments: Any) -> Iterator[None]:
        began.set()
        while not held.wait(0.002):
            yield
        yield from learn(*arguments)

    monkeypatch.setattr(adapter._learner, "learn", later)
    for x, y in PLACES:
        session.click(x, y)
        session.accept()
        assert began.wait(20)  # the first object is being learned, the others wait
    until(lambda: len(list((tmp_path / "a" / "waiting").glob("waiting-*"))) == 3)
    session.undo()
    assert len(session.objects) == 2
    until(lambda: len(list((tmp_path / "a" / "waiting").glob("waiting-*"))) == 2)
    held.set()
    assert adapter.wait(30)
    assert adapter.objects_learned == 2
    while session.objects:
        session.undo()
    assert adapter.wait(30)
    assert adapter.objects_learned == 2
    adapter.close()


def test_an_object_that_cannot_be_learned_is_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, adapter = begin(tmp_path / "a")

    def broken(*arguments: Any) -> Iterator[None]:
        raise RuntimeError("no")
        yield

    session.click(*PLACES[0])
    with monkeypatch.context() as patch:
        patch.setattr(adapter._learner, "learn", broken)
        session.accept()
        with pytest.warns(RuntimeWarning, match="learning failed"):
            adapter.wait(30)
    assert list((tmp_path / "a" / "waiting").iterdir()) == []
    session.click(*PLACES[1])
    session.accept()
    assert adapter.wait(30)
    assert adapter.objects_learned == 1
    adapter.close()


def test_a_thousand_accepts_leave_a_bounded_backlog(model: FakeModel, tmp_path: Path) -> None:
    backlog = Backlog(limit=8)
    most = 0
    for number in range(1000):
        picture = model.encode(np.roll(blobs(), number, axis=1)) if number % 10 == 0 else picture  # noqa: F821
        mask = square(number)
        backlog.add(0, ended(model, picture, mask), mask, False, None, True)
        if number % 100 == 99:
            backlog.keep(tmp_path)
        most = max(most, backlog.nbytes)
    assert (len(backlog), backlog.dropped) == (8, 992)
    assert most <= 10 * (picture.nbytes + 40 * 7 + 40 * 56)
    assert len(list(tmp_path.iterdir())) <= 8 + 2


def until(wanted: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
