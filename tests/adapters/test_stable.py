"""The stable adapter: silent at first, one run of the decoder, everything in it learns."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_contract import AdapterContract, assert_equal, outputs, shake
from torch import nn

from fakes import blobs
from samadapt.adapters.base import Adapter
from samadapt.adapters.online import OnlineAdapter, OnlineSettings
from samadapt.adapters.readings import readings
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.adapters.stable import StableAdapter, StableConfig
from samadapt.adapters.stable.adapter import VARIANTS
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt
from samadapt.session.session import Session
from small_models import NAMES, tiny_model, tiny_nano

PROMPTS = (
    Prompt([(14.5, 12.5)]),
    Prompt([(14.5, 12.5), (40.0, 30.0)], [1, 0]),
    Prompt(box=(4, 2, 25, 23)),
)


class TestStableAdapter(AdapterContract):
    method = "stable"

    def models(self) -> tuple[SegmentationModel, SegmentationModel]:
        return tiny_nano(0), tiny_nano(1)

    def make(self) -> Adapter:
        return StableAdapter()

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        shake(adapter)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_starts_silent_has_an_effect_and_comes_back(
    variant: str, tmp_path: Path
) -> None:
    model = tiny_nano()
    embedding = model.encode(blobs())
    adapter = create_adapter(f"stable:{variant}", model)
    plain = outputs(model, embedding, [])
    assert_equal(plain, outputs(model, embedding, [adapter]))
    shake(adapter)
    changed = outputs(model, embedding, [adapter])
    assert any((a.logits != b.logits).any() for a, b in zip(plain, changed, strict=True))
    adapter.save_pretrained(tmp_path / "a")
    assert_equal(changed, outputs(model, embedding, [load_adapter(tmp_path / "a")]))


@pytest.mark.parametrize("name", NAMES)
class TestEveryFamily:
    def test_attached_untrained_it_changes_no_output_bit(self, name: str) -> None:
        model = tiny_model(name)
        adapter = create_adapter("stable", model)
        embedding = model.encode(blobs())
        for prompt in PROMPTS[1:]:
            for multimask in (False, True):
                plain = model.predict(embedding, prompt, multimask)
                found = model.predict(embedding, prompt, multimask, [adapter])
                for a, b in ((plain.logits, found.logits), (plain.scores, found.scores)):
                    assert a.tobytes() == b.tobytes()
                assert (plain.masks == found.masks).all()

    def test_the_decoder_runs_as_often_as_without_it(self, name: str) -> None:
        model = tiny_model(name)
        adapter = create_adapter("stable", model)
        shake(adapter)
        embedding = model.encode(blobs())
        calls: list[int] = []
        model.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
        with readings() as found:
            model.decode(embedding, PROMPTS[:1], adapters=[adapter])
        assert len(calls) == len(found["alphas"]) == 1

    def test_the_mask_token_is_the_one_that_the_first_mask_is_made_of(self, name: str) -> None:
        """Only changes of that output token reach the router."""
        model = tiny_model(name)
        adapter = create_adapter("stable", model)
        assert isinstance(adapter, StableAdapter)
        assert adapter.config.mask_token == mask_token_by_hand(model.decoder)


def mask_token_by_hand(decoder: nn.Module) -> int:
    """How many output tokens stand before the first mask token, by the parameters' names."""
    before = ("obj_score_token", "iou_token")
    found = sum(hasattr(decoder, name) for name in before)
    return found or 1  # nano keeps its tokens in one parameter: score, then masks


@pytest.mark.parametrize(
    ("channels", "variant", "count"),
    [
        # C^2 + C, 26 C, 2 C, 2 C + 2 for DSP; C h + h, 2 h, 2 h + 2 for DRP with h = 24
        (256, None, 65792 + 6656 + 512 + 514 + 6168 + 48 + 50),
        (128, None, 16512 + 3328 + 256 + 258 + 3096 + 48 + 50),
        (256, "no-routing", 73474 + 2),
        (256, "no-sampling", 65792 + 6266),
        (256, "softmax", 73474 + 6266 + 1),
    ],
)
def test_the_number_of_parameters_is_exact(channels: int, variant: str | None, count: int) -> None:
    config = StableAdapter.create(variant).config
    adapter = StableAdapter(StableConfig(**{**config.to_dict(), "channels": channels}))
    assert adapter.parameter_count == adapter.config.parameters == count
    assert sum(tensor.numel() for tensor in adapter.state_dict().values()) == count


