"""Task prompts and learned tokens: silent at first, small, side by side, one name each."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_contract import AdapterContract, assert_equal, outputs, shake
from torch import Tensor

import samadapt
from fakes import blobs
from samadapt.adapters.base import Adapter
from samadapt.adapters.decoder import DecoderAdapter
from samadapt.adapters.fitting import TrainingFacts
from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.prompt_tokens import PromptTokensAdapter, PromptTokensConfig
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.adapters.task_prompt import TaskPromptAdapter, TaskPromptConfig
from samadapt.adapters.task_prompt.dense import DensePrompt
from samadapt.adapters.task_prompt.few_masks import chance_of_lying_alike
from samadapt.adapters.task_prompt.positions import positions
from samadapt.adapters.tokens import starting_tokens
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from small_models import NAMES, tiny_model, tiny_nano

PROMPTS = (
    Prompt([(14.5, 12.5)]),
    Prompt([(14.5, 12.5), (40.0, 30.0)], [1, 0]),
    Prompt(box=(4, 2, 25, 23)),
)
METHODS = (
    "task-prompt",
    "task-prompt:sure",
    "task-prompt:no-context",
    "tokens",
)


def without_tokens(model: SegmentationModel) -> TaskPromptAdapter:
    """An adapter without learned tokens beside the prompt's own."""
    adapter = TaskPromptAdapter(TaskPromptConfig(tokens=0))
    adapter.bind(model)
    return adapter


class TestTaskPromptAdapter(AdapterContract):
    method = "task-prompt"

    def models(self) -> tuple[SegmentationModel, SegmentationModel]:
        return tiny_nano(0), tiny_nano(1)

    def make(self) -> Adapter:
        return TaskPromptAdapter()

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        shake(adapter)


class TestWithPointMatching(TestTaskPromptAdapter):
    def make(self) -> Adapter:
        return TaskPromptAdapter.create("point-matching")


class TestPromptTokensAdapter(TestTaskPromptAdapter):
    method = "tokens"

    def make(self) -> Adapter:
        return PromptTokensAdapter()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", METHODS)
class TestEveryFamily:
    def test_untrained_it_changes_no_bit_and_trained_it_has_an_effect(
        self, spec: str, name: str
    ) -> None:
        model = tiny_model(name)
        adapter = create_adapter(spec, model)
        embedding = model.encode(blobs())
        plain = [model.predict(embedding, p, m) for p in PROMPTS for m in (False, True)]
        silent = [model.predict(embedding, p, m, [adapter]) for p in PROMPTS for m in (False, True)]
        for a, b in zip(plain, silent, strict=True):
            assert a.logits.tobytes() == b.logits.tobytes()
            assert a.scores.tobytes() == b.scores.tobytes()
            assert (a.masks == b.masks).all()
        shake(adapter)
        changed = [model.predict(embedding, p, adapters=[adapter]) for p in PROMPTS]
        for a, b in zip(plain[::2], changed, strict=True):
            assert (a.logits != b.logits).any()

    def test_a_prompt_is_answered_alike_alone_and_in_company(self, spec: str, name: str) -> None:
        model = tiny_model(name)
        adapter = create_adapter(spec, model)
        shake(adapter)
        embedding = model.encode(blobs())
        others = [Prompt([(30.5, 20.5)]), PROMPTS[0], PROMPTS[2]]
        together = model.predict(embedding, others, adapters=[adapter])[1]
        alone = model.predict(embedding, PROMPTS[0], adapters=[adapter])
        np.testing.assert_allclose(together.logits, alone.logits, rtol=1e-4, atol=1e-4)


