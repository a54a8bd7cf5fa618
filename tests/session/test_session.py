from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fakes import FakeModel, OracleModel, blobs
from samadapt.adapters.base import Interaction
from samadapt.errors import AdapterError, ImageError, ModelError, PromptError, SessionError
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Box, Click, Prompt
from samadapt.session.events import Accepted, Chosen, Clicked, Event, Opened, Reset
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session, SessionStatus
from toy_adapter import ToyAdapter

DISC, SQUARE = (14.5, 12.5), (38.5, 29.5)


@pytest.fixture
def session(fake_model: FakeModel, image: NDArray[np.uint8]) -> Session:
    session = Session(fake_model)
    session.open(image)
    return session


def events(session: Session) -> list[Event]:
    return [record.event for record in session.log]


# -- clicks and boxes ---------------------------------------------------------------------


def test_a_click_gives_the_models_mask(session: Session, fake_model: FakeModel) -> None:
    mask = session.click(*DISC)
    expected = fake_model.predict(session.embedding, Prompt([DISC]), multimask=True)
    np.testing.assert_array_equal(mask, expected.masks[expected.best])
    assert session.prediction is not None
    assert len(session.prediction.masks) == 3
    assert session.chosen == expected.best
    assert session.mask is not None
    np.testing.assert_array_equal(session.mask, mask)
    assert session.clicks == (Click(*DISC),)
    assert session.status is SessionStatus.CLICKING
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = True


def test_a_second_click_feeds_the_logits_back_and_asks_for_one_mask(
    session: Session, fake_model: FakeModel
) -> None:
    session.click(*DISC)
    earlier = session.logits
    mask = session.click(*SQUARE, positive=False)
    prompt = Prompt([DISC, SQUARE], [1, 0], mask=earlier)
    expected = fake_model.predict(session.embedding, prompt)
    assert session.prediction is not None
    np.testing.assert_array_equal(session.prediction.logits, expected.logits)
    np.testing.assert_array_equal(mask, expected.masks[0])


@pytest.mark.parametrize("feedback", ["none", "binary"])
def test_other_feedback(fake_model: FakeModel, image: NDArray[np.uint8], feedback: str) -> None:
    session = Session(fake_model, options=SessionOptions(False, feedback))  # type: ignore[arg-type]
    session.open(image)
    first = session.click(*DISC)
    assert session.prediction is not None
    assert len(session.prediction.masks) == 1  # multimask is off
    second = session.click(*SQUARE)
    prompt = Prompt([DISC, SQUARE], mask=first if feedback == "binary" else None)
    expected = fake_model.predict(session.embedding, prompt)
    np.testing.assert_array_equal(second, expected.masks[0])


def test_a_box_starts_afresh_and_keeps_the_clicks(session: Session, fake_model: FakeModel) -> None:
    session.click(*SQUARE)
    mask = session.box(28, 20, 48, 38)
    expected = fake_model.predict(session.embedding, Prompt([SQUARE], box=(28, 20, 48, 38)))
    np.testing.assert_array_equal(mask, expected.masks[0])
    assert session.current_box == Box(28, 20, 48, 38)
    session.box(0, 0, 30, 30)
    assert session.current_box == Box(0, 0, 30, 30)
    session.undo()
    assert session.current_box == Box(28, 20, 48, 38)
    np.testing.assert_array_equal(session.mask, mask)


def test_a_click_after_a_box_is_not_ambiguous(session: Session) -> None:
    session.box(28, 20, 48, 38)
    session.click(*SQUARE)
    assert session.prediction is not None
    assert len(session.prediction.masks) == 1


# -- choosing -----------------------------------------------------------------------------


def test_another_candidate_can_be_chosen(session: Session, fake_model: FakeModel) -> None:
    session.click(*DISC)
    assert session.prediction is not None
    other = (session.chosen + 1) % 3
    mask = session.choose(other)
    np.testing.assert_array_equal(mask, session.prediction.masks[other])
    logits = session.prediction.logits[other]
    session.click(*SQUARE, positive=False)
    expected = fake_model.predict(session.embedding, Prompt([DISC, SQUARE], [1, 0], mask=logits))
    np.testing.assert_array_equal(session.logits, expected.logits[0])


