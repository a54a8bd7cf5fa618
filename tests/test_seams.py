from __future__ import annotations

import copy
import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fakes import CHANNELS, FakeAttention, FakeModel
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.seams import Seams, active, decoder_grid, install_mask_attention_seam
from samadapt.prompts import Prompt

PROMPTS = [
    Prompt([(14.5, 12.5)]),
    Prompt([(14.5, 12.5), (3, 38)], [1, 0]),
    Prompt(box=(28, 20, 48, 38)),
]


class Recorder(nn.Module):
    """An attention that says what it was given."""

    def forward(self, *, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return key, value


class Shift(Seams):
    """Adds a number at one seam."""

    def __init__(self, seam: str, amount: float) -> None:
        self.seam, self.amount = seam, amount

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        if self.seam == "dense":
            return replace(embedded, dense=embedded.dense + self.amount)
        shift = self.amount if self.seam == "tokens" else 0
        return embedded.with_tokens(embedded.tokens + shift) if shift else embedded

    def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return features + self.amount if self.seam == "attention" else features

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        if self.seam != "decoder":
            return base
        changed = copy.deepcopy(base)
        with torch.no_grad():
            changed.bias += self.amount
        return changed

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        return logits + self.amount if self.seam == "boundary" else logits


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_base_class_changes_no_bit(
    fake_model: FakeModel, embedding: ImageEmbedding, prompt: Prompt, multimask: bool
) -> None:
    plain = fake_model.predict(embedding, prompt, multimask)
    seamed = fake_model.predict(embedding, prompt, multimask, [Seams(), Seams()])
    assert (plain.logits == seamed.logits).all()
    assert (plain.scores == seamed.scores).all()
    assert (plain.masks == seamed.masks).all()


def test_an_attention_adapter_without_effect_changes_no_bit() -> None:
    """A trained-to-nothing adapter returns equal features in another tensor."""

    class Copy(Seams):
        def mask_attention(self, features: Tensor, tokens: Tensor, grid: object) -> Tensor:
            return features.clone()

    attention = Recorder()
    install_mask_attention_seam(attention)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 12, CHANNELS, generator=generator)
    key = 1e-3 * torch.randn(1, 12, CHANNELS, generator=generator)  # bits are lost on a detour
    with active([Copy()]):
        found, value = attention(query=torch.zeros(1, 2, CHANNELS), key=key, value=features)
    assert torch.equal(found, key)
    assert torch.equal(value, features)


def test_attention_gets_new_features_with_the_old_position() -> None:
    attention = Recorder()
    install_mask_attention_seam(attention)
    features = torch.arange(2 * 6 * 3.0).view(2, 6, 3)
    position = torch.linspace(0, 1, 18).view(1, 6, 3)
    given: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, int]]] = []

    class Double(Seams):
        def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
            given.append((tuple(features.shape), tuple(tokens.shape), grid))
            return 2 * features

    with active([Double()]), decoder_grid((2, 3)):
        key, value = attention(
            query=torch.zeros(2, 1, 4, 3),
            key=(features + position)[:, None],
            value=features[:, None],
        )
    assert given == [((2, 6, 3), (2, 4, 3), (2, 3))]
    assert value.shape == (2, 1, 6, 3)
    torch.testing.assert_close(value[:, 0], 2 * features)
    torch.testing.assert_close(key[:, 0], 2 * features + position)


def test_seams_do_not_outlive_their_block() -> None:
    attention = Recorder()
    install_mask_attention_seam(attention)
    features = torch.ones(1, 4, CHANNELS)
    call = {"query": features, "key": features, "value": features}
    with active([Shift("attention", 1)]):
        assert attention(**call)[1].max() == 2
        with pytest.raises(KeyError), active([Shift("attention", 2)]):
            attention(query=None)
        assert attention(**call)[1].max() == 2
    assert attention(**call)[1].max() == 1