class TestSize:
    @pytest.mark.parametrize(
        ("values", "count"),
        [
            # Attention: 4 C W + 3 W + C, twice, W = 64; MLP: 2 C H + H + C, H = 256;
            # norms: 3 * 2 C; out: C^2 + C; tokens: T C = 8 C
            ({"channels": 128, "dense": 0}, 66176 + 65920 + 768 + 16512 + 1024),
            ({"channels": 256, "dense": 0}, 131968 + 131584 + 1536 + 65792 + 2048),
            # dense: 2 (C D + D) + D C + C, D = 64; prior: D + 1
            ({"channels": 256, "context": 0}, 332928 + 2 * 16448 + 16640),
            ({"channels": 128, "context": 0, "has_prior": True}, 150400 + 2 * 8256 + 8320 + 65),
            # context: norm 2 D; depthwise 7 * 7 * D + D; linear D^2 + D, three times
            ({"channels": 128, "has_prior": True}, 175297 + 3 * (128 + 3200 + 4160)),
            ({"channels": 128, "dense": 0, "tokens": 0}, 149376),
        ],
    )
    def test_the_number_of_parameters_is_exact(self, values: dict[str, Any], count: int) -> None:
        adapter = TaskPromptAdapter(TaskPromptConfig(**values))
        assert adapter.parameter_count == count

    def test_at_most_a_quarter_of_the_decoder(self) -> None:
        model = samadapt.load("nano")
        task, decoder = create_adapter("task-prompt", model), create_adapter("decoder", model)
        assert isinstance(task, TaskPromptAdapter)
        assert isinstance(decoder, DecoderAdapter)
        assert 4 * task.parameter_count <= decoder.parameter_count
        wide = TaskPromptAdapter(TaskPromptConfig(channels=256))
        assert 4 * wide.parameter_count <= 4_060_000, "the mask decoder of SAM"

    @pytest.mark.parametrize(("channels", "tokens"), [(128, 16), (256, 8)])
    def test_learned_tokens_are_2048_numbers(self, channels: int, tokens: int) -> None:
        adapter = PromptTokensAdapter(PromptTokensConfig(channels=channels))
        assert adapter.config.tokens == tokens
        assert adapter.parameter_count == 2048
        assert sum(tensor.numel() for tensor in adapter.state_dict().values()) == 2048


@pytest.mark.parametrize("spec", METHODS)
def test_gradients_reach_every_parameter(spec: str) -> None:
    model = tiny_nano()
    adapter = create_adapter(spec, model)
    assert adapter.module is not None
    adapter.module.requires_grad_(True)
    optimizer = torch.optim.SGD(adapter.module.parameters(), 0.05)
    embedding = model.encode(blobs())
    moved: set[str] = set()
    for _ in range(3):  # the last layer first, then what it lets through
        optimizer.zero_grad()
        output = model.decode(embedding, [PROMPTS[1]], adapters=[adapter])
        output.logits.square().mean().backward()
        moved |= {
            name
            for name, parameter in adapter.module.named_parameters()
            if parameter.grad is not None and bool(parameter.grad.any())
        }
        optimizer.step()
    # Keys may all move by the same vector without changing any attention.
    learned = {n for n, p in adapter.module.named_parameters() if p.numel()}
    assert moved >= {name for name in learned if not name.endswith("k_proj.bias")}
    assert all(parameter.grad is None for parameter in model.decoder.parameters())


class TestTheBlock:
    def test_untrained_the_tokens_pass_unchanged(self) -> None:
        model = tiny_nano()
        adapter = create_adapter("task-prompt", model)
        embedding = model.encode(blobs())
        tokens = torch.randn(2, 3, 16)
        embedded = PromptEmbedding(tokens, torch.zeros(1))
        assert adapter.prompt(embedded, embedding) is embedded

    def test_the_order_of_the_prompts_tokens_does_not_matter(self) -> None:
        model = tiny_nano()
        adapter = without_tokens(model)
        shake(adapter)
        embedding = model.encode(blobs())
        tokens = torch.randn(1, 3, 16)
        there = prompted(adapter, tokens, embedding)
        back = prompted(adapter, tokens.flip(1), embedding).flip(1)
        torch.testing.assert_close(there, back)

    def test_it_sees_the_image_and_where_it_is(self) -> None:
        model = tiny_nano()
        adapter = create_adapter("task-prompt", model)
        shake(adapter, 0.3)
        first, second = model.encode(blobs()), model.encode(np.ascontiguousarray(blobs()[:, ::-1]))
        tokens = torch.randn(1, 1, 16)
        assert (prompted(adapter, tokens, first) != prompted(adapter, tokens, second)).any()
        turned = ImageEmbedding(
            {**first.features, "image": first.image.flip(-1)},
            first.geometry,
            first.model,
            first.preprocessing,
        )
        moved = prompted(adapter, tokens, turned) - prompted(adapter, tokens, first)
        assert moved.abs().max() > 1e-4, "the same features elsewhere are something else"

    def test_prompts_without_tokens_are_left_alone(self) -> None:
        model = tiny_nano()
        embedding = model.encode(blobs())
        adapter = create_adapter("task-prompt", model)
        shake(adapter)
        mask = np.zeros(embedding.original_size, np.bool_)
        mask[5:20, 5:25] = True
        prompt = Prompt(mask=mask)
        plain = model.predict(embedding, prompt)
        np.testing.assert_array_equal(
            plain.logits, model.predict(embedding, prompt, adapters=[adapter]).logits
        )

    @pytest.mark.parametrize("name", NAMES)
    def test_codes_are_those_of_the_models_own_tokens(self, name: str) -> None:
        """A click at a cell's centre has the code of that cell, but for what all clicks share."""
        model = tiny_model(name)
        frequencies = model.spec.position_frequencies
        assert frequencies is not None
        side = 10
        places = positions(frequencies, (side, side), side)
        assert places.shape == (side * side, model.spec.width)
        x, y = 7, 2
        share = torch.tensor([(x + 0.5) / side, (y + 0.5) / side])
        phase = 2 * math.pi * (2 * share - 1) @ frequencies
        torch.testing.assert_close(
            places[y * side + x], torch.cat([phase.sin(), phase.cos()]), rtol=1e-4, atol=1e-4
        )