def test_choosing_what_is_shown_is_no_event(session: Session) -> None:
    session.click(*DISC)
    before = len(session.log)
    np.testing.assert_array_equal(session.choose(session.chosen), session.mask)
    assert len(session.log) == before
    session.choose(2)
    assert events(session)[-1] == Chosen(2)
    session.undo()
    assert session.chosen != 2


# -- undo, redo, reset --------------------------------------------------------------------


def test_undo_and_redo_restore_the_very_masks(session: Session) -> None:
    masks: list[NDArray[np.bool_] | None] = [None]
    masks.append(session.click(*DISC))
    masks.append(session.choose(0 if session.chosen else 1))
    masks.append(session.click(*SQUARE))
    masks.append(session.box(28, 20, 48, 38))
    session.reset()
    masks.append(None)
    clicks = session.clicks
    assert clicks == ()
    for expected in reversed(masks[:-1]):
        assert session.can_undo
        _same(session.undo(), expected)
        _same(session.mask, expected)
    assert not session.can_undo
    assert session.status is SessionStatus.READY
    for expected in masks[1:]:
        assert session.can_redo
        _same(session.redo(), expected)
    assert not session.can_redo


def test_a_new_action_ends_redo(session: Session) -> None:
    session.click(*DISC)
    session.click(*SQUARE)
    session.undo()
    session.click(3, 3, positive=False)
    assert not session.can_redo
    with pytest.raises(SessionError, match="nothing to redo"):
        session.redo()
    assert session.clicks == (Click(*DISC), Click(3, 3, False))


def test_undo_goes_back_over_accept_and_skip(session: Session) -> None:
    for end in (session.accept, session.skip):
        session.click(*DISC)
        mask = session.click(*SQUARE)
        count = len(session.accepted)
        end()
        assert (session.mask, session.clicks) == (None, ())
        after = session.accepted
        _same(session.undo(), mask)
        assert session.clicks == (Click(*DISC), Click(*SQUARE))
        assert len(session.accepted) == count
        assert session.redo() is None
        assert session.accepted == after


def test_the_undo_stack_is_bounded(fake_model: FakeModel, image: NDArray[np.uint8]) -> None:
    session = Session(fake_model, options=SessionOptions(undo_limit=2))
    session.open(image)
    for x in range(5):
        session.click(x, 3)
    session.undo()
    session.undo()
    assert not session.can_undo
    assert len(session.clicks) == 3
    session.redo()
    session.redo()
    assert len(session.clicks) == 5
    none = Session(fake_model, options=SessionOptions(undo_limit=0))
    none.open(image)
    none.click(*DISC)
    assert not none.can_undo


def test_after_undo_clicks_build_on_the_earlier_mask(session: Session) -> None:
    session.click(*DISC)
    straight = session.click(*SQUARE)
    session.undo()
    session.click(3, 35)
    session.undo()
    np.testing.assert_array_equal(session.click(*SQUARE), straight)


# -- accept and skip ----------------------------------------------------------------------


def test_accepted_objects_are_kept_in_order(session: Session) -> None:
    session.click(*DISC)
    disc = session.accept("disc")
    session.click(*SQUARE)
    session.skip()
    session.click(42.5, 7.5)
    bar = session.accept()
    assert [(a.object_id, a.label) for a in session.accepted] == [(1, "disc"), (2, None)]
    for accepted, mask in zip(session.accepted, (disc, bar), strict=True):
        np.testing.assert_array_equal(accepted.mask(), mask)
    assert [e for e in events(session) if isinstance(e, Accepted)] == list(session.accepted)


def test_an_empty_mask_cannot_be_accepted(image: NDArray[np.uint8]) -> None:
    class Nothing(FakeModel):
        def run_decoder(self, *args: object) -> object:  # type: ignore[override]
            out = super().run_decoder(*args)  # type: ignore[arg-type]
            return type(out)(out.logits - 1000, out.scores)

    session = Session(Nothing())
    session.open(image)
    with pytest.raises(SessionError, match="click on the object first"):
        session.accept()
    session.click(*DISC)
    before = events(session)
    with pytest.raises(SessionError, match="mask is empty"):
        session.accept("disc")
    assert events(session) == before
    assert session.status is SessionStatus.CLICKING
    session.skip()
    assert session.accepted == ()


