from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeModel
from samadapt.adapters.online import OnlineAdapter
from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack
from samadapt.data.tracks import Tracks
from samadapt.errors import DataError, ImageError
from samadapt.prompts import Prompt
from samadapt.tracking.carrying import Carried, CarryOptions, CarryStep
from samadapt.tracking.memory import MemoryPropagator
from samadapt.tracking.prompting import PromptPropagator, carried_prompt, fresh_prompt
from samadapt.tracking.propagation import fill, propagate

SIZE = (20, 40)
Mask = NDArray[np.bool_]


def bar(x: int, width: int = 6) -> Mask:
    mask = np.zeros(SIZE, np.bool_)
    mask[5:12, x : x + width] = True
    return mask


class Shifter:
    """Carries masks by one pixel to the right per slice; doubts objects at `stop`."""

    def __init__(self, stop: int = -1, bad: Sequence[int] = ()) -> None:
        self.stop, self.bad = stop, bad
        self.calls: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []

    def carry(
        self, stack: Stack, start: int, masks: Mapping[int, Mask], to: Sequence[int]
    ) -> Iterator[CarryStep]:
        self.calls.append((start, tuple(masks), tuple(to)))
        before, now = start, dict(masks)
        for index in to:
            if index in self.bad:
                yield CarryStep(index, {}, f"slice {index} is broken")
                continue
            moved = {k: np.roll(m, index - before, axis=1) for k, m in now.items()}
            doubt = "drifted" if index == self.stop else ""
            yield CarryStep(index, {k: Carried(m, m, 0.9, doubt) for k, m in moved.items()})
            before, now = index, {} if doubt else moved


@pytest.fixture
def stack() -> Stack:
    return Stack.from_array(np.zeros((8, *SIZE), np.uint8))


@pytest.fixture
def tracks() -> Tracks:
    return Tracks(SIZE, 8).add({2: bar(4)}, "cell").add({2: bar(20)})


def test_objects_are_carried_both_ways_and_keep_their_id(stack: Stack, tracks: Tracks) -> None:
    ahead = propagate(Shifter(), stack, tracks, 2)
    both = propagate(Shifter(), stack, ahead.tracks, 2, 0)
    assert [(t.id, t.slices, t.label) for t in both.tracks] == [
        (1, tuple(range(8)), "cell"),
        (2, tuple(range(8)), None),
    ]
    np.testing.assert_array_equal(both.tracks[1].masks[7].mask(), bar(9))
    np.testing.assert_array_equal(both.tracks[2].masks[0].mask(), bar(18))


def test_a_doubted_object_stops_and_is_reported(stack: Stack, tracks: Tracks) -> None:
    seen: list[tuple[int, int]] = []
    found = propagate(
        Shifter(stop=5), stack, tracks, 2, only=[2], progress=lambda *at: seen.append(at)
    )
    assert [t.slices for t in found.tracks] == [(2,), (2, 3, 4)]
    (stop,) = found.stops
    assert str(stop) == "object 2, slice 5: drifted"
    assert stop.mask == Rle.from_mask(bar(23))
    assert seen[:2] == [(1, 5), (2, 5)]


def test_own_masks_are_never_replaced_and_carried_on(stack: Stack, tracks: Tracks) -> None:
    corrected = tracks.put(1, {5: bar(30)})
    carrier = Shifter()
    found = propagate(carrier, stack, corrected, 2, only=[1])
    assert found.tracks[1].masks[5] == Rle.from_mask(bar(30))
    np.testing.assert_array_equal(found.tracks[1].masks[6].mask(), bar(31))
    assert [call[0] for call in carrier.calls] == [2, 5]
    drifted = propagate(Shifter(stop=5), stack, corrected, 2, only=[1])
    assert drifted.stops == ()


def test_a_slice_that_cannot_be_read_is_passed_over(stack: Stack, tracks: Tracks) -> None:
    found = propagate(Shifter(bad=[4]), stack, tracks, 2)
    assert found.problems == ("slice 4 is broken",)
    assert found.tracks[1].slices == (2, 3, 5, 6, 7)


def test_filling_blends_both_sides(stack: Stack) -> None:
    """Carried by the right step from one side and the other, the blend is what both say."""
    keys = Tracks(SIZE, 8).add({1: bar(4), 5: bar(8)})
    found = fill(Shifter(), stack, keys, 1, 5)
    assert found.stops == ()
    for index in range(1, 6):
        np.testing.assert_array_equal(found.tracks[1].masks[index].mask(), bar(3 + index))