class TestTheDensePrompt:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_reaches_the_mask_of_every_family(self, name: str) -> None:
        """With tokens that pass almost as they came, the dense prompt alone moves the logits."""
        model = tiny_model(name)
        adapter = without_tokens(model)
        assert adapter.module is not None
        with torch.no_grad():
            adapter.module.prompt.out.bias[0] = 1e-12
            embedding = model.encode(blobs())
            plain = model.decode(embedding, PROMPTS[:1]).logits
            silent = model.decode(embedding, PROMPTS[:1], adapters=[adapter]).logits
            torch.testing.assert_close(plain, silent, rtol=1e-4, atol=1e-5)
            adapter.module.dense.dense.bias.fill_(0.5)
            moved = model.decode(embedding, PROMPTS[:1], adapters=[adapter]).logits
        assert (moved - plain).abs().max() > 1e-3

    def test_nanos_first_guess_moves_with_it(self) -> None:
        model = tiny_nano()
        adapter = create_adapter("task-prompt", model)
        assert adapter.module is not None
        embedding = model.encode(blobs())
        with torch.no_grad():
            adapter.module.prompt.out.bias[0] = 1e-12
            before = model.decode(embedding, PROMPTS[:1], adapters=[adapter]).logits
            adapter.module.dense.prior.bias.fill_(2.0)
            after = model.decode(embedding, PROMPTS[:1], adapters=[adapter]).logits
        gain = float(adapter.config.gain * model.decoder.prior_gain[0])
        torch.testing.assert_close(after - before, torch.full_like(before, 2 * gain))

    def test_it_adds_what_its_formula_says(self) -> None:
        """Against a second implementation: one place and one convolution at a time."""
        torch.manual_seed(4)
        task = DensePrompt(channels=6, hidden=4, context=2, gain=3.0, has_prior=True)
        for parameter in task.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        image, tokens = torch.randn(1, 6, 12, 8), torch.randn(1, 3, 6)
        dense, prior = task(image, tokens)

        def linear(layer: torch.nn.Module, x: Tensor) -> Tensor:
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            return torch.einsum("oc,hwc->hwo", weight.flatten(1), x) + bias

        hidden = linear(task.image, image[0].permute(1, 2, 0))
        hidden = hidden + linear(task.token, tokens.mean(1)[None])
        for block, coarser in zip(task.context, (4, 2), strict=True):
            normed = torch.nn.functional.layer_norm(
                hidden, (4,), block.get_parameter("norm.weight"), block.get_parameter("norm.bias")
            )
            height, width = 12 // coarser, 8 // coarser
            small = normed.view(height, coarser, width, coarser, 4).mean((1, 3))
            kernel = block.get_parameter("around.weight")[:, 0]
            around = block.get_parameter("around.bias").expand(height, width, -1).clone()
            for y, x, v, u in itertools.product(
                range(height), range(width), range(height), range(width)
            ):
                if abs(v - y) <= 3 and abs(u - x) <= 3:
                    around[y, x] += kernel[:, v - y + 3, u - x + 3] * small[v, u]
            mixed = linear(block.get_submodule("mix"), torch.nn.functional.gelu(around))
            hidden = hidden + torch.nn.functional.interpolate(
                mixed.permute(2, 0, 1)[None], (12, 8), mode="bilinear"
            )[0].permute(1, 2, 0)
        seen = torch.nn.functional.gelu(hidden)
        torch.testing.assert_close(dense[0].permute(1, 2, 0), 3 * linear(task.dense, seen))
        assert task.prior is not None
        torch.testing.assert_close(prior[0].permute(1, 2, 0), 3 * linear(task.prior, seen))

    def test_a_place_knows_what_is_far_around_it(self) -> None:
        torch.manual_seed(4)
        image = torch.randn(1, 16, 32, 32)
        changed = image.clone()
        changed[..., 0, 0] += 5
        for context, reach in ((0, 0), (3, 24)):
            task = DensePrompt(channels=16, hidden=8, context=context, gain=1.0, has_prior=False)
            torch.nn.init.normal_(task.dense.weight)
            before, _ = task(image, torch.zeros(1, 1, 16))
            after, _ = task(changed, torch.zeros(1, 1, 16))
            moved = (after - before).abs().amax(1)[0] > 1e-6
            assert moved[reach, reach]
            assert moved[reach + 1 :].any() == (context > 0)

    def test_grids_that_no_factor_divides(self) -> None:
        task = DensePrompt(channels=16, hidden=8, context=3, gain=1.0, has_prior=True)
        dense, prior = task(torch.randn(2, 16, 5, 9), torch.zeros(2, 1, 16))
        assert dense.shape == (2, 16, 5, 9)
        assert prior.shape == (2, 1, 5, 9)

    def test_adapters_from_before_are_what_they_were(self) -> None:
        values = TaskPromptConfig(channels=128, has_prior=True).to_dict()
        values["masks"] = 16
        for name in ("parameters", "doubt", "strength"):
            del values[name]
        older = TaskPromptConfig.from_dict(values)
        assert (older.context, older.gain, older.strength) == (3, 20, 1)
        del values["context"], values["gain"]
        oldest = TaskPromptAdapter(TaskPromptConfig.from_dict(values))
        assert oldest.parameter_count == 175297
        assert (oldest.config.gain, oldest.config.strength) == (1, 1)
        assert not any("context" in name for name in oldest.state_dict())


