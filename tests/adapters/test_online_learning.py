from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_online import quick

from fakes import FakeModel, OracleModel, blobs, state_hash
from samadapt.adapters.base import Interaction
from samadapt.adapters.online import OnlineAdapter, OnlineSettings, clicked_object
from samadapt.adapters.online.clicked_object import ClickedObject
from samadapt.adapters.online.decoder_trainer import Interrupted
from samadapt.metrics import iou as overlap
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session

SINGLE = SessionOptions(multimask=False)


def start(settings: OnlineSettings, seed: int = 0) -> tuple[Session, OnlineAdapter]:
    adapter = OnlineAdapter(settings=settings, seed=seed)
    session = Session(FakeModel(), [adapter], options=SINGLE)
    session.open(blobs())
    return session, adapter


def weights(adapter: OnlineAdapter, model: SegmentationModel) -> str:
    return state_hash(adapter.mask_decoder(model.decoder))


def annotate(session: Session, times: int = 1) -> None:
    for _ in range(times):
        session.click(14.5, 12.5)
        session.click(38.5, 29.5, positive=False)
        session.accept()


# -- during an object -----------------------------------------------------------------------


def test_a_click_is_answered_better_after_it_was_learned() -> None:
    session, adapter = start(quick(click={"steps": 5}))
    model, point = session.model, Prompt([(31.5, 33.5)])
    before = model.predict(session.embedding, point).logits.mean()
    session.click(31.5, 33.5)
    after = model.predict(session.embedding, point, adapters=[adapter]).logits
    assert after.mean() > before


def test_after_an_object_the_weights_are_those_from_before_it() -> None:
    settings = quick(accept={"steps": []})
    for end in ("accept", "skip", "open"):
        session, adapter = start(settings)
        base = state_hash(session.model.decoder)
        session.click(14.5, 12.5)
        session.click(38.5, 29.5, positive=False)
        assert weights(adapter, session.model) != base
        if end == "open":
            session.open(blobs())
        else:
            getattr(session, end)()
        assert weights(adapter, session.model) == base


def test_the_reset_before_the_accepted_mask_is_a_true_one() -> None:
    """What is learned from a mask does not depend on what its clicks taught."""
    found = []
    for rate in (1e-4, 0.5):
        session, adapter = start(
            quick(click={"rate": rate, "steps": 1}, accept={"steps": ["new.first"]})
        )
        embedding, mask = session.embedding, np.zeros((40, 56), np.bool_)
        mask[4:20, 6:22] = True
        prompt = Prompt([(14.5, 12.5)])
        interaction = Interaction(
            session.model, (adapter,), embedding, (prompt,), prompt.clicks, mask=mask, step=1
        )
        adapter.on_click(interaction)
        adapter.on_accept(interaction, mask)
        found.append(weights(adapter, session.model))
    assert found[0] == found[1] != state_hash(session.model.decoder)


def test_what_clicks_taught_is_kept_when_asked_for() -> None:
    session, adapter = start(quick(click={"keep": True}, accept={"steps": []}))
    session.click(14.5, 12.5)
    clicked = adapter._published.now
    session.accept()
    assert clicked is not None
    assert adapter._published.now is not None
    torch.testing.assert_close(adapter._published.now, clicked)


def test_undo_finds_the_weights_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (clicked_object.SNAPSHOTS, 1):  # remembered, and learned again
        monkeypatch.setattr(clicked_object, "SNAPSHOTS", kept)
        session, adapter = start(quick())
        seen = [weights(adapter, session.model)]
        for x, y, positive in ((14.5, 12.5, True), (38.5, 29.5, False), (3.5, 3.5, False)):
            session.click(x, y, positive)
            seen.append(weights(adapter, session.model))
        assert len(set(seen)) == 4
        for expected in reversed(seen[:-1]):
            session.undo()
            assert weights(adapter, session.model) == expected
        for expected in seen[1:]:
            session.redo()
            assert weights(adapter, session.model) == expected
        session.reset()
        assert weights(adapter, session.model) == seen[0]


def test_a_box_alone_is_no_click() -> None:
    session, adapter = start(quick())
    session.box(5, 3, 24, 22)
    assert weights(adapter, session.model) == state_hash(session.model.decoder)


