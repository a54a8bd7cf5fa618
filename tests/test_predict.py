"""`SegmentationModel.predict`, on the fake model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes import FakeModel, OracleModel, blobs
from samadapt.errors import ModelError, PromptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.predictor import MASK_LOGIT
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

CLICK = Prompt([(14.5, 12.5)])


@pytest.mark.parametrize(("multimask", "count"), [(False, 1), (True, 3)])
def test_shapes_and_types(
    fake_model: FakeModel, embedding: ImageEmbedding, multimask: bool, count: int
) -> None:
    found = fake_model.predict(embedding, CLICK, multimask)
    assert found.masks.shape == (count, 40, 56)
    assert found.masks.dtype == np.bool_
    assert found.scores.shape == (count,)
    assert found.scores.dtype == np.float32
    assert found.logits.shape == (count, 16, 16)
    assert found.logits.dtype == np.float32
    assert found.best == int(np.argmax(found.scores))


def test_a_prediction_cannot_be_changed(fake_model: FakeModel, embedding: ImageEmbedding) -> None:
    found = fake_model.predict(embedding, CLICK)
    for array in (found.masks, found.scores, found.logits):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_masks_are_the_upsampled_logits_above_zero(
    fake_model: FakeModel, embedding: ImageEmbedding
) -> None:
    found = fake_model.predict(embedding, CLICK)
    full = embedding.geometry.to_original(torch.tensor(found.logits)[None])
    np.testing.assert_array_equal(found.masks, full[0].numpy() > 0)


def test_a_batch_gives_what_single_prompts_give(
    fake_model: FakeModel, embedding: ImageEmbedding
) -> None:
    earlier = fake_model.predict(embedding, CLICK).logits[0]
    prompts = [
        CLICK,
        Prompt([(38.5, 29.5), (3, 3)], [1, 0]),
        Prompt(box=(28, 20, 48, 38)),
        Prompt([(42.5, 7.5)]),
        Prompt([(14.5, 12.5)], mask=earlier),
        Prompt([(38.5, 29.5)], box=(28, 20, 48, 38)),
        Prompt(mask=earlier),
    ]
    together = fake_model.predict(embedding, prompts)
    assert len(together) == len(prompts)
    for prompt, found in zip(prompts, together, strict=True):
        alone = fake_model.predict(embedding, prompt)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-5)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)


def test_no_prompts_no_predictions(fake_model: FakeModel, embedding: ImageEmbedding) -> None:
    assert fake_model.predict(embedding, []) == []
    with pytest.raises(PromptError, match="no prompts"):
        fake_model.decode(embedding, [])


def test_decode_carries_gradients_to_a_copy_and_none_to_the_model(
    fake_model: FakeModel, embedding: ImageEmbedding
) -> None:
    shift = torch.zeros(8, requires_grad=True)

    from samadapt.models.seams import Seams

    class Learn(Seams):
        def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
            return replace(embedded, tokens=embedded.tokens + shift)

    out = fake_model.decode(embedding, [CLICK], adapters=[Learn()])
    out.logits.mean().backward()
    assert shift.grad is not None
    assert shift.grad.abs().max() > 0
    assert all(p.grad is None for p in fake_model.decoder.parameters())


def test_decode_refuses_mixed_structures(fake_model: FakeModel, embedding: ImageEmbedding) -> None:
    with pytest.raises(PromptError, match="structure"):
        fake_model.decode(embedding, [CLICK, Prompt([(1, 1), (2, 2)])])


def test_a_bool_mask_becomes_confident_logits(
    fake_model: FakeModel, embedding: ImageEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[torch.Tensor] = []
    original = fake_model.embed_prompts

    def spy(embedding: ImageEmbedding, prompts: object, masks: torch.Tensor | None) -> object:
        assert masks is not None
        given.append(masks)
        return original(embedding, prompts, masks)  # type: ignore[arg-type]

    monkeypatch.setattr(fake_model, "embed_prompts", spy)
    mask = np.zeros((40, 56), np.bool_)
    mask[:, :28] = True
    fake_model.predict(embedding, Prompt(mask=mask))
    (logits,) = given
    assert logits.shape == (1, 1, 16, 16)
    assert (logits[0, 0, :11, :7] == MASK_LOGIT).all()
    assert (logits[0, 0, :11, 9:] == -MASK_LOGIT).all()
    assert (logits[0, 0, 12:] == -MASK_LOGIT).all()  # the padding


def test_the_mask_prompt_pulls_the_answer(fake_model: FakeModel, embedding: ImageEmbedding) -> None:
    left = np.zeros((40, 56), np.bool_)
    left[:, :28] = True
    with_mask = fake_model.predict(embedding, CLICK.with_mask(left)).logits[0]
    without = fake_model.predict(embedding, CLICK).logits[0]
    assert with_mask[:11, :7].sum() > without[:11, :7].sum()
    assert with_mask[:11, 9:].sum() < without[:11, 9:].sum()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt([(56.5, 3)]), "outside the image of 56 x 40"),
        (Prompt([(3, -0.5)]), "outside"),
        (Prompt(box=(60, 0, 70, 10)), "outside"),
        (Prompt(mask=np.zeros((8, 8), np.float32)), r"resolution \(16, 16\)"),
        (Prompt(mask=np.zeros((56, 40), np.bool_)), r"size \(40, 56\)"),
    ],
)
def test_prompts_that_do_not_fit_the_image_are_refused(
    fake_model: FakeModel, embedding: ImageEmbedding, prompt: Prompt, words: str
) -> None:
    with pytest.raises(PromptError, match=words) as caught:
        fake_model.predict(embedding, prompt)
    assert "\n" not in str(caught.value)


def test_clicks_on_the_very_border_are_fine(
    fake_model: FakeModel, embedding: ImageEmbedding
) -> None:
    for point in ((0, 0), (56, 40), (0, 40), (55.5, 0.5)):
        assert fake_model.predict(embedding, Prompt([point])).masks.shape == (1, 40, 56)


def test_an_embedding_of_another_model_is_refused(embedding: ImageEmbedding) -> None:
    other = FakeModel(seed=1)
    with pytest.raises(ModelError, match=embedding.model.weights_hash[:12]):
        other.predict(embedding, CLICK)
    finer = FakeModel(side=64)
    with pytest.raises(ModelError, match="preprocessing"):
        finer.predict(embedding, CLICK)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 300), (33, 65)])
@pytest.mark.parametrize("multiple", [None, 8])
def test_odd_sizes(size: tuple[int, int], multiple: int | None) -> None:
    model = FakeModel(multiple=multiple)
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    found = model.predict(model.encode(image), Prompt([(0.5, 0.5)]), multimask=True)
    assert found.masks.shape == (3, *size)


def _labels() -> NDArray[np.int_]:
    labels = np.zeros((17, 23), np.int_)
    labels[0, 0] = 1  # one pixel in the corner
    labels[3:9, 20:] = 2  # at the right border
    labels[10, 5] = 3
    return labels


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (22.9, 4.5), (5.5, 10.5), (12.0, 16.0)])
def test_masks_land_on_the_right_pixels(x: float, y: float) -> None:
    labels = _labels()
    model = OracleModel(labels)
    found = model.predict(model.encode(blobs(*labels.shape)), Prompt([(x, y)]))
    np.testing.assert_array_equal(found.masks[0], labels == labels[int(y), int(x)])


def test_the_best_candidate_has_the_highest_score() -> None:
    masks = np.zeros((3, 2, 2), np.bool_)
    logits = np.zeros((3, 1, 1), np.float32)
    assert Prediction(masks, np.array([0.2, 0.9, 0.4], np.float32), logits).best == 1


class TestClickConsistency:
    """Where an adapter's dense prompt makes a mask violate clicks, the model's own one answers."""

    def test_each_candidate_that_violates_the_click_gives_way(
        self, fake_model: FakeModel, embedding: ImageEmbedding
    ) -> None:
        plain = fake_model.predict(embedding, CLICK, True)
        assert plain.masks[:, 12, 14].any()
        found = fake_model.predict(embedding, CLICK, True, [Dense(-50.0)])
        for index in range(3):
            if not plain.masks[index, 12, 14]:  # neither is consistent, so the first answer stays
                assert not found.masks[index].any()
                continue
            np.testing.assert_array_equal(found.masks[index], plain.masks[index])
            np.testing.assert_array_equal(found.logits[index], plain.logits[index])
            assert found.scores[index] == plain.scores[index]

    def test_background_clicks_count_and_ties_leave_the_first(
        self, fake_model: FakeModel, embedding: ImageEmbedding
    ) -> None:
        everything, nothing = Dense(50.0), Dense(-50.0)
        both = Prompt([(14.5, 12.5), (40.5, 30.5)], [1, 0])
        found = fake_model.predict(embedding, both, adapters=[everything])
        np.testing.assert_array_equal(found.masks, fake_model.predict(embedding, both).masks)
        assert found.masks[0, 12, 14]
        assert not found.masks[0, 30, 40]
        tie = Prompt([(14.5, 12.5), (14.5, 12.5)], [1, 0])
        assert fake_model.predict(embedding, tie, adapters=[everything]).masks.all()
        box = Prompt(box=(4, 2, 25, 23))
        assert not fake_model.predict(embedding, box, adapters=[nothing]).masks.any()

    def test_tokens_of_adapters_stay(
        self, fake_model: FakeModel, embedding: ImageEmbedding
    ) -> None:
        class Tokens(Seams):
            def prompt(
                self, embedded: PromptEmbedding, embedding: ImageEmbedding
            ) -> PromptEmbedding:
                return replace(embedded, tokens=embedded.tokens * 1.01)

        tokens = fake_model.predict(embedding, CLICK, adapters=[Tokens()])
        both = fake_model.predict(embedding, CLICK, adapters=[Dense(-50.0), Tokens()])
        np.testing.assert_array_equal(both.logits, tokens.logits)

    def test_a_dense_prompt_that_is_kept_stays(
        self, fake_model: FakeModel, embedding: ImageEmbedding
    ) -> None:
        class Kept(Dense):
            def prompt(
                self, embedded: PromptEmbedding, embedding: ImageEmbedding
            ) -> PromptEmbedding:
                return replace(super().prompt(embedded, embedding), keeps_dense=True)

        assert not fake_model.predict(embedding, CLICK, adapters=[Kept(-50.0)]).masks.any()

    def test_nobody_is_asked_twice_without_need(
        self, fake_model: FakeModel, embedding: ImageEmbedding
    ) -> None:
        consistent, silent = Dense(50.0), Dense(0.0)
        fake_model.predict(embedding, [CLICK, CLICK], adapters=[consistent])
        fake_model.predict(embedding, Prompt([(14.5, 12.5)], [0]), adapters=[silent])
        assert (consistent.asked, silent.asked) == ([2], [1])
        mixed = Dense(-50.0)
        fake_model.predict(embedding, [CLICK, Prompt([(3.5, 3.5)], [0])], adapters=[mixed])
        assert mixed.asked == [2, 1], "only the violated click is asked again"


class Dense(Seams):
    """Adds a number to the dense prompt; 0 leaves it alone."""

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self.asked: list[int] = []

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        self.asked.append(len(embedded.tokens))
        return replace(embedded, dense=embedded.dense + self.amount) if self.amount else embedded