class TestClickConsistency:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(("several", "masks"), [(False, 16), (True, 16), (False, 1)])
    def test_clicks_that_the_task_leaves_out_are_answered_without_its_dense_prompt(
        self, name: str, several: bool, masks: int
    ) -> None:
        model = tiny_model(name)
        adapter = TaskPromptAdapter(fitted(masks))
        adapter.bind(model)
        shake(adapter, 0.5)
        embedding = model.encode(blobs())
        grid = itertools.product(range(4, 56, 8), range(4, 40, 8), (1, 0))
        prompts = [Prompt([(x + 0.5, y + 0.5)], [label]) for x, y, label in grid]
        wholes, parts = (
            model.decode(embedding, prompts, several, adapters)
            for adapters in ([adapter], [TokensAlone(adapter)])
        )
        chosen = set()
        answers = model.predict(embedding, prompts, several, [adapter])
        for row, (prompt, found) in enumerate(zip(prompts, answers, strict=True)):
            for index in range(len(found.masks)):
                own, careful = (
                    embedding.geometry.to_original(output.logits[row, index][None, None])[0, 0]
                    for output in (wholes, parts)
                )
                x, y = (int(value) for value in prompt.points[0])
                agrees = [bool(full[y, x] > 0) == prompt.labels[0] for full in (own, careful)]
                taken = parts if agrees == [False, True] else wholes
                chosen.add(taken is parts)
                np.testing.assert_allclose(
                    found.logits[index], taken.logits[row, index].detach(), rtol=1e-4, atol=1e-4
                )
                np.testing.assert_allclose(
                    found.scores[index], taken.scores[row, index].detach(), rtol=1e-4, atol=1e-4
                )
        assert chosen == {False, True}

    def test_it_is_kept_where_nothing_is_doubted(self) -> None:
        for changes, yields in (
            ({}, True),
            ({"masks": 0}, False),
            ({"doubt": 0}, False),
            ({"context": 0, "doubt": 0}, False),
            ({"masks": 3}, True),
            ({"masks": 4, "spread": 0.2}, True),
        ):
            values: dict[str, Any] = {"masks": 16, "channels": 16, **changes}
            adapter = TaskPromptAdapter(TaskPromptConfig(**values))
            shake(adapter)
            embedded = PromptEmbedding(torch.zeros(1, 1, 16), torch.zeros(1, 16, 8, 8))
            found = adapter.prompt(embedded, tiny_nano().encode(blobs()))
            assert found.keeps_dense != yields

    def test_a_decoder_without_a_prior_is_refused_in_words(self) -> None:
        adapter = TaskPromptAdapter(TaskPromptConfig(channels=16, has_prior=True))
        shake(adapter)
        embedded = PromptEmbedding(torch.zeros(1, 1, 16), torch.zeros(1, 16, 8, 8))
        with pytest.raises(AdapterError, match="this decoder has none"):
            adapter.prompt(embedded, tiny_nano().encode(blobs()))