def test_filling_reports_where_the_sides_disagree(stack: Stack) -> None:
    keys = Tracks(SIZE, 8).add({1: bar(4), 5: bar(25)})
    found = fill(Shifter(), stack, keys, 1, 5)
    assert [stop.index for stop in found.stops] == [2, 3, 4]
    np.testing.assert_array_equal(found.tracks[1].masks[2].mask(), bar(5))  # from the nearer side
    np.testing.assert_array_equal(found.tracks[1].masks[4].mask(), bar(24))
    stuck = fill(Shifter(stop=3), stack, Tracks(SIZE, 8).add({1: bar(4), 5: bar(8)}), 1, 5)
    assert [(s.index, "key masks" in s.why) for s in stuck.stops] == [(3, True)]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s, t: propagate(Shifter(), s, t, 0), "no object has a mask in slice 0"),
        (lambda s, t: propagate(Shifter(), s, t, 2, 8), "no slice 8"),
        (lambda s, t: propagate(Shifter(), s, t, 2, only=[7]), "no track 7"),
        (lambda s, t: propagate(Shifter(), s, Tracks(SIZE, 3), 0), "the tracks are for 3 slices"),
        (lambda s, t: fill(Shifter(), s, t, 2, 5), "both slices 2 and 5"),
        (lambda s, t: fill(Shifter(), s, t, 5, 2), "in order"),
        (lambda s, t: CarryOptions(confidence=2), "confidence 2"),
        (lambda s, t: CarryOptions(growth=0.5), "growth"),
    ],
)
def test_calls_that_make_no_sense(stack: Stack, tracks: Tracks, call, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=text):
        call(stack, tracks)


# -- with a model ---------------------------------------------------------------------------


def scene(places: Iterable[int]) -> Stack:
    """A red disc of radius 9 on grey."""
    rows, columns = np.mgrid[:40, :64]
    frames = []
    for x in places:
        image = np.full((40, 64, 3), 110, np.uint8)
        image[(rows - 20) ** 2 + (columns - x) ** 2 < 81] = (220, 40, 40)
        frames.append(image)
    return Stack.from_array(np.stack(frames))


def disc(x: int) -> Mask:
    rows, columns = np.mgrid[:40, :64]
    return np.asarray((rows - 20) ** 2 + (columns - x) ** 2 < 81)


def test_a_model_is_asked_with_the_moved_mask_and_jumps_are_doubted() -> None:
    stack = scene([14, 16, 18, 50])
    options = CarryOptions(agreement=0.3, confidence=0.1, growth=4)
    tracks = Tracks(stack.size, 4).add({0: disc(14)})
    found = propagate(FakeModel(), stack, tracks, 0, options=options)
    assert found.tracks[1].slices[:3] == (0, 1, 2)
    strict = CarryOptions(agreement=1.0)
    stopped = propagate(FakeModel(), stack, tracks, 0, options=strict)
    assert stopped.tracks[1].slices == (0,)
    assert "IoU" in stopped.stops[0].why


def test_prompts_of_a_moved_mask() -> None:
    carried, fresh = carried_prompt(bar(10)), fresh_prompt(bar(10))
    (point,) = carried.points
    assert bar(10)[int(point[1]), int(point[0])]
    np.testing.assert_array_equal(carried.mask, bar(10))
    assert fresh.mask is None
    assert fresh.box.as_tuple() == (10, 5, 16, 12)  # type: ignore[union-attr]


def test_what_is_accepted_is_learned_for_the_next_slice() -> None:
    stack, adapter = scene([14, 16]), OnlineAdapter(seed=0)
    model = FakeModel()
    adapter.bind(model)
    answer = model.predict(model.encode(stack[0]), Prompt([(14.5, 20.5)])).masks[0]
    tracks = Tracks(stack.size, 2).add({0: answer})
    propagate(model, stack, tracks, 0, adapters=[adapter])
    assert adapter.report().objects == 0
    propagate(model, stack, tracks, 0, adapters=[adapter], learn=True)
    assert adapter.report().objects == 1


def test_slices_are_encoded_once_each() -> None:
    model, stack = FakeModel(), scene([14, 15, 16])
    list(PromptPropagator(model).carry(stack, 0, {1: disc(14), 2: disc(14)}, [1, 2]))
    assert model.encoded == 3


# -- with a memory --------------------------------------------------------------------------


class Repeater:
    """A memory that answers with what it was given."""

    name = "repeater"

    def follow(
        self,
        first: NDArray[np.uint8],
        masks: Mapping[int, Mask],
        frames: Iterable[NDArray[np.uint8]],
    ) -> Iterator[Mapping[int, Mask]]:
        for number, _ in enumerate(frames, 1):
            yield {k: m if number < 3 else np.zeros_like(m) for k, m in masks.items()}


def test_a_memory_carries_behind_the_same_interface(
    stack: Stack, tracks: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Stack.__getitem__

    def broken(self: Stack, index: int) -> NDArray[np.uint8]:
        if index == 4:
            raise ImageError("slice 4 is broken")
        return whole(self, index)

    monkeypatch.setattr(Stack, "__getitem__", broken)
    found = propagate(Repeater(), stack, tracks, 2, only=[1])
    assert found.tracks[1].slices == (2, 3, 5)
    assert [(s.index, s.why) for s in found.stops] == [(6, "the object is gone")]
    assert found.problems == ("slice 4 is broken",)
    assert isinstance(MemoryPropagator(Repeater()).memory, Repeater)
    with pytest.raises(DataError, match="adapters act on prompts"):
        propagate(Repeater(), stack, tracks, 2, adapters=[OnlineAdapter()])
