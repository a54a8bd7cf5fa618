"""LoRA folders with the real peft: the same masks there and here, and back again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from numpy.typing import NDArray

from adapters.adapter_contract import shake
from fakes import blobs
from samadapt.adapters.lora import LoraAdapter, LoraConfig
from samadapt.adapters.registry import load_adapter
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.prompts import Prompt
from small_models import NAMES, tiny_model

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:Unexpected keyword:UserWarning"),
]
PROMPT = Prompt([(14.5, 12.5), (38.5, 29.5)], [1, 0])


def network_of(model: SegmentationModel) -> Any:
    """The whole network around the mask decoder, as its own library builds it."""
    return getattr(model, "network", None) or vars(model)["_network"]


def trained(model: SegmentationModel, folder: Path, **settings: Any) -> LoraAdapter:
    adapter = LoraAdapter(LoraConfig(**settings))
    adapter.bind(model)
    shake(adapter)
    adapter.save_pretrained(folder)
    return adapter


def logits(model: SegmentationModel, *adapters: LoraAdapter) -> NDArray[np.float32]:
    return model.predict(model.encode(blobs()), PROMPT, True, adapters).logits


@pytest.mark.parametrize("name", NAMES)
def test_peft_and_samadapt_give_the_same_masks(name: str, tmp_path: Path) -> None:
    model, theirs = tiny_model(name), tiny_model(name)
    adapter = trained(model, tmp_path / "a", rank=2, alpha=6.0)
    ours, plain = logits(model, adapter), logits(model)
    assert abs(ours - plain).max() > 0.01, "an adapter without effect would prove nothing"
    # peft puts its layers into the very network that `theirs` answers with.
    wrapped = peft.PeftModel.from_pretrained(network_of(theirs), tmp_path / "a")
    found = logits(theirs)
    np.testing.assert_allclose(found, ours, atol=2e-5)
    np.testing.assert_array_equal(found > 0, ours > 0)
    wrapped.merge_and_unload()
    np.testing.assert_allclose(logits(theirs), ours, atol=2e-5)


@pytest.mark.parametrize("name", ["sam", "nano"])
@pytest.mark.parametrize("bound", [True, False])
def test_what_peft_saves_comes_back(name: str, bound: bool, tmp_path: Path) -> None:
    model, other = tiny_model(name), tiny_model(name)
    adapter = trained(model, tmp_path / "a", rank=3)
    peft.PeftModel.from_pretrained(network_of(other), tmp_path / "a").save_pretrained(
        tmp_path / "b"
    )
    back = load_adapter(tmp_path / "b", tiny_model(name) if bound else None)
    assert isinstance(back, LoraAdapter)
    np.testing.assert_array_equal(logits(model, adapter), logits(tiny_model(name), back))


def test_a_lora_that_peft_made_works_here(tmp_path: Path) -> None:
    model = tiny_model("sam")
    settings = peft.LoraConfig(r=2, lora_alpha=8, target_modules=r"mask_decoder\..*_proj")
    made = peft.get_peft_model(network_of(tiny_model("sam")), settings)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter += 0.1
    made.save_pretrained(tmp_path / "a")
    expected = made.base_model.model.mask_decoder.transformer.layers[0].self_attn.q_proj
    adapter = load_adapter(tmp_path / "a", model)
    found = dict(adapter.mask_decoder(model.decoder).named_parameters())
    name = "transformer.layers.0.self_attn.q_proj.weight"
    torch.testing.assert_close(found[name], expected.weight + expected.get_delta_weight("default"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_rslora": True}, "use_rslora"),
        ({"target_modules": r".*neck.conv1|mask_decoder\..*_proj"}, "no layer of the mask decoder"),
    ],
)
def test_what_samadapt_cannot_compute_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    network = copy.deepcopy(network_of(tiny_model("sam")))
    settings = {"r": 2, "target_modules": r"mask_decoder\..*_proj"} | changes
    peft.get_peft_model(network, peft.LoraConfig(**settings)).save_pretrained(tmp_path / "a")
    with pytest.raises(AdapterError, match=words) as caught:
        load_adapter(tmp_path / "a", tiny_model("sam"))
    assert "\n" not in str(caught.value)