class TokensAlone(Seams):
    """A task's adapter without its dense prompt."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        changed = self.adapter.prompt(embedded, embedding)
        return replace(changed, dense=embedded.dense, prior=embedded.prior)


def prompted(adapter: Adapter, tokens: Tensor, embedding: ImageEmbedding) -> Tensor:
    """What an adapter makes of tokens."""
    dense, prior = torch.zeros(1, 16, 1, 1), torch.zeros(1, 1, 1, 1)
    return adapter.prompt(PromptEmbedding(tokens, dense, None, prior), embedding).tokens


class TestShrinkage:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("prompt", PROMPTS)
    def test_what_few_masks_taught_has_less_of_a_say(self, name: str, prompt: Prompt) -> None:
        """A quarter of what was learned, and all of it while it learns."""
        model = tiny_model(name)
        embedding = model.encode(blobs())
        adapter = TaskPromptAdapter(TaskPromptConfig(strength=0.25))
        whole = TaskPromptAdapter(TaskPromptConfig(doubt=0))
        for each in (adapter, whole):
            each.bind(model)
            shake(each, 0.3)
        assert adapter.module is not None
        assert whole.module is not None
        learning = model.decode(embedding, [prompt], adapters=[whole]).logits
        adapter.module.requires_grad_(True)
        found = model.decode(embedding, [prompt], adapters=[adapter]).logits.detach()
        torch.testing.assert_close(found, learning)
        adapter.module.requires_grad_(False)
        dense = whole.module.dense
        assert dense is not None
        for layer in (dense.dense, dense.prior):
            for parameter in () if layer is None else layer.parameters():
                parameter.data *= 0.25
        expected = model.decode(embedding, [prompt], adapters=[whole]).logits
        found = model.decode(embedding, [prompt], adapters=[adapter]).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert (found - learning).abs().max() > 1e-3

    def test_it_depends_on_how_many_there_were(self) -> None:
        for masks, doubt, strength in ((3, 5, 1), (8, 8, 0.5), (15, 5, 0.75), (9, 0, 1)):
            config = fitted(masks, doubt=doubt)
            assert config.strength == pytest.approx(strength)
            assert config.training_data["masks"] == masks

    def test_a_few_masks_get_no_context(self) -> None:
        for masks, count in ((1, 175297), (3, 175297), (4, 197761)):
            config = fitted(masks, channels=128, has_prior=True)
            adapter = TaskPromptAdapter(config)
            assert adapter.parameter_count == count
            assert adapter.module is not None
            assert adapter.module.dense is not None
            assert adapter.module.dense.gain == (1 if count == 175297 else 20)

    def test_masks_that_lie_apart_have_to_be_more(self) -> None:
        for masks, spread, around in (
            (3, 0.0, False),
            (4, 0.0, True),
            (4, 0.112, True),
            (4, 0.113, False),
            (7, 0.19, True),
            (7, 0.2, False),
            (8, 0.4, True),
        ):
            config = fitted(masks, spread)
            assert bool(config.context) == around
            assert (config.strength < 1) == around
            assert config.gain == (20 if around else 1)

    def test_the_chance_of_lying_alike_is_that_of_uniform_centres(self) -> None:
        """Against 200,000 draws; the formula knows nothing of the borders."""
        rng = np.random.default_rng(0)
        for masks, spread in ((2, 0.05), (3, 0.06)):
            centres = rng.uniform(size=(200_000, masks, 2))
            found = np.sqrt(centres.var(axis=1).sum(-1))
            share = (found <= spread).mean()
            assert chance_of_lying_alike(masks, spread) == pytest.approx(share, rel=0.3)
            assert chance_of_lying_alike(masks, spread) >= share

    def test_configs_of_earlier_versions_decide_what_they_decided(self) -> None:
        values = TaskPromptConfig().to_dict()
        del values["strength"]
        old = {"masks": 6, "few": 4, "few_apart": 8, "alike": 0.11}
        near = TaskPromptConfig.from_dict({**values, **old, "spread": 0.1})
        assert (near.context, near.gain, near.strength) == (3, 20, 6 / 11)
        assert near.training_data == {"masks": 6, "position_spread": 0.1}
        apart = TaskPromptConfig.from_dict({**values, **old, "spread": 0.12})
        assert (apart.context, apart.gain, apart.strength) == (0, 1, 1)
        assert apart.yields_to_clicks
        assert TaskPromptConfig.from_dict(near.to_dict()) == near


def fitted(masks: int, spread: float = 0.0, **changes: Any) -> TaskPromptConfig:
    """The config for a training run."""
    facts = TrainingFacts(0, masks, lambda: spread)
    return TaskPromptConfig(**changes).for_training(facts)


class TestAppendedTokens:
    def test_they_start_orthogonal_and_of_the_given_size(self) -> None:
        start = starting_tokens(16, 128, 0.5).double()
        torch.testing.assert_close(
            start @ start.T / 128, 0.25 * torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-6
        )

    def test_the_decoder_sees_them_after_the_prompts_own(self) -> None:
        adapter = PromptTokensAdapter(PromptTokensConfig(tokens=3))
        model = tiny_nano()
        adapter.bind(model)
        tokens = torch.randn(2, 4, 16)
        embedding = model.encode(blobs())
        embedded = PromptEmbedding(tokens, torch.zeros(1))
        assert adapter.prompt(embedded, embedding) is embedded
        shake(adapter)
        found = prompted(adapter, tokens, embedding)
        assert found.shape == (2, 7, 16)
        assert found[:, :4].equal(tokens)
        assert found[0, 4:].equal(found[1, 4:])

    def test_padding_stays_hidden(self) -> None:
        """A click that a close-up does not show has no say, further tokens or not."""
        model = tiny_nano()
        adapter = create_adapter("tokens", model)
        shake(adapter)
        embedding = model.encode(blobs())
        embedded = model.embed_prompts(embedding, [PROMPTS[1]], None)
        hidden = replace(embedded, bias=torch.tensor([[0.0, -1e4]]))

        def logits(second: Tensor) -> Tensor:
            tokens = torch.stack([embedded.tokens[:, 0], second], dim=1)
            changed = adapter.prompt(replace(hidden, tokens=tokens), embedding)
            return model.run_decoder(model.decoder, embedding, changed, False).logits

        assert logits(embedded.tokens[:, 1]).equal(logits(torch.full((1, 16), 3.0)))


@pytest.mark.parametrize("spec", METHODS)
def test_it_works_beside_adapters_that_change_the_decoder(spec: str) -> None:
    model = tiny_nano()
    task, decoder, online = (
        create_adapter(spec, model),
        create_adapter("decoder", model),
        OnlineAdapter(),
    )
    shake(task)
    shake(decoder, 0.02)
    embedding = model.encode(blobs())

    def logits(*adapters: Any) -> Any:
        return model.predict(embedding, PROMPTS[0], adapters=adapters).logits

    together = logits(task, decoder)
    np.testing.assert_allclose(together, logits(decoder, task), rtol=1e-5, atol=1e-5)
    assert (together != logits(task)).any()
    assert (together != logits(decoder)).any()
    np.testing.assert_array_equal(logits(task, online), logits(task))


class TestTasks:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Two tasks for the tiny nano, side by side."""
        for number, name in enumerate(("disc", "square")):
            save(tmp_path / "tasks" / name, name, seed=number)
        return tmp_path / "tasks"

    def test_each_prompt_names_its_task(self, folder: Path) -> None:
        model = tiny_nano()
        tasks = samadapt.Tasks.in_folder(model, folder)
        assert tasks.names == ("disc", "square")
        assert len(tasks) == 2
        assert "disc" in tasks
        embedding = model.encode(blobs())
        found = [
            model.predict(embedding, PROMPTS[0], adapters=[tasks[name]]).logits for name in tasks
        ]
        assert (found[0] != found[1]).any()
        alone = load_adapter(folder / "disc", model)
        np.testing.assert_array_equal(
            found[0], model.predict(embedding, PROMPTS[0], adapters=[alone]).logits
        )

    def test_two_of_one_name_are_refused(self, folder: Path, tmp_path: Path) -> None:
        save(tmp_path / "again", "disc", seed=5)
        model = tiny_nano()
        with pytest.raises(AdapterError, match=r"two adapters for the task 'disc'.*again"):
            samadapt.Tasks(model, folder / "disc", tmp_path / "again")

    def test_an_unknown_name_lists_the_known_ones(self, folder: Path) -> None:
        tasks = samadapt.Tasks.in_folder(tiny_nano(), folder)
        with pytest.raises(
            AdapterError, match=r"no task 'dics' \(did you mean 'disc'\?\).*disc, square"
        ):
            tasks["dics"]

    def test_another_model_no_name_no_adapter(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="was made for tiny-nano"):
            samadapt.Tasks.in_folder(tiny_nano(1), folder)
        save(tmp_path / "nameless", None)
        with pytest.raises(AdapterError, match="nameless names no task"):
            samadapt.Tasks(tiny_nano(), tmp_path / "nameless")
        with pytest.raises(AdapterError, match="holds no adapter"):
            samadapt.Tasks.in_folder(tiny_nano(), tmp_path / "nameless")

    def test_adapters_of_other_methods_are_named_by_what_they_were_taught(self) -> None:
        model = tiny_nano()
        lora = create_adapter("lora", model)
        with pytest.raises(AdapterError, match="method 'lora' names no task"):
            samadapt.Tasks(model, lora)
        object.__setattr__(lora.config, "recipe", {"category": "bar"})
        assert samadapt.Tasks(model, lora).names == ("bar",)


