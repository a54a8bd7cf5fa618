"""Original SAM 2 and SAM-HQ checkpoints, against transformers' models with the same weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from original_layouts import original_hq_names, original_sam2, original_sam2_names
from tiny_models import DECODER, FAMILIES, HIERA, HIERA_PROMPTS, picture, randomise

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import Checkpoint
from samadapt.models.hf import hiera
from samadapt.models.hf.hiera import Hiera, recognise_hiera
from samadapt.models.hf.original import published_name
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.parts.sam2_layout import own_names
from samadapt.models.registry import load
from samadapt.prompts import Prompt

BLOCKS, WIDER = 5, (1, 2, 4)
PROMPTS = [Prompt(points=[(10, 20), (30, 5)], labels=[1, 0]), Prompt(box=(1, 2, 30, 30))]


def same_answers(found: Any, wanted: Any) -> None:
    """Bit for bit: the same network runs on the same numbers."""
    image = picture((40, 56))
    for prompt in PROMPTS:
        one = found.predict(found.encode_pixels(image), prompt, multimask=True)
        other = wanted.predict(wanted.encode_pixels(image), prompt, multimask=True)
        np.testing.assert_array_equal(one.logits, other.logits)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small SAM 2, whose size counts as published."""
    size = Hiera("test", heads=1, windows=(4, 4, 2, 2), whole=(3,), image_size=64)
    monkeypatch.setattr(hiera, "PUBLISHED", {(8, (1, 1, 2, 1)): size})
    vision: Any = copy.deepcopy(HIERA)
    vision["backbone_config"]["num_attention_heads_per_stage"] = [1, 2, 4, 8]
    with quiet_transformers():
        config = transformers.Sam2Config(
            vision_config=vision,
            prompt_encoder_config=dict(HIERA_PROMPTS),
            mask_decoder_config=DECODER,
        )
        return randomise(transformers.Sam2Model(config).eval(), seed=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sam2.pt"


def test_every_tensor_of_sam2_has_an_original(network: Any) -> None:
    named = set(original_sam2_names(BLOCKS, WIDER).values())
    assert set(network.state_dict()) - named == {
        "prompt_encoder.shared_embedding.positional_embedding",
        "prompt_encoder.point_embed.weight",
    }
    assert named <= set(network.state_dict())


def test_converted_sam2_is_the_same_model(network: Any, path: Path) -> None:
    torch.save({"model": original_sam2(network, BLOCKS, WIDER)}, path)
    model = load(path, device="cpu", encoder_dtype="float32")
    wanted = FAMILIES["sam2"].wrap(network)
    assert model.identity.weights_hash == wanted.identity.weights_hash
    same_answers(model, wanted)


def test_sam2_of_unknown_size_missing_and_further_tensors(network: Any, path: Path) -> None:
    tensors = original_sam2(network, BLOCKS, WIDER)

    def refused(changed: dict[str, Any], *words: str) -> None:
        torch.save({"model": changed}, path)
        with pytest.raises(CheckpointError) as caught:
            load(path, device="cpu")
        text = str(caught.value)
        assert str(path) in text
        assert "\n" not in text
        for word in words:
            assert word in text, text

    trunk = "image_encoder.trunk.blocks.4."
    shorter = {name: value for name, value in tensors.items() if not name.startswith(trunk)}
    refused(shorter, "SAM 2", "width 8 with 1+1+2 blocks", "tiny, small, base-plus and large")
    lacking = dict(tensors)
    del lacking["sam_mask_decoder.iou_token.weight"]
    refused(lacking, "lacks mask_decoder.iou_token.weight")
    del lacking["no_mem_embed"]
    lacking["sam_mask_decoder.iou_token.weight"] = tensors["sam_mask_decoder.iou_token.weight"]
    refused(lacking, "lacks 1 tensors (no_memory_embedding)")
    refused(tensors | {"sam_mask_decoder.hf_token.weight": torch.zeros(1)}, "changed architecture")
    tensors["no_mem_embed"][0, 0, 0] = torch.nan
    refused(tensors, "not finite", "no_mem_embed")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tiny", {}),
        ("small", {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]}),
        (
            "base-plus",
            {
                "hidden_size": 112,
                "blocks_per_stage": [2, 3, 16, 3],
                "embed_dim_per_stage": [112, 224, 448, 896],
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "window_positional_embedding_background_size": [14, 14],
                "global_attention_blocks": [12, 16, 20],
            },
        ),
        (
            "large",
            {
                "hidden_size": 144,
                "blocks_per_stage": [2, 6, 36, 4],
                "embed_dim_per_stage": [144, 288, 576, 1152],
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "window_size_per_stage": [8, 4, 16, 8],
                "global_attention_blocks": [23, 33, 43],
            },
        ),
    ],
)
def test_published_sizes_are_recognised_by_shapes(name: str, arguments: dict[str, Any]) -> None:
    """Networks of full size, but on the meta device, where they take no memory."""
    backbone = transformers.Sam2HieraDetConfig(**arguments)
    widths = backbone.embed_dim_per_stage
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=widths[::-1]
    )
    with quiet_transformers(), torch.device("meta"):
        network = transformers.Sam2Model(transformers.Sam2Config(vision_config=vision))
    ends = np.cumsum(backbone.blocks_per_stage)
    tensors = original_sam2(network, int(ends[-1]), tuple(int(end) for end in ends[:-1]))
    checkpoint = Checkpoint(Path("x.pt"), tensors)
    config, variant = recognise_hiera(own_names(checkpoint))
    assert variant.name == name
    found, wanted = config.vision_config.backbone_config.to_dict(), backbone.to_dict()
    differing = {key for key in wanted if found[key] != wanted[key]}
    assert differing <= {"_attn_implementation", "attn_implementation", "dtype"}, differing
    assert published_name(checkpoint) == f"facebook/sam2.1-hiera-{name}"
    del tensors["no_obj_embed_spatial"]
    older = Checkpoint(Path("x.pt"), tensors)
    assert published_name(older) == f"facebook/sam2-hiera-{name}"


# -- SAM-HQ ---------------------------------------------------------------------------------


def test_converted_sam_hq_is_the_same_model(networks: dict[str, Any], tmp_path: Path) -> None:
    network = networks["sam_hq"]
    state, names = network.state_dict(), original_hq_names(3)
    assert set(state) - set(names.values()) == {
        "prompt_encoder.shared_embedding.positional_embedding"
    }
    path = tmp_path / "sam_hq.pth"
    torch.save({old: state[new].clone() for old, new in names.items()}, path)
    model = load(path, device="cpu", encoder_dtype="float32")
    wanted = FAMILIES["sam_hq"].wrap(network)
    assert model.identity.weights_hash == wanted.identity.weights_hash
    same_answers(model, wanted)
    alone = load(path, device="cpu", encoder_dtype="float32", hq_token_only=True)
    same_answers(alone, FAMILIES["sam_hq"].wrap(network, hq_token_only=True))
    encoder = {old: state[new] for old, new in names.items() if "hf_mlp" not in old}
    torch.save(encoder, path)
    with pytest.raises(CheckpointError, match="SAM-HQ") as caught:
        load(path, device="cpu")
    assert "lacks 6 tensors (mask_decoder.hq_mask_mlp" in str(caught.value)
