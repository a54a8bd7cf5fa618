"""Same weights, same mask: against transformers run directly, with the geometry by hand."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import FAMILIES, Family, answer_by_hand, picture

from samadapt.errors import ModelError, PromptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt

SIZES = [(40, 56), (64, 64), (97, 33), (37, 1), (1, 50), (5, 300), (131, 259)]


def prompts_for(size: tuple[int, int], logits: NDArray[np.float32]) -> dict[str, dict[str, Any]]:
    """Every combination of prompts, some of them right at the border."""
    height, width = size
    inside = [(0.7 * width, 0.3 * height), (0.0, 0.0), (float(width), float(height))]
    box = (0.0, 0.1 * height, 0.8 * width, float(height))
    points = {"points": inside, "labels": (1, 0, 1)}
    return {
        "one point": {"points": inside[:1], "labels": (1,)},
        "points": points,
        "box": {"box": box},
        "points and box": points | {"box": box},
        "mask": {"mask": logits},
        "points and mask": points | {"mask": logits},
        "box and mask": {"box": box, "mask": logits},
        "all": points | {"box": box, "mask": logits},
    }


def earlier(size: tuple[int, int], seed: int = 3) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 4, size).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("multimask", [False, True])
def test_equals_transformers(
    family: Family, network: Any, model: Any, size: tuple[int, int], multimask: bool
) -> None:
    image = picture(size)
    embedding = model.encode_pixels(image)
    for name, prompt in prompts_for(size, earlier(model.logits_size(embedding))).items():
        expected = answer_by_hand(family, network, image, **prompt, multimask=multimask)
        found = model.predict(embedding, Prompt(**prompt), multimask=multimask)
        assert found.masks.shape == (3 if multimask else 1, *size), name
        np.testing.assert_allclose(
            found.logits, expected.logits, rtol=1e-4, atol=1e-3, err_msg=name
        )
        np.testing.assert_allclose(
            found.scores, expected.scores, rtol=1e-4, atol=1e-3, err_msg=name
        )
        clear = np.abs(expected.full) > 2e-3
        assert clear.mean() > 0.9, name
        assert (found.masks == expected.masks)[clear].all(), name


def test_masks_are_neither_empty_nor_full(model: Any) -> None:
    """The comparison above says something only if the tiny networks draw real masks."""
    embedding = model.encode_pixels(picture((40, 56)))
    prompt = Prompt(points=[(10, 20)])
    shares = model.predict(embedding, prompt, multimask=True).masks.mean(axis=(1, 2))
    assert ((shares > 0.05) & (shares < 0.95)).sum() >= 2


def test_position_reaches_the_prompt_encoder(family: Family, model: Any) -> None:
    """A click in the middle of the top-left pixel is pixel index 0 where nothing is scaled."""
    seen: dict[str, Any] = {}

    def spy(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)

    model.network.prompt_encoder.register_forward_pre_hook(spy, with_kwargs=True)
    side = family.side
    embedding = model.encode_pixels(picture((side, side)))
    model.predict(embedding, Prompt(points=[(0.5, 0.5), (8.5, 3.5)], labels=[1, 0]))
    assert seen["input_points"].tolist() == [[[[0.0, 0.0], [8.0, 3.0]]]]
    assert seen["input_labels"].tolist() == [[[1, 0]]]

    # Twice as large: everything is halved.
    embedding = model.encode_pixels(picture((2 * side, 2 * side)))
    model.predict(embedding, Prompt(points=[(9.0, 21.0)], box=(0, 0, 2 * side, 10)))
    assert seen["input_points"].tolist() == [[[[4.0, 10.0]]]]
    assert seen["input_boxes"].tolist() == [[[-0.5, -0.5, side - 0.5, 4.5]]]


@pytest.mark.parametrize("multimask", [False, True])
def test_batch_equals_single(model: Any, multimask: bool) -> None:
    embedding = model.encode_pixels(picture((40, 56)))
    size = model.logits_size(embedding)
    rng = np.random.default_rng(0)
    prompts = [
        Prompt(
            points=[(rng.uniform(0, 56), rng.uniform(0, 40)), (3, 4)],
            labels=[1, i % 2],
            box=None if i < 3 else (i, 2, 40, 30 + i),
            mask=earlier(size, seed=i) if i in (1, 2, 4) else None,
        )
        for i in range(6)
    ]
    together = model.predict(embedding, prompts, multimask=multimask)
    for prompt, found in zip(prompts, together, strict=True):
        alone = model.predict(embedding, prompt, multimask=multimask)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
        assert (found.masks == alone.masks).mean() > 0.999


def test_bool_mask_prompt(model: Any) -> None:
    embedding = model.encode_pixels(picture((40, 56)))
    mask = np.zeros((40, 56), bool)
    mask[:15, 30:] = True
    box = (0, 0, 56, 40)
    drawn = model.predict(embedding, Prompt(box=box, mask=mask))
    other = model.predict(embedding, Prompt(box=box, mask=~mask))
    assert not np.array_equal(drawn.logits, other.logits)
    with pytest.raises(PromptError, match="mask prompt of shape"):
        model.predict(embedding, Prompt(mask=np.zeros((3, 3), np.float32)))


def test_logits_feed_back_as_prompt(model: Any) -> None:
    embedding = model.encode_pixels(picture((40, 56)))
    prompt = Prompt(points=[(10, 20)])
    first = model.predict(embedding, prompt)
    second = model.predict(embedding, prompt.with_mask(first.logits[0]))
    assert first.logits.shape == second.logits.shape
    assert not np.array_equal(first.logits, second.logits)


def test_frozen_and_in_evaluation_mode(model: Any) -> None:
    embedding = model.encode_pixels(picture((40, 56)))
    assert not any(module.training for module in model.network.modules())
    assert not any(value.requires_grad for value in model.network.parameters())
    assert all(t.dtype == torch.float32 for t in embedding.features.values())
    assert not any(t.requires_grad for t in embedding.features.values())
    output = model.decode(embedding, [Prompt(points=[(1, 1)])])
    assert not output.logits.requires_grad


def test_embedding_survives_a_file_bit_for_bit(model: Any, tmp_path: Path) -> None:
    embedding = model.encode_pixels(picture((33, 56)))
    embedding.save(tmp_path / "one.safetensors")
    again = ImageEmbedding.load(tmp_path / "one.safetensors")
    prompt = Prompt(points=[(10, 20)])
    first, second = model.predict(embedding, prompt), model.predict(again, prompt)
    np.testing.assert_array_equal(first.logits, second.logits)


def test_embedding_of_other_weights_is_refused(family: Family, model: Any) -> None:
    other = family.wrap(family.build(seed=1))
    embedding = other.encode_pixels(picture((40, 56)))
    with pytest.raises(ModelError, match="encode the image again"):
        model.predict(embedding, Prompt(points=[(1, 1)]))


def test_identity_is_the_weights(family: Family, network: Any, model: Any) -> None:
    again = family.wrap(copy.deepcopy(network), encoder_dtype=torch.bfloat16)
    assert again.identity == model.identity
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.mask_decoder.iou_token.weight[0, 0] += 1e-3
    assert family.wrap(changed).identity.weights_hash != model.identity.weights_hash


def test_nothing_grows_over_many_images(model: Any) -> None:
    def session(count: int) -> int:
        for i in range(count):
            embedding = model.encode_pixels(picture((20 + i % 7, 30)))
            model.predict(embedding, Prompt(points=[(5, 5)]))
        del embedding
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    few = session(5)
    assert session(25) == few


# -- families of their own ------------------------------------------------------------------


@pytest.mark.parametrize("only", [False, True])
def test_hq_token(networks: dict[str, Any], only: bool) -> None:
    family, network = FAMILIES["sam_hq"], networks["sam_hq"]
    model = family.wrap(network, hq_token_only=only)
    image = picture((40, 56))
    prompt = {"points": [(10.0, 20.0)], "labels": (1,)}
    expected = answer_by_hand(family, network, image, **prompt, hq_token_only=only)
    found = model.predict(model.encode_pixels(image), Prompt(**prompt))
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-3)
    other = answer_by_hand(family, network, image, **prompt, hq_token_only=not only)
    assert np.abs(found.logits - other.logits).max() > 0.1


def test_hq_keeps_early_features(networks: dict[str, Any]) -> None:
    model = FAMILIES["sam_hq"].wrap(networks["sam_hq"])
    embedding = model.encode_pixels(picture((40, 56)))
    assert embedding.features["early"].shape == (1, 24, 8, 8)


@pytest.mark.parametrize(("threshold", "stable"), [(0.0, True), (2.0, False)])
def test_sam2_falls_back_to_the_best_candidate(threshold: float, stable: bool) -> None:
    """The single mask is token 0 while it is stable, else the best-scored of the three."""
    family = FAMILIES["sam2"]
    network = family.build(dynamic_multimask_stability_thresh=threshold)
    plain = family.build(dynamic_multimask_via_stability=False)
    model = family.wrap(network)
    image = picture((40, 56))
    embedding = model.encode_pixels(image)
    prompt = {"points": [(10.0, 20.0)], "labels": (1,)}
    single = model.predict(embedding, Prompt(**prompt))
    three = model.predict(embedding, Prompt(**prompt), multimask=True)
    token = answer_by_hand(family, plain, image, **prompt)
    wanted = token.logits if stable else three.logits[[three.best]]
    np.testing.assert_allclose(single.logits, wanted, rtol=1e-4, atol=1e-3)


def test_mask_only_tokens(networks: dict[str, Any]) -> None:
    """SAM gives its decoder no sparse tokens then, SAM 2 two absent points."""
    tokens = {}
    for name, family in FAMILIES.items():
        model = family.wrap(networks[name])
        embedding = model.encode_pixels(picture((40, 56)))
        masks = torch.zeros(2, 1, *model.logits_size(embedding))
        prompts = [Prompt(mask=masks[0, 0].numpy())] * 2
        tokens[name] = tuple(model.embed_prompts(embedding, prompts, masks).tokens.shape)
    assert tokens == {
        "sam": (2, 0, 32),
        "sam_hq": (2, 0, 32),
        "sam2": (2, 2, 32),
        "sam3": (2, 2, 32),
    }
