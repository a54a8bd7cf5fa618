"""LoRA and decoder fine-tuning: changes of weights that start as nothing and merge exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_contract import AdapterContract, shake

from fakes import blobs
from samadapt.adapters.base import Adapter
from samadapt.adapters.decoder import DecoderAdapter
from samadapt.adapters.lora import LoraAdapter, LoraConfig
from samadapt.adapters.lora.adapter import equal_rank
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.adapters.stable import StableAdapter
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt
from small_models import tiny_model, tiny_nano

POINT = Prompt([(14.5, 12.5)])


class TestLora(AdapterContract):
    method = "lora"

    def models(self) -> tuple[SegmentationModel, SegmentationModel]:
        return tiny_nano(0), tiny_nano(1)

    def make(self) -> Adapter:
        return LoraAdapter()

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        shake(adapter)


class TestDecoder(TestLora):
    method = "decoder"

    def make(self) -> Adapter:
        return DecoderAdapter()


@pytest.mark.parametrize("name", ["nano", "sam_hq", "sam2"])
@pytest.mark.parametrize("spec", ["lora", "decoder"])
def test_untrained_no_bit_changes_in_any_family(spec: str, name: str) -> None:
    model = tiny_model(name)
    adapter = create_adapter(spec, model)
    embedding = model.encode(blobs())
    plain = model.predict(embedding, POINT)
    found = model.predict(embedding, POINT, adapters=[adapter])
    assert plain.logits.tobytes() == found.logits.tobytes()


def test_lora_adds_the_scaled_product_of_its_factors() -> None:
    model = tiny_nano()
    adapter = LoraAdapter(LoraConfig(rank=2, alpha=6.0))
    adapter.bind(model)
    shake(adapter)
    merged = dict(adapter.mask_decoder(model.decoder).named_parameters())
    base = dict(model.decoder.named_parameters())
    state = adapter.state_dict()
    layer = "transformer.layers.1.cross_attn_token_to_image.q_proj"
    change = 3.0 * state[f"{layer}.lora_B"] @ state[f"{layer}.lora_A"]
    torch.testing.assert_close(merged[f"{layer}.weight"], base[f"{layer}.weight"] + change)
    changed = {n for n, p in base.items() if not p.equal(merged[n])}
    assert changed == {f"{n.rpartition('.')[0]}.weight" for n in state}
    assert all(name.startswith("transformer.") for name in changed)


def test_lora_gets_the_rank_with_the_nearest_number_of_parameters() -> None:
    # At width 256 a stable adapter has 79,740 parameters; a rank costs 1,000 here.
    assert equal_rank({"a": (300, 200), "b": (400, 100)}, 256) == 80
    assert equal_rank({"a": (100_000, 100_000)}, 256) == 1
    model = tiny_nano()
    stable, lora = StableAdapter(), LoraAdapter()
    stable.bind(model)
    lora.bind(model)
    per_rank = lora.parameter_count / lora.config.rank
    assert abs(lora.parameter_count - stable.parameter_count) <= per_rank / 2 or (
        lora.config.rank == 1
    )


@pytest.mark.parametrize("spec", ["lora", "decoder"])
class TestGradients:
    def test_they_reach_what_the_mask_depends_on_and_never_the_model(self, spec: str) -> None:
        model = tiny_nano()
        adapter = create_adapter(spec, model)
        assert adapter.module is not None
        shake(adapter, 0.01)
        adapter.module.requires_grad_(True)
        output = model.decode(model.encode(blobs()), [POINT], adapters=[adapter])
        output.logits.square().mean().backward()
        reached = [p for p in adapter.module.parameters() if p.grad is not None and p.grad.any()]
        assert len(reached) > 0.7 * len(list(adapter.module.parameters()))
        assert all(p.grad is None for p in model.decoder.parameters())

    def test_answers_are_the_same_with_and_without_them(self, spec: str) -> None:
        model = tiny_nano()
        adapter = create_adapter(spec, model)
        assert adapter.module is not None
        shake(adapter)
        embedding = model.encode(blobs())
        with torch.no_grad():
            merged = model.decode(embedding, [POINT], adapters=[adapter]).logits
        adapter.module.requires_grad_(True)
        learning = model.decode(embedding, [POINT], adapters=[adapter]).logits
        assert learning.requires_grad
        torch.testing.assert_close(merged, learning.detach())

    def test_a_change_of_the_weights_is_seen_at_once(self, spec: str) -> None:
        model = tiny_nano()
        adapter = create_adapter(spec, model)
        embedding = model.encode(blobs())
        first = adapter.mask_decoder(model.decoder)
        assert adapter.mask_decoder(model.decoder) is first, "merged once"
        before = model.predict(embedding, POINT, adapters=[adapter]).logits
        shake(adapter)
        after = model.predict(embedding, POINT, adapters=[adapter]).logits
        assert (before != after).any()


class TestRefusals:
    @pytest.mark.parametrize("variant", ["0", "big", "-1"])
    def test_a_variant_that_is_no_rank(self, variant: str) -> None:
        with pytest.raises(AdapterError, match=f"{variant}.*rank"):
            LoraAdapter.create(variant)

    @pytest.mark.parametrize("values", [{"rank": -1}, {"alpha": -0.5}, {"layers": "mlp"}])
    def test_settings_that_make_no_sense(self, values: dict[str, Any]) -> None:
        with pytest.raises(AdapterError, match=next(iter(values))):
            LoraConfig(**values)

    def test_patterns_that_choose_nothing(self) -> None:
        adapter = LoraAdapter(LoraConfig(layers=("encoder.*",)))
        with pytest.raises(AdapterError, match="match no parameter"):
            adapter.bind(tiny_nano())

    @pytest.mark.parametrize("spec", ["lora", "decoder"])
    def test_weights_of_another_shape(self, spec: str, tmp_path: Path) -> None:
        model = tiny_nano()
        adapter = create_adapter(spec, model)
        state = dict(adapter.state_dict())
        name = next(iter(state))
        for broken in ({}, {**state, name: state[name][..., :1]}, {**state, "other": state[name]}):
            with pytest.raises(AdapterError, match="do not fit"):
                adapter.load_state_dict(broken)
        adapter.save_pretrained(tmp_path / "a")
        assert load_adapter(tmp_path / "a", model).config == adapter.config