def test_distilling_units_learn_apart_and_are_merged() -> None:
    click = {"loss": "distill", "units": True, "rate": 0.02, "merge": 0.5}
    session, adapter = start(quick(click=click))
    session.click(14.5, 12.5)
    first = adapter._published.now
    session.click(40.5, 7.5)  # another colour far away: a mask of its own
    units = adapter._learner._object._units
    assert first is not None
    assert adapter._published.now is not None
    assert units is not None
    assert [len(unit.clicks) for unit in units.members] == [1, 1]
    expected = 0.5 * (units.members[0].change + units.members[1].change)
    torch.testing.assert_close(adapter._published.now, expected)
    torch.testing.assert_close(units.members[0].change, first)
    session.click(13.5, 11.5)
    units = adapter._learner._object._units
    assert units is not None
    assert [len(unit.clicks) for unit in units.members] == [2, 1]


def test_the_prediction_with_the_new_click_teaches_one_that_knows_less() -> None:
    """With distillation alone, the student's answer moves towards the teacher's."""
    found = {}
    for weight in (0.0, 30.0):
        click = {"loss": "distill", "distillation": weight, "rate": 0.003}
        session, adapter = start(quick(click=click))
        session.click(14.5, 12.5)
        session.click(38.5, 29.5)
        asked, teacher = Prompt([(14.5, 12.5)]), session.logits
        answer = session.model.predict(session.embedding, asked, adapters=[adapter]).logits[0]
        found[weight] = float(np.abs(answer - teacher).mean())
    assert found[30.0] < found[0.0]


def test_answers_in_which_no_parameter_has_a_part_teach_nothing_and_break_nothing() -> None:
    labels = np.zeros((40, 56), np.int_)
    labels[4:20, 6:22] = 1
    adapter = OnlineAdapter(settings=quick())
    session = Session(OracleModel(labels), [adapter], options=SINGLE)
    session.open(blobs())
    session.click(14.5, 12.5)
    session.accept()
    assert adapter.objects_learned == 1


def test_clicks_teach_up_to_the_last_prompt_that_they_may_answer() -> None:
    session, adapter = start(quick(click={"last": 3}))
    base = session.model.decoder
    answered = []
    for place in ((14.5, 12.5), (38.5, 29.5), (31.5, 33.5), (20.5, 20.5)):
        answered.append(adapter.mask_decoder(base) is not base)
        session.click(*place)
    assert answered == [False, True, True, False]
    session.undo()
    session.undo()
    assert adapter.mask_decoder(base) is not base


def test_objects_that_are_long_not_finished_are_learned_from_clicks_again() -> None:
    places = (14.5, 12.5), (38.5, 29.5), (31.5, 33.5), (20.5, 20.5), (8.5, 8.5)
    limited, adapter = start(quick(click={"last": 2, "again": 4}))
    base = limited.model.decoder
    answered = []
    for place in places:
        answered.append(adapter.mask_decoder(base) is not base)
        limited.click(*place)
    assert answered == [False, True, False, True, True]
    # Begun anew: a step after the third, the fourth and the fifth click.
    assert adapter._learner._object.moments.steps == 3
    limited.undo()
    limited.undo()
    limited.undo()
    assert adapter.mask_decoder(base) is base


def test_learning_again_after_undo_is_kept_only_when_it_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clicked_object, "SNAPSHOTS", 1)
    session, adapter = start(quick())
    for place in ((14.5, 12.5), (38.5, 29.5), (31.5, 33.5), (20.5, 20.5)):
        session.click(*place)
    learner = adapter._learner
    interaction = session._interaction(session.state.object)
    assert interaction is not None
    back = replace(
        interaction, prompts=interaction.prompts[:3], clicks=interaction.clicks[:3], step=3
    )
    steps, trainer = [], learner.trainer(interaction)
    monkeypatch.setattr(learner, "trainer", lambda _: trainer)
    monkeypatch.setattr(trainer, "click_steps", interrupted_at(2, trainer.click_steps, steps))
    with pytest.raises(Interrupted):
        learner.undo(back)
    assert len(steps) == 2
    assert not learner._object.return_to(3)