def test_seams_do_not_reach_other_threads() -> None:
    attention = Recorder()
    install_mask_attention_seam(attention)
    features = torch.ones(1, 4, CHANNELS)
    seen: list[float] = []

    def look() -> None:
        seen.append(float(attention(query=features, key=features, value=features)[1].max()))

    with active([Shift("attention", 1)]):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [1.0]


def test_a_copied_decoder_keeps_its_seam() -> None:
    attention = FakeAttention()
    install_mask_attention_seam(attention)
    features = torch.ones(1, 4, CHANNELS)
    with active([Shift("attention", 1)]):
        out = copy.deepcopy(attention)(query=features, key=features, value=features)
    assert out.max() == 2


@pytest.mark.parametrize("seam", ["tokens", "dense", "attention", "decoder", "boundary"])
def test_every_seam_reaches_the_output(
    fake_model: FakeModel, embedding: ImageEmbedding, seam: str
) -> None:
    plain = fake_model.predict(embedding, PROMPTS[1])
    shifted = fake_model.predict(embedding, PROMPTS[1], adapters=[Shift(seam, 3)])
    if seam == "boundary":  # acts on the mask at original size, behind the logits
        assert (plain.logits == shifted.logits).all()
        assert shifted.masks.sum() > plain.masks.sum()
    else:
        assert (plain.logits != shifted.logits).any()
    after = fake_model.predict(embedding, PROMPTS[1])
    assert (plain.logits == after.logits).all()


def test_adapters_apply_in_order(fake_model: FakeModel, embedding: ImageEmbedding) -> None:
    order: list[str] = []

    class Note(Seams):
        def __init__(self, name: str) -> None:
            self.name = name

        def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
            order.append(f"{self.name} prompt")
            return embedded

        def mask_attention(self, features: Tensor, tokens: Tensor, grid: object) -> Tensor:
            order.append(f"{self.name} attention")
            return features

        def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
            order.append(f"{self.name} boundary")
            return logits

    fake_model.predict(embedding, PROMPTS[0], adapters=[Note("a"), Note("b")])
    assert order == [f"{n} {s}" for s in ("prompt", "attention", "boundary") for n in "ab"]


def test_an_adapter_can_refuse_a_model(fake_model: FakeModel, embedding: ImageEmbedding) -> None:
    class Picky(Seams):
        def check_model(self, model: SegmentationModel) -> None:
            raise AdapterError("not this one")

    with pytest.raises(AdapterError, match="not this one"):
        fake_model.predict(embedding, PROMPTS[0], adapters=[Picky()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": torch.zeros(1, 2, CHANNELS + 1)}, "not of width 8"),
        ({"tokens": torch.zeros(2, 2, CHANNELS)}, "tokens of shape"),
        ({"dense": torch.zeros(1, 3, 8, 8)}, "dense prompt of shape"),
        ({"prior": torch.zeros(1, 1, 8, 8)}, "a prior"),
    ],
)
def test_a_decoder_refuses_a_prompt_that_it_cannot_take(
    fake_model: FakeModel, embedding: ImageEmbedding, changes: dict[str, Tensor], message: str
) -> None:
    class Wrong(Seams):
        def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
            return replace(embedded, **changes)

    with pytest.raises(AdapterError, match=f"'Wrong' gives the mask decoder of fake.*{message}"):
        fake_model.predict(embedding, PROMPTS[0], adapters=[Wrong()])


def test_further_tokens_are_seen_where_padding_is_hidden() -> None:
    tokens, bias = torch.zeros(2, 3, CHANNELS), torch.tensor([[0, 0, -1e4], [0, 0, 0]])
    longer = PromptEmbedding(tokens, torch.zeros(1), bias).with_tokens(torch.ones(2, 5, CHANNELS))
    assert longer.bias is not None
    assert longer.bias.tolist() == [[0, 0, -1e4, 0, 0], [0, 0, 0, 0, 0]]
    assert PromptEmbedding(tokens, torch.zeros(1)).with_tokens(tokens).bias is None