@pytest.mark.parametrize("variant", [None, *sorted(VARIANTS)])
def test_gradients_reach_every_parameter(variant: str | None) -> None:
    model = tiny_nano()
    adapter = StableAdapter.create(variant)
    adapter.bind(model)
    assert adapter.module is not None
    adapter.module.requires_grad_(True)
    optimizer = torch.optim.SGD(adapter.module.parameters(), 0.05)
    embedding = model.encode(blobs())
    moved: set[str] = set()
    for _ in range(4):  # alpha first, then what it lets through, then what moves the offsets
        optimizer.zero_grad()
        model.decode(embedding, [PROMPTS[0]], adapters=[adapter]).logits.square().mean().backward()
        moved |= {
            name
            for name, parameter in adapter.module.named_parameters()
            if parameter.grad is not None and bool(parameter.grad.any())
        }
        optimizer.step()
    assert moved == {name for name, _ in adapter.module.named_parameters()}
    assert all(parameter.grad is None for parameter in model.decoder.parameters())


def test_same_seed_same_start() -> None:
    def start(seed: int) -> Any:
        adapter = StableAdapter(StableConfig(seed=seed))
        adapter.bind(tiny_nano())
        return adapter.state_dict()["routing.hidden.weight"]

    torch.manual_seed(5)
    assert start(0).equal(start(0))
    assert not start(0).equal(start(1))
    before = torch.get_rng_state()
    start(0)
    assert torch.get_rng_state().equal(before), "the caller's randomness is left alone"


class TestAlphas:
    def test_untrained_alpha_trusts_the_plain_features_alone(self) -> None:
        model = tiny_nano()
        adapter = create_adapter("stable", model)
        embedding = model.encode(blobs())
        with readings() as found:
            model.decode(embedding, [PROMPTS[0], PROMPTS[0]], adapters=[adapter])
            model.decode(embedding, [PROMPTS[2]], adapters=[adapter])
        assert [a.tolist() for a in found["alphas"]] == [[[0.0, 1.0]] * 2, [[0.0, 1.0]]]

    def test_softmax_keeps_their_sum(self) -> None:
        model = tiny_nano()
        adapter = create_adapter("stable:softmax", model)
        shake(adapter, 0.5)
        with readings() as found:
            model.decode(model.encode(blobs()), PROMPTS[:1], adapters=[adapter])
        (alphas,) = found["alphas"]
        assert alphas.sum().item() == pytest.approx(1.0)
        assert alphas[0, 0].item() != 0

    def test_one_person_never_sees_the_calls_of_another(self) -> None:
        model = tiny_nano()
        adapter = create_adapter("stable", model)
        embedding = model.encode(blobs())
        found: dict[int, int] = {}
        both = threading.Barrier(2)

        def work(calls: int) -> None:
            with readings() as read:
                both.wait()
                for _ in range(calls):
                    model.decode(embedding, PROMPTS[:1], adapters=[adapter])
                both.wait()
            found[calls] = len(read["alphas"])

        threads = [threading.Thread(target=work, args=(n,)) for n in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {2: 2, 3: 3}


class TestRefusals:
    def test_a_model_of_another_width(self) -> None:
        adapter = StableAdapter(StableConfig(channels=32))
        with pytest.raises(AdapterError, match=r"width 32.*tiny-nano.*width 16"):
            adapter.bind(tiny_nano())
        model = tiny_nano()
        with pytest.raises(AdapterError, match=r"width 32.*width 16"):
            model.predict(model.encode(blobs()), PROMPTS[0], adapters=[adapter])

    @pytest.mark.parametrize(
        "values",
        [{"reach": 0.0}, {"hidden": 0}, {"normalisation": "none"}, {"mask_token": -1}],
    )
    def test_settings_that_make_no_sense(self, values: dict[str, Any]) -> None:
        with pytest.raises(AdapterError, match=next(iter(values))):
            StableConfig(**values)

    def test_unknown_variants(self) -> None:
        with pytest.raises(AdapterError, match=r"'fast'.*no-routing"):
            StableAdapter.create("fast")


def test_it_composes_with_online_adaptation() -> None:
    """Online adaptation learns through the stable adapter, and both are seen in the answer."""
    model = tiny_nano()
    stable = create_adapter("stable", model)
    shake(stable)
    settings = {
        "click": {"loss": "none"},
        "accept": {"steps": ["new.first"], "rate": 0.02},
        "guard": {"evidence": 0},
    }
    online = OnlineAdapter(settings=OnlineSettings.from_dict(settings))
    image = blobs()
    embedding = model.encode(image)

    def logits(*adapters: Any) -> Any:
        return model.predict(embedding, PROMPTS[0], adapters=adapters).logits

    np.testing.assert_array_equal(logits(stable), logits(online, stable))
    session = Session(model, [online, stable])
    session.open(image)
    session.click(14.5, 12.5)
    session.accept("disc")
    together = logits(online, stable)
    assert (together != logits(stable)).any()
    assert (together != logits(online)).any()
    np.testing.assert_array_equal(together, logits(stable, online))
