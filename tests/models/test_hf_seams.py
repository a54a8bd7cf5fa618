"""The seams of every family: silent when unused, and exactly where they are said to be."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import Family, picture
from torch import Tensor, nn

from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

PROMPTS = [
    Prompt(points=[(10, 20), (30, 5)], labels=[1, 0]),
    Prompt(points=[(50, 3), (8, 9)], labels=[1, 1]),
]


class Tokens(Seams):
    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        return embedded.with_tokens(embedded.tokens * 1.5)


class Attention(Seams):
    """Applies a function at seam 2 and remembers the shapes it saw."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self.change = change
        self.seen: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, int]]] = []

    def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        self.seen.append((tuple(features.shape), tuple(tokens.shape), grid))
        return self.change(features)


class Decoder(Seams):
    def __init__(self, decoder: nn.Module) -> None:
        self.decoder = decoder

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        return self.decoder


class Boundary(Seams):
    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        return -logits


@pytest.fixture
def embedding(model: Any) -> ImageEmbedding:
    encoded: ImageEmbedding = model.encode_pixels(picture((40, 56)))
    return encoded


def logits(model: Any, embedding: ImageEmbedding, *adapters: Seams) -> Tensor:
    decoded: Tensor = model.decode(embedding, PROMPTS, True, adapters).logits
    return decoded


def test_identity_changes_no_bit(model: Any, embedding: ImageEmbedding) -> None:
    base = logits(model, embedding)
    assert torch.equal(base, logits(model, embedding, Seams(), Seams()))
    copied = Decoder(copy.deepcopy(model.decoder))
    assert torch.equal(base, logits(model, embedding, copied))
    same_values = Attention(lambda features: features.clone())
    assert torch.equal(base, logits(model, embedding, same_values))


def test_network_without_seams_says_the_same(
    family: Family, network: Any, model: Any, embedding: ImageEmbedding
) -> None:
    """Installing the seams must not have changed the decoder either."""
    plain = Decoder(copy.deepcopy(network.mask_decoder))
    assert torch.equal(logits(model, embedding), logits(model, embedding, plain))


def test_mask_attention_sees_the_last_layers_image_features(
    model: Any, embedding: ImageEmbedding
) -> None:
    seam = Attention(lambda features: features)
    logits(model, embedding, seam)
    height, width = embedding.grid
    (features, tokens, grid), *more = seam.seen
    assert not more
    assert features == (2, height * width, 32)
    assert tokens[0] == 2
    assert tokens[2] == 32
    assert tokens[1] >= 1 + 4 + 3  # IoU token, mask tokens, two points and their padding
    assert grid == embedding.grid


def test_mask_attention_changes_keys_and_values(model: Any, embedding: ImageEmbedding) -> None:
    """Against the same change made by hand on a copy, positional encoding kept."""

    def shift(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "key": kwargs["key"] + 0.5, "value": kwargs["value"] + 0.5}

    by_hand = copy.deepcopy(model.decoder)
    last = by_hand.transformer.layers[-1].cross_attn_token_to_image
    last.register_forward_pre_hook(shift, with_kwargs=True)
    expected = logits(model, embedding, Decoder(by_hand))
    found = logits(model, embedding, Attention(lambda features: features + 0.5))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert (found - logits(model, embedding)).abs().max() > 1e-3


def test_seams_reach_an_adapters_copy(model: Any, embedding: ImageEmbedding) -> None:
    copied = Decoder(copy.deepcopy(model.decoder))
    change = Attention(lambda features: features * 0.5)
    on_base = logits(model, embedding, change)
    assert torch.equal(on_base, logits(model, embedding, copied, change))
    assert len(change.seen) == 2


def test_returned_decoder_is_the_one_that_runs(model: Any, embedding: ImageEmbedding) -> None:
    base = logits(model, embedding)
    changed = copy.deepcopy(model.decoder)
    with torch.no_grad():
        changed.mask_tokens.weight.mul_(-1)
    assert not torch.equal(base, logits(model, embedding, Decoder(changed)))
    assert torch.equal(base, logits(model, embedding))


def test_prompt_and_boundary(model: Any, embedding: ImageEmbedding) -> None:
    assert not torch.equal(logits(model, embedding), logits(model, embedding, Tokens()))
    plain = model.predict(embedding, PROMPTS[0])
    flipped = model.predict(embedding, PROMPTS[0], adapters=[Boundary()])
    np.testing.assert_array_equal(flipped.logits, plain.logits)
    assert (flipped.masks != plain.masks).mean() > 0.99


def test_gradients_reach_a_copy_only(model: Any, embedding: ImageEmbedding) -> None:
    trained = copy.deepcopy(model.decoder).requires_grad_(True)
    gain = nn.Parameter(torch.ones(()))
    seams = [Decoder(trained), Attention(lambda features: features * gain)]
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    with torch.enable_grad():
        output = model.decode(embedding, PROMPTS, True, seams)
        (output.logits.square().mean() + output.scores.sum()).backward()
    for name in ("mask_tokens", "upscale_conv1", "iou_token"):
        gradient = getattr(trained, name).weight.grad
        assert gradient is not None
        assert gradient.abs().max() > 0, name
    assert gain.grad is not None
    assert gain.grad.abs() > 0
    assert all(value.grad is None for value in model.network.parameters())
    torch.optim.SGD(trained.parameters(), lr=1e-2).step()
    after = model.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_active_seams_stay_in_their_thread(model: Any, embedding: ImageEmbedding) -> None:
    base = logits(model, embedding)
    elsewhere: list[Tensor] = []

    def meanwhile(features: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: elsewhere.append(logits(model, embedding)))
        thread.start()
        thread.join()
        return features * 0.0

    logits(model, embedding, Attention(meanwhile))
    torch.testing.assert_close(elsewhere[0], base)