def interrupted_at(number: int, action: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """The action, which raises `Interrupted` at its n-th call."""

    def run(*args: Any) -> Any:
        calls.append(number)
        if len(calls) == number:
            raise Interrupted
        return action(*args)

    return run


def test_an_interrupted_first_click_is_a_click_all_the_same() -> None:
    now = ClickedObject(None, is_frozen=False)
    now.go_on(is_frozen=True)  # the second prompt; the step on the first was interrupted
    now.rebase(torch.ones(2), is_frozen=False)
    assert now.now is None
    now.begin_again()
    now.rebase(torch.ones(2), is_frozen=False)
    assert torch.equal(now.now, torch.ones(2))  # type: ignore[arg-type]
    now.change = torch.ones(2)
    assert now.now is now.now, "decoders are kept by the identity of their weights"
    now.change = 2 * torch.ones(2)
    assert torch.equal(now.now, 3 * torch.ones(2))  # type: ignore[arg-type]


# -- accepted objects -----------------------------------------------------------------------


def test_accepted_objects_are_answered_better_at_the_first_click() -> None:
    model = FakeModel()
    adapter = OnlineAdapter(
        settings=quick(
            accept={"steps": ["new.first"] * 8, "rate": 0.02}, guard={"reject_outliers": False}
        )
    )
    good = interaction_of(adapter, model)
    disc = np.hypot(*np.ogrid[-12:28, -14:42]) < 9

    def answer() -> float:
        found = model.predict(good.embedding, good.prompts[0], adapters=[adapter])
        return overlap(found.masks[0], disc)

    before = answer()
    adapter.on_accept(good, disc)
    assert answer() > before


def test_another_mask_than_the_answer_is_learned_if_it_was_painted() -> None:
    adapter, model = OnlineAdapter(settings=quick()), FakeModel()
    done = interaction_of(adapter, model)
    spot = np.zeros(done.embedding.original_size, np.bool_)
    x, y = done.prompts[0].points[0]
    spot[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = True
    assert done.mask is not None
    assert overlap(done.mask, spot) < 0.5
    learned = []
    for painted in (spot, spot, None):  # what was painted does not excuse what was not
        adapter.on_accept(replace(done, painted=painted), spot)
        learned.append(adapter.objects_learned)
    assert learned == [1, 2, 2]


def test_candidates_are_taught_where_they_are_shown() -> None:
    found = []
    for multimask in (True, False):
        adapter = OnlineAdapter(
            settings=quick(accept={"steps": ["new.first"]}, guard={"evidence": 0})
        )
        model = FakeModel()
        session = Session(model, [adapter], options=SessionOptions(multimask=multimask))
        session.open(blobs())
        session.click(14.5, 12.5)
        session.accept()
        learned = adapter.mask_decoder(model.decoder).get_parameter("bias")
        found.append((learned != model.decoder.get_parameter("bias")).tolist())
    # One of the three candidates, or the single mask.
    assert found[0][0] is False
    assert sum(found[0]) >= 1
    assert found[1] == [True, False, False, False]


def test_an_object_that_was_given_up_teaches_when_asked_for() -> None:
    for least, teaches in ((2, True), (3, False)):
        session, adapter = start(quick(skip={"steps": ["new.all"], "least_clicks": least}))
        session.click(14.5, 12.5)
        session.click(16.5, 10.5)
        session.skip()
        assert (weights(adapter, session.model) != state_hash(session.model.decoder)) is teaches
        assert adapter.objects_learned == 0
    session, adapter = start(
        quick(skip={"steps": ["new.first"], "mask": 1.0, "least_clicks": 1, "replay": True})
    )
    session.click(14.5, 12.5)
    session.skip()
    assert len(adapter._learner.memory) == 1


def test_learning_is_the_same_for_the_same_seed_only() -> None:
    settings = quick(accept={"steps": ["new.any", "replay.any", "replay.any"]})
    found = []
    for seed in (0, 0, 1):
        session, adapter = start(settings, seed)
        annotate(session, 4)
        found.append(weights(adapter, session.model))
    assert found[0] == found[1] != found[2]


def test_two_projects_do_not_teach_each_other() -> None:
    model = FakeModel()
    sessions = [Session(model, [OnlineAdapter(settings=quick())]) for _ in range(2)]
    for session in sessions:
        session.open(blobs())
    before = state_hash(model.decoder)
    annotate(sessions[0])
    own, other = (s.adapters[0].mask_decoder(model.decoder) for s in sessions)
    assert state_hash(own) != before
    assert other is model.decoder
    assert state_hash(model.decoder) == before


def test_an_update_that_makes_its_own_object_worse_is_dropped() -> None:
    model = FakeModel()
    settings = quick(accept={"steps": ["new.first"] * 3, "rate": 5.0})
    adapter = OnlineAdapter(settings=settings)
    good = interaction_of(adapter, model)
    frozen = model.predict(good.embedding, good.prompts[0]).masks[0]
    adapter.on_accept(good, frozen)
    assert adapter.mask_decoder(model.decoder) is model.decoder
    assert adapter.objects_learned == 0


# -- things that go wrong ----------------------------------------------------------------------


def interaction_of(adapter: OnlineAdapter, model: FakeModel) -> Interaction:
    embedding: ImageEmbedding = model.encode(blobs())
    prompt = Prompt([(14.5, 12.5)])
    mask = np.zeros((40, 56), np.bool_)
    mask[4:20, 6:22] = True
    return Interaction(model, (adapter,), embedding, (prompt,), prompt.clicks, mask=mask, step=1)


def test_an_empty_mask_teaches_nothing() -> None:
    model, adapter = FakeModel(), OnlineAdapter(settings=quick())
    with pytest.warns(RuntimeWarning, match="an empty mask was accepted"):
        adapter.on_accept(interaction_of(adapter, model), np.zeros((40, 56), np.bool_))
    assert adapter.mask_decoder(model.decoder) is model.decoder


def test_a_loss_that_is_not_finite_is_undone_and_reported() -> None:
    model, adapter = FakeModel(), OnlineAdapter(settings=quick())
    good = interaction_of(adapter, model)
    adapter.on_accept(good, good.mask)  # type: ignore[arg-type]
    before = weights(adapter, model)
    features = {"image": good.embedding.image * float("nan")}
    poisoned = ImageEmbedding(
        features, good.embedding.geometry, model.identity, model.preprocessing
    )
    bad = Interaction(
        model, (adapter,), poisoned, good.prompts, good.clicks, mask=good.mask, step=1
    )
    with pytest.warns(RuntimeWarning, match="click gave numbers that are not finite"):
        adapter.on_click(bad)
    assert weights(adapter, model) == before
    with pytest.warns(RuntimeWarning, match="accepted object gave numbers that are not finite"):
        adapter.on_accept(bad, good.mask)  # type: ignore[arg-type]
    assert weights(adapter, model) == before
    adapter.on_accept(good, good.mask)  # type: ignore[arg-type]
    assert weights(adapter, model) != before


def test_a_mask_that_contradicts_its_clicks_teaches_nothing() -> None:
    model, adapter = FakeModel(), OnlineAdapter(settings=quick())
    good = interaction_of(adapter, model)
    wrong = np.zeros((40, 56), np.bool_)
    wrong[30:38, 40:50] = True
    adapter.on_accept(good, wrong)
    assert adapter.mask_decoder(model.decoder) is model.decoder
    assert adapter.objects_learned == 0


def test_a_mask_unlike_the_answer_teaches_nothing_where_that_is_unusual() -> None:
    model, adapter = FakeModel(), OnlineAdapter(settings=quick())
    good = interaction_of(adapter, model)
    grown = np.zeros((40, 56), np.bool_)
    grown[0:34, 0:40] = True
    for _ in range(3):
        adapter.on_accept(good, good.mask)  # type: ignore[arg-type]
    before = weights(adapter, model)
    adapter.on_accept(good, grown)
    assert weights(adapter, model) == before
    assert adapter.objects_learned == 3
    for _ in range(5):  # a person who always draws by hand is no exception any more
        adapter.on_accept(good, grown)
    assert adapter.objects_learned > 3


def test_what_does_harm_is_not_used_until_it_helps_again() -> None:
    model = FakeModel()
    settings = quick(accept={"steps": ["new.first"], "rate": 0.3}, guard={"reject_outliers": False})
    adapter = OnlineAdapter(settings=settings)
    good = interaction_of(adapter, model)
    frozen = model.predict(good.embedding, good.prompts[0]).masks[0]
    inverse = ~frozen
    adapter.on_accept(good, inverse)  # learns nonsense
    assert adapter.mask_decoder(model.decoder) is not model.decoder
    for _ in range(2):
        adapter.on_accept(good, frozen)
        if not adapter.is_trusted:
            break
    assert not adapter.is_trusted
    assert adapter.mask_decoder(model.decoder) is model.decoder
    for _ in range(60):
        adapter.on_accept(good, inverse)
        if adapter.is_trusted:
            break
    assert adapter.is_trusted
    assert adapter.mask_decoder(model.decoder) is not model.decoder
