from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from test_online import prove, quick
from test_online_learning import SINGLE, weights

from fakes import FakeModel, blobs, state_hash
from samadapt.adapters.base import Adapter, Interaction
from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.online.depths import LateEvidence, depth_of, late_prompts
from samadapt.adapters.online.settings import GuardSettings
from samadapt.adapters.online.state import book_to_tensors, tensors_to_book
from samadapt.errors import AdapterError
from samadapt.metrics import iou as overlap
from samadapt.prompts import Prompt
from samadapt.session.session import Session

CLICKS = [(14.5, 12.5, True), (38.5, 29.5, False), (12.5, 10.5, True), (30.5, 3.5, False)]


class Spy(Adapter):
    """Remembers how objects ended."""

    method = "spy"

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[Interaction] = []

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        self.ends.append(interaction)


def start(depths: bool = True, **guard: object) -> tuple[Session, OnlineAdapter, Spy]:
    settings = quick(click={"loss": "none"}, guard={"depths": depths, **guard})
    adapter, spy = OnlineAdapter(settings=settings), Spy()
    session = Session(FakeModel(), [adapter, spy], options=SINGLE)
    session.open(blobs())
    return session, adapter, spy


def annotate(session: Session, clicks: int, accept: bool = True) -> None:
    for x, y, positive in CLICKS[:clicks]:
        session.click(x, y, positive)
    if accept:
        session.accept()


def believe(adapter: OnlineAdapter, *gains: tuple[float, ...]) -> None:
    """Give the domain in use this evidence at later prompts, and begin an object."""
    learner = adapter._learner
    learner.book = learner.book.updated(replace(learner.book.active, late=LateEvidence(gains)))
    learner._next_object()
    adapter._publish()


def answers(session: Session, adapter: OnlineAdapter) -> list[bool]:
    """Whether what was learned answers the first, second, ... prompt of an object."""
    base, found = session.model.decoder, []
    for x, y, positive in [*CLICKS, *CLICKS, *CLICKS][:9]:
        found.append(adapter.mask_decoder(base) is not base)
        session.click(x, y, positive)
    session.skip()
    return found


def test_depths_without_evidence_are_refused() -> None:
    with pytest.raises(AdapterError, match=r"guard\.depths=True without evidence.*set guard\.evid"):
        GuardSettings(evidence=0, depths=True)


def test_depths_begin_at_the_second_fourth_and_eighth_prompt() -> None:
    assert [depth_of(n) for n in range(1, 11)] == [0, 1, 1, 2, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {}),
        (2, {}),
        (3, {1: {2}}),
        (4, {1: {2, 3}}),
        (5, {1: {2, 3}, 2: {4}}),
        (10, {1: {2, 3}, 2: {4, 5, 6, 7}, 3: {8, 9}}),
    ],
)
def test_one_prompt_of_each_depth_is_judged_and_never_the_last(
    count: int, expected: dict[int, set[int]]
) -> None:
    prompts = [Prompt([(float(n), 0.5)]) for n in range(1, count + 1)]
    seen: dict[int, set[int]] = {}
    for seed in range(60):
        drawn = list(late_prompts(prompts, np.random.default_rng(seed)))
        assert [depth for depth, _ in drawn] == sorted(expected)
        for depth, prompt in drawn:
            seen.setdefault(depth, set()).add(int(prompt.points[0][0]))
    assert seen == expected


def test_a_depth_is_trusted_when_it_has_won_on_two_objects() -> None:
    guard = GuardSettings(evidence=3)
    late = LateEvidence()
    assert not any(late.trusts(depth, guard) for depth in (1, 2, 3))
    late = late.with_gain(2, 0.2, guard)
    assert not late.trusts(2, guard)
    late = late.with_gain(2, 0.1, guard)
    assert [late.trusts(depth, guard) for depth in (1, 2, 3)] == [False, True, False]
    for gain in (-0.2, -0.2, -0.1):
        late = late.with_gain(2, gain, guard)
    assert late.gains == ((), (-0.2, -0.2, -0.1), ())
    assert not late.trusts(2, guard)
    for gain in (0.05, 0.04, 0.03):
        late = late.with_gain(2, gain, guard)
    assert late.trusts(2, guard)


def test_later_prompts_are_answered_by_the_frozen_decoder_until_there_is_evidence() -> None:
    session, adapter, _ = start()
    annotate(session, 1)
    assert answers(session, adapter) == 9 * [False]
    prove(adapter)
    assert answers(session, adapter) == [True] + 8 * [False]
    believe(adapter, (0.1, 0.1), (-0.1, -0.1), (0.2, 0.3))
    assert answers(session, adapter) == [True, True, True, *4 * [False], True, True]
    plain, other, _ = start(depths=False)
    annotate(plain, 1)
    assert answers(plain, other) == 9 * [True]