def test_labels_are_text(session: Session) -> None:
    session.click(*DISC)
    with pytest.raises(SessionError, match="label 3"):
        session.accept(3)  # type: ignore[arg-type]
    assert session.accepted == ()


# -- images -------------------------------------------------------------------------------


def test_an_image_from_a_file_is_named_and_hashed(
    tmp_path: Path, fake_model: FakeModel, image: NDArray[np.uint8]
) -> None:
    Image.fromarray(image).save(tmp_path / "slide.png")
    session = Session(fake_model, [ToyAdapter()], options=SessionOptions(undo_limit=7))
    session.open(tmp_path / "slide.png")
    (opened,) = events(session)
    assert isinstance(opened, Opened)
    assert opened.image.path == str(tmp_path / "slide.png")
    assert opened.image.name == "slide.png"
    assert (opened.image.height, opened.image.width) == session.image_size == (40, 56)
    assert opened.model == "fake"
    assert opened.weights_hash == fake_model.identity.weights_hash
    assert opened.adapters == ("toy",)
    assert opened.options == SessionOptions(undo_limit=7)
    assert opened.samadapt_version
    assert session.image == opened.image
    as_array = Session(fake_model)
    as_array.open(image, name="slide 7")
    assert as_array.image is not None
    assert as_array.image.content_hash == opened.image.content_hash
    assert (as_array.image.name, as_array.image.path) == ("slide 7", None)
    image[0, 0] += 1
    as_array.open(image)
    assert as_array.image.content_hash != opened.image.content_hash


def test_an_embedding_saves_the_encoder(
    fake_model: FakeModel, image: NDArray[np.uint8], embedding: ImageEmbedding
) -> None:
    count = fake_model.encoded
    session = Session(fake_model)
    session.open("nowhere.png", embedding=embedding)
    session.open(embedding=embedding, name="x")
    assert fake_model.encoded == count
    assert session.embedding is embedding
    assert session.image is not None
    assert session.image.name == "x"
    with pytest.raises(ModelError, match="not by"):
        session.open(embedding=FakeModel(seed=1).encode(image))
    assert session.embedding is embedding


def test_a_new_image_gives_up_the_unfinished_object(session: Session) -> None:
    session.click(*DISC)
    session.accept()
    session.click(*SQUARE)
    session.open(blobs(20, 30))
    assert session.status is SessionStatus.READY
    assert session.accepted == ()
    assert session.image_size == (20, 30)
    assert not session.can_undo
    session.click(3, 3)
    session.accept()
    assert session.accepted[0].object_id == 2


def test_an_image_that_cannot_be_read_leaves_the_session_alone(
    session: Session, tmp_path: Path
) -> None:
    mask = session.click(*DISC)
    before = events(session)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for image in (tmp_path / "missing.png", tmp_path / "broken.png", np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ImageError):
            session.open(image)
    with pytest.raises(SessionError, match="nothing to open"):
        session.open()
    assert events(session) == before
    np.testing.assert_array_equal(session.mask, mask)


def test_earlier_images_are_forgotten(fake_model: FakeModel, tmp_path: Path) -> None:
    session = Session(fake_model, log=EventLog.open(tmp_path / "log"))
    gone: list[weakref.ref[object]] = []
    for _ in range(4):
        embedding = fake_model.encode(blobs())
        session.open(embedding=embedding)
        session.click(*DISC)
        session.click(*SQUARE)
        session.undo()
        gone += [weakref.ref(embedding.image), weakref.ref(session.prediction.masks)]  # type: ignore[union-attr]
        del embedding
        session.redo()
        session.accept()
    session.open(embedding=fake_model.encode(blobs()))
    gc.collect()
    assert [ref() for ref in gone] == [None] * 8
    session.log.close()


# -- wrong actions ------------------------------------------------------------------------