class TestRefusals:
    def test_a_model_of_another_width(self) -> None:
        for adapter in (
            TaskPromptAdapter(TaskPromptConfig(channels=32)),
            PromptTokensAdapter(PromptTokensConfig(channels=32)),
        ):
            with pytest.raises(AdapterError, match=r"width 32.*tiny-nano.*width 16"):
                adapter.bind(tiny_nano())

    @pytest.mark.parametrize(
        "values",
        [
            {"width": 12},
            {"tokens": -1},
            {"hidden": 0},
            {"category": ""},
            {"heads": True},
            {"gain": 0},
            {"gain": "much"},
            {"doubt": -1},
            {"doubt": None},
            {"strength": 1.1},
            {"strength": True},
        ],
    )
    def test_settings_that_make_no_sense(self, values: dict[str, Any]) -> None:
        with pytest.raises(AdapterError, match=next(iter(values))):
            TaskPromptConfig(**values)

    def test_unknown_variants(self) -> None:
        with pytest.raises(AdapterError, match=r"'fast'.*point-matching"):
            TaskPromptAdapter.create("fast")


def save(folder: Path, category: str | None, seed: int = 0) -> None:
    """A task's adapter for the tiny nano."""
    adapter = TaskPromptAdapter(TaskPromptConfig(category=category))
    adapter.bind(tiny_nano())
    shake(adapter, seed=seed)
    adapter.save_pretrained(folder)


def test_untrained_and_trained_compose_without_a_trace() -> None:
    model = tiny_nano()
    embedding = model.encode(blobs())
    trained = create_adapter("task-prompt", model)
    shake(trained)
    alone = outputs(model, embedding, [trained])
    assert_equal(alone, outputs(model, embedding, [create_adapter("tokens", model), trained]))