def test_the_first_prompt_may_be_frozen_while_later_ones_are_not() -> None:
    session, adapter, _ = start()
    annotate(session, 1)
    learner = adapter._learner
    domain = learner.book.active
    lost = replace(domain.evidence, trusted=False)
    learner.book = learner.book.updated(replace(domain, evidence=lost))
    believe(adapter, (), (0.1, 0.1), ())
    assert adapter.is_trusted
    assert answers(session, adapter) == [*3 * [False], *4 * [True], False, False]
    believe(adapter, (), (), ())
    assert not adapter.is_trusted
    assert answers(session, adapter) == 9 * [False]


def test_without_depths_clicks_teach_even_where_the_rest_is_not_trusted() -> None:
    adapter = OnlineAdapter(settings=quick())
    session = Session(FakeModel(), [adapter], options=SINGLE)
    session.open(blobs())
    learner = adapter._learner
    domain = learner.book.active
    lost = replace(domain, evidence=replace(domain.evidence, trusted=False))
    learner.book = learner.book.updated(lost)
    believe(adapter, (), (), ())
    base = session.model.decoder
    assert adapter.mask_decoder(base) is base
    session.click(*CLICKS[0])
    assert adapter.mask_decoder(base) is not base


def test_clicks_teach_the_frozen_decoder_at_depths_that_are_not_trusted() -> None:
    click = {"loss": "sparse", "steps": 1, "rate": 0.02}

    def after_a_click(taught: bool) -> tuple[OnlineAdapter, Session]:
        adapter = OnlineAdapter(settings=quick(click=click, guard={"depths": True}))
        session = Session(FakeModel(), [adapter], options=SINGLE)
        session.open(blobs())
        if taught:
            annotate(session, 2)
            prove(adapter)
            believe(adapter, (-0.1, -0.1), (), ())
        session.click(*CLICKS[0])
        return adapter, session

    fresh, session = after_a_click(taught=False)
    taught, other = after_a_click(taught=True)
    assert taught._learner.book.active.delta is not None
    base = state_hash(session.model.decoder)
    first = weights(fresh, session.model)
    assert first != base
    assert weights(taught, other.model) != base
    other.undo()
    assert weights(taught, other.model) != first, "the first prompt uses what objects taught"


def test_undo_returns_to_the_decoder_of_that_prompt() -> None:
    session, adapter, _ = start()
    base = session.model.decoder
    annotate(session, 1)
    learned = weights(adapter, session.model)
    annotate(session, 2, accept=False)
    assert adapter.mask_decoder(base) is base
    session.undo()
    assert adapter.mask_decoder(base) is base
    session.undo()
    assert weights(adapter, session.model) == learned
    session.click(*CLICKS[0])
    session.reset()
    assert weights(adapter, session.model) == learned


def test_both_decoders_are_asked_at_the_objects_own_prompts() -> None:
    session, adapter, spy = start()
    base = session.model.decoder
    annotate(session, 3)
    assert adapter._learner.book.active.late == LateEvidence()  # nothing to compare yet
    prove(adapter)
    learned = adapter.mask_decoder(base)
    assert state_hash(learned) != state_hash(base)
    annotate(session, 3)
    end = spy.ends[-1]

    def iou(number: int, *, frozen: bool) -> float:
        model = session.model
        model.decoder = base if frozen else learned
        found = model.predict(end.embedding, end.prompts[number - 1])
        model.decoder = base
        assert end.mask is not None
        return overlap(found.masks[0], end.mask)

    (late,), *others = adapter._learner.book.active.late.gains
    assert late == pytest.approx(iou(2, frozen=False) - iou(2, frozen=True), abs=1e-9)
    assert others == [(), ()]
    *_, first = adapter._learner.book.active.evidence.gains
    assert first == pytest.approx(iou(1, frozen=False) - iou(1, frozen=True), abs=1e-9)
    assert (first, late) != (0, 0)


def test_what_is_known_of_later_prompts_is_saved_and_older_states_still_load() -> None:
    session, adapter, _ = start()
    annotate(session, 1)
    believe(adapter, (0.1, -0.2), (), (0.25,))
    state = dict(adapter.state_dict())
    book = tensors_to_book(state, adapter._layout)
    assert book.active.late == LateEvidence(((0.1, -0.2), (), (0.25,)))
    assert book_to_tensors(book, adapter._layout).keys() == state.keys()
    older = {name: tensor for name, tensor in state.items() if ".late." not in name}
    assert tensors_to_book(older, adapter._layout).active.late == LateEvidence()