def test_nothing_works_without_an_image(fake_model: FakeModel) -> None:
    session = Session(fake_model)
    assert session.status is SessionStatus.NO_IMAGE
    assert session.image is None
    for act in (
        lambda: session.click(1, 1),
        lambda: session.box(0, 0, 2, 2),
        session.undo,
        session.redo,
        session.reset,
        lambda: session.choose(0),
        session.accept,
        session.skip,
        lambda: session.image_size,
    ):
        with pytest.raises(SessionError, match="no image is open"):
            act()
    assert len(session.log) == 0


def test_actions_that_fail_change_and_log_nothing(session: Session) -> None:
    for act, words in (
        (session.undo, "nothing to undo"),
        (session.redo, "nothing to redo"),
        (session.reset, "nothing to reset"),
        (lambda: session.choose(0), "nothing to choose"),
        (session.accept, "nothing to accept"),
    ):
        with pytest.raises(SessionError, match=words):
            act()
    mask = session.click(*DISC)
    before = events(session)
    for act, words in (
        (lambda: session.click(57, 3), "outside the image of 56 x 40"),
        (lambda: session.click(float("nan"), 3), "finite"),
        (lambda: session.click("a", 3), "must be numbers"),
        (lambda: session.box(5, 5, 5, 9), "empty"),
        (lambda: session.box(100, 5, 120, 9), "outside"),
        (lambda: session.box(1, 2, 3, float("inf")), "finite"),
    ):
        with pytest.raises(PromptError, match=words):
            act()
    with pytest.raises(SessionError, match="candidate 3 does not exist: there are 3, from 0 to 2"):
        session.choose(3)
    with pytest.raises(SessionError, match="candidate -1"):
        session.choose(-1)
    assert events(session) == before
    assert session.clicks == (Click(*DISC),)
    np.testing.assert_array_equal(session.mask, mask)
    session.undo()
    assert not session.can_undo


def test_a_log_that_cannot_be_written_stops_the_action(
    fake_model: FakeModel, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = ToyAdapter()
    session = Session(fake_model, [adapter])
    session.open(image)
    session.click(*DISC)
    mask, seen = session.mask, list(adapter.seen.calls)

    def full(event: Event) -> None:
        raise SessionError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(session.log, "append", full)
        for act in (
            lambda: session.click(*SQUARE),
            lambda: session.box(28, 20, 48, 38),
            session.undo,
            session.reset,
            lambda: session.choose(0 if session.chosen else 1),
            session.accept,
            session.skip,
            lambda: session.open(image),
        ):
            with pytest.raises(SessionError, match="disk is full"):
                act()
    np.testing.assert_array_equal(session.mask, mask)
    assert session.clicks == (Click(*DISC),)
    assert session.accepted == ()
    assert adapter.seen.calls == seen
    session.click(*SQUARE)
    assert [type(e) for e in events(session)] == [Opened, Clicked, Clicked]


def test_a_log_with_events_wants_a_replay(session: Session, fake_model: FakeModel) -> None:
    with pytest.raises(SessionError, match=r"1 events already: continue it with replay\(\)"):
        Session(fake_model, log=session.log)


# -- adapters -----------------------------------------------------------------------------


def test_adapters_are_told_everything_in_order(
    fake_model: FakeModel, image: NDArray[np.uint8]
) -> None:
    adapter = ToyAdapter()
    session = Session(fake_model, [adapter])
    session.open(image)
    mask = session.click(*DISC)
    session.choose(0 if session.chosen else 1)
    session.undo()
    session.click(*SQUARE)
    session.reset()
    session.undo()
    session.redo()
    session.box(28, 20, 48, 38)
    accepted = session.accept("x")
    session.click(*DISC)
    session.skip()
    told = adapter.seen
    expected = "open click undo click undo undo undo click accept click skip"
    assert " ".join(told.calls) == expected
    assert [i.step for i in told.interactions] == [1, 1, 2, 0, 2, 0, 3, 3, 1, 1]
    first, back, second = told.interactions[:3]
    assert first.mask is not None
    np.testing.assert_array_equal(first.mask, mask)
    assert back.mask is not None
    np.testing.assert_array_equal(back.mask, mask)
    assert second.clicks == (Click(*DISC), Click(*SQUARE))
    assert second.adapters == (adapter,)
    assert second.model is fake_model
    assert [p.mask is None for p in second.prompts] == [True, False]
    assert told.interactions[3].prompts == ()
    assert told.interactions[3].mask is None
    boxed = told.interactions[6]
    assert boxed.box == Box(28, 20, 48, 38)
    assert boxed.clicks == ()
    (final,) = told.masks
    np.testing.assert_array_equal(final, accepted)


def test_an_adapter_learns_behind_the_mask(fake_model: FakeModel, image: NDArray[np.uint8]) -> None:
    plain, learning = Session(fake_model), Session(fake_model, [ToyAdapter.create("fast")])
    for session in (plain, learning):
        session.open(image)
    np.testing.assert_array_equal(plain.click(*DISC), learning.click(*DISC))
    plain.click(*SQUARE)
    learning.click(*SQUARE)
    assert plain.logits is not None
    assert (plain.logits != learning.logits).any()


def test_an_adapters_error_does_not_undo_the_action(
    fake_model: FakeModel, image: NDArray[np.uint8]
) -> None:
    class Broken(ToyAdapter):
        def on_click(self, interaction: object) -> None:
            raise AdapterError("out of ideas")

    session = Session(fake_model, [Broken()])
    session.open(image)
    with pytest.raises(AdapterError, match="out of ideas"):
        session.click(*DISC)
    assert session.clicks == (Click(*DISC),)
    assert events(session)[-1] == Clicked(*DISC, True)


def test_an_adapter_of_another_model_is_refused_at_once(fake_model: FakeModel) -> None:
    adapter = ToyAdapter()
    adapter.bind(FakeModel(seed=1))
    with pytest.raises(AdapterError, match="made for"):
        Session(fake_model, [adapter])


def test_reset_is_an_event(session: Session) -> None:
    session.click(*DISC)
    session.reset()
    assert events(session)[-1] == Reset()
    assert session.mask is None


def test_masks_have_the_images_own_pixels() -> None:
    labels = np.zeros((21, 34), np.int_)
    labels[4:9, 30:] = 1
    session = Session(OracleModel(labels))
    session.open(blobs(21, 34))
    np.testing.assert_array_equal(session.click(33.9, 4.1), labels == 1)


def _same(found: NDArray[np.bool_] | None, expected: NDArray[np.bool_] | None) -> None:
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_adapters_learn_where_the_caller_has_switched_gradients_off(
    fake_model: FakeModel, image: NDArray[np.uint8], off: Callable[[], AbstractContextManager[None]]
) -> None:
    told: list[bool] = []

    class Told(ToyAdapter):
        def on_click(self, interaction: Interaction) -> None:
            told.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())

        def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
            self.on_click(interaction)

    session = Session(fake_model, [Told()])
    with off():
        session.open(image)
        mask = session.click(*DISC)
        session.accept()
        session.teach(mask)
    assert told == [True, True, True]


def test_adapters_know_what_the_brush_painted_and_nothing_else(
    fake_model: FakeModel, image: NDArray[np.uint8]
) -> None:
    ends: list[NDArray[np.bool_] | None] = []

    class Told(ToyAdapter):
        def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
            ends.append(interaction.painted)

    session = Session(fake_model, [Told()])
    session.open(image)
    mask = session.click(*DISC)
    more, less, other = np.zeros((3, *mask.shape), np.bool_)
    more[tuple(np.argwhere(~mask)[:7].T)] = True
    less[tuple(np.argwhere(mask)[:2].T)] = True
    other[tuple(np.argwhere(mask)[-9:].T)] = True
    session.accept(without=other)  # trimmed
    session.click(*DISC)
    session.apply("smooth")
    session.accept()
    session.click(*DISC)
    session.paint(more)
    session.paint(less, positive=False)
    session.paint(other)
    session.undo()
    session.accept()
    session.click(*DISC)
    session.paint(more)
    session.reset()
    session.click(*DISC)
    session.accept()
    trimmed, smoothed, painted, reset = ends
    assert trimmed is None
    assert smoothed is None
    np.testing.assert_array_equal(painted, more | less)
    assert reset is None
