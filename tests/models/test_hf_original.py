"""Original segment-anything checkpoints, with their layout written out by hand."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from original_layouts import original, original_names
from refusals import refused
from safetensors.torch import save_file
from tiny_models import FAMILIES, VIT, VIT_PROMPTS, picture, randomise
from torch import Tensor

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import Checkpoint, read_checkpoint
from samadapt.models.hf.architecture import recognise
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.registry import load
from samadapt.prompts import Prompt


@pytest.fixture
def state(networks: dict[str, Any]) -> OrderedDict[str, Tensor]:
    return original(networks["sam"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sam_tiny.pth"


def test_every_tensor_of_sam_has_an_original(networks: dict[str, Any]) -> None:
    """The list above is complete, so that the tests below leave nothing out."""
    named = set(original_names(3).values())
    there = set(networks["sam"].state_dict())
    assert there - named == {"prompt_encoder.shared_embedding.positional_embedding"}
    assert named <= there


def test_converted_weights_are_the_same_model(
    networks: dict[str, Any], state: OrderedDict[str, Tensor], path: Path
) -> None:
    torch.save(state, path)
    model = load(path, device="cpu", encoder_dtype="float32")
    wanted = FAMILIES["sam"].wrap(networks["sam"])
    assert model.identity.name == "sam_tiny"
    assert model.network.mask_decoder.transformer.config._attn_implementation == "sdpa"
    assert model.identity.weights_hash == wanted.identity.weights_hash
    image = picture((40, 56))
    prompts = [Prompt(points=[(10, 20)]), Prompt(box=(1, 2, 30, 30))]
    for prompt in prompts:
        found = model.predict(model.encode_pixels(image), prompt, multimask=True)
        expected = wanted.predict(wanted.encode_pixels(image), prompt, multimask=True)
        np.testing.assert_array_equal(found.logits, expected.logits)
    assert not any(value.requires_grad for value in model.network.parameters())
    assert not any(module.training for module in model.network.modules())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": dict(state)},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {name: value.half() for name, value in state.items()},
        lambda state: {"model_state": {f"sam.{n}": v for n, v in state.items()}, "epoch": 1},
        lambda state: {
            "state_dict": {f"model.sam_model.{n}": v for n, v in state.items()},
            "pytorch-lightning_version": "2.1",
            "global_step": 7,
        },
        lambda state: {
            "model": {"state_dict": {f"module._orig_mod.{n}": v for n, v in state.items()}}
        },
        lambda state: (
            state
            | {
                "pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1),
                "pixel_std": torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1),
            }
        ),
    ],
    ids=[
        "model",
        "state_dict",
        "data-parallel",
        "half",
        "torch-em",
        "lightning",
        "compiled",
        "colours",
    ],
)
def test_wrapped_checkpoints(state: OrderedDict[str, Tensor], path: Path, wrap: Any) -> None:
    torch.save(wrap(state), path)
    assert load(path, device="cpu").spec.width == 32


def test_micro_sams_decoder_is_left_aside(state: OrderedDict[str, Tensor], path: Path) -> None:
    content = {"model_state": state, "decoder_state": {"decoder.blocks.0.weight": torch.ones(2)}}
    torch.save(content, path)
    with pytest.warns(UserWarning, match="automatic instance segmentation is not used") as said:
        model = load(path, device="cpu")
    assert str(path) in str(said[0].message)
    assert model.spec.width == 32


def test_safetensors_with_original_names(state: OrderedDict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "converted.safetensors"
    save_file(dict(state), path)
    assert load(path, device="cpu").identity.name == "converted"
    path.write_bytes(path.read_bytes()[:3000])
    refused(path, "cannot be read")
    save_file({"fc.weight": torch.zeros(2)}, path)
    refused(path, "not a SAM checkpoint")


def test_a_model_and_further_tensors_beside_it(state: OrderedDict[str, Tensor], path: Path) -> None:
    tensors = {f"sam.{name}": value for name, value in state.items()}
    torch.save(tensors | {"head.weight": torch.zeros(2)}, path)
    refused(path, "under 'sam.' and 1 tensors (head.weight) beside it")


def test_another_depth_and_width(path: Path) -> None:
    from transformers import SamConfig, SamModel

    vision = VIT | {"hidden_size": 40, "num_attention_heads": 5, "num_hidden_layers": 4}
    vision |= {"global_attn_indexes": [0, 3], "window_size": 5, "mlp_dim": 56}
    decoder = {"hidden_size": 32, "mlp_dim": 24, "iou_head_hidden_dim": 16}
    with quiet_transformers():
        config = SamConfig(
            vision_config=vision,
            prompt_encoder_config=VIT_PROMPTS,
            mask_decoder_config=decoder | {"num_attention_heads": 8},
        )
        network = randomise(SamModel(config).eval(), seed=1)
    torch.save(original(network), path)
    model = load(path, device="cpu", encoder_dtype="float32")
    wanted = FAMILIES["sam"].wrap(network)
    image, prompt = picture((40, 56)), Prompt(points=[(10, 20)])
    found = model.predict(model.encode_pixels(image), prompt).logits
    np.testing.assert_array_equal(found, wanted.predict(wanted.encode_pixels(image), prompt).logits)


# -- recognition by shapes, without the gigabytes ---------------------------------------------


def shapes_of(width: int, depth: int, head: int, whole: tuple[int, ...]) -> dict[str, Any]:
    """The telling shapes of a published checkpoint, as segment-anything's code builds them."""
    shapes: dict[str, tuple[int, ...]] = {
        "image_encoder.pos_embed": (1, 64, 64, width),
        "image_encoder.patch_embed.proj.weight": (width, 3, 16, 16),
        "image_encoder.neck.0.weight": (256, width, 1, 1),
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, 128),
        "prompt_encoder.no_mask_embed.weight": (1, 256),
        "prompt_encoder.mask_downscaling.3.weight": (16, 4, 2, 2),
        "mask_decoder.iou_token.weight": (1, 256),
        "mask_decoder.mask_tokens.weight": (4, 256),
    }
    for i in range(depth):
        rows = 127 if i in whole else 27
        shapes[f"image_encoder.blocks.{i}.attn.rel_pos_h"] = (rows, head)
        shapes[f"image_encoder.blocks.{i}.attn.qkv.bias"] = (3 * width,)
        shapes[f"image_encoder.blocks.{i}.mlp.lin1.weight"] = (4 * width, width)
    for i in range(4):
        shapes[f"prompt_encoder.point_embeddings.{i}.weight"] = (1, 256)
    for i in range(2):
        layer = f"mask_decoder.transformer.layers.{i}"
        shapes[f"{layer}.cross_attn_token_to_image.q_proj.weight"] = (128, 256)
        shapes[f"{layer}.mlp.lin1.weight"] = (2048, 256)
    for i, size in enumerate([(256, 256), (256, 256), (4, 256)]):
        shapes[f"mask_decoder.iou_prediction_head.layers.{i}.weight"] = size
    return shapes


@pytest.mark.parametrize(
    ("variant", "width", "depth", "heads", "whole"),
    [
        ("ViT-B", 768, 12, 12, (2, 5, 8, 11)),
        ("ViT-L", 1024, 24, 16, (5, 11, 17, 23)),
        ("ViT-H", 1280, 32, 16, (7, 15, 23, 31)),
    ],
)
def test_published_sizes(
    variant: str, width: int, depth: int, heads: int, whole: tuple[int, ...]
) -> None:
    shapes = shapes_of(width, depth, width // heads, whole)
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    found = recognise(Checkpoint(Path("x.pth"), tensors))
    assert found.variant == variant
    assert found.vision == {
        "image_size": 1024,
        "patch_size": 16,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "mlp_dim": 4 * width,
        "qkv_bias": True,
        "window_size": 14,
        "global_attn_indexes": list(whole),
        "output_channels": 256,
        "num_pos_feats": 128,
    }
    assert found.prompt_encoder == {
        "image_size": 1024,
        "patch_size": 16,
        "hidden_size": 256,
        "mask_input_channels": 16,
        "num_point_embeddings": 4,
    }
    assert found.mask_decoder == {
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "attention_downsample_rate": 2,
        "mlp_dim": 2048,
        "num_multimask_outputs": 3,
        "iou_head_depth": 3,
        "iou_head_hidden_dim": 256,
    }


# -- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vision_encoder.pos_embed", ("transformers", "save_pretrained")),
        ("tracker.x.weight", ("SAM 3", "facebook/sam3")),
        ("image_encoder.blocks.0.mlp.fc1.weight", ("EfficientSAM", "mobile_sam.pt")),
        ("fc.weight", ("not a SAM checkpoint", "fc.weight", "samadapt models")),
    ],
)
def test_other_architectures_are_named(path: Path, name: str, words: tuple[str, ...]) -> None:
    torch.save({"model": {name: torch.zeros(2)}}, path)
    refused(path, *words)


def test_missing_tensors(state: OrderedDict[str, Tensor], path: Path) -> None:
    del state["mask_decoder.output_upscaling.1.bias"]
    torch.save(state, path)
    refused(path, "lacks 1 tensors (mask_decoder.upscale_layer_norm.bias)")
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, path)
    refused(path, "lacks mask_decoder.iou_token.weight")


def test_encoder_alone(state: OrderedDict[str, Tensor], path: Path) -> None:
    encoder = {name: value for name, value in state.items() if name.startswith("image_encoder")}
    torch.save(encoder, path)
    refused(path, "not a whole SAM")


@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.blocks.0.adapter.weight",
        "mask_decoder.hq_token.weight",
        "prompt_encoder.not_a_point_embed.weight.extra",
        "mask_decoder.output_upscaling.2.weight",
    ],
)
def test_unknown_tensors(state: OrderedDict[str, Tensor], path: Path, name: str) -> None:
    torch.save(state | {name: torch.zeros(3)}, path)
    refused(path, "1 tensors", name, "changed architecture")


def test_known_name_where_none_belongs(state: OrderedDict[str, Tensor], path: Path) -> None:
    torch.save(state | {"image_encoder.neck.0.bias": torch.zeros(32)}, path)
    refused(path, "vision_encoder.neck.conv1.bias")


def test_wrong_shape(state: OrderedDict[str, Tensor], path: Path) -> None:
    state["mask_decoder.output_upscaling.0.weight"] = torch.zeros(32, 9, 2, 2)
    torch.save(state, path)
    refused(path, "mask_decoder.upscale_conv1.weight has shape (32, 9, 2, 2)", "(32, 8, 2, 2)")


def test_shapes_that_contradict_each_other(state: OrderedDict[str, Tensor], path: Path) -> None:
    state["image_encoder.pos_embed"] = torch.zeros(1, 8, 9, 24)
    torch.save(state, path)
    refused(path, "do not fit together")
    state["image_encoder.pos_embed"] = torch.zeros(24)
    torch.save(state, path)
    refused(path, "do not fit together")


class Exploit:
    """Creates a folder when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_never_run(tmp_path: Path, path: Path, zipped: bool) -> None:
    marker = tmp_path / "hacked"
    content = {"image_encoder.pos_embed": torch.zeros(2), "evil": Exploit(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path, "could run code", "state_dict()")
    assert not marker.exists()


def test_whole_model_instead_of_its_tensors(networks: dict[str, Any], path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, "could run code")


def test_cut_off_and_foreign_files(state: OrderedDict[str, Tensor], path: Path) -> None:
    torch.save(state, path)
    size = path.stat().st_size
    for length in (size - 50, size // 2, 30, 0):
        os.truncate(path, length)
        refused(path, "cannot be read as a PyTorch checkpoint")
    path.write_text("<html>404: Not Found</html>")
    refused(path, "cannot be read as a PyTorch checkpoint")
    path.rename(path.with_suffix(".onnx"))
    refused(path.with_suffix(".onnx"), "give the folder that `samadapt export-model` wrote")


@pytest.mark.parametrize("content", [{}, [1, 2], torch.zeros(3), {"a": 1}, {1: torch.zeros(1)}])
def test_other_contents(path: Path, content: Any) -> None:
    torch.save(content, path)
    refused(path, "named tensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(
    state: OrderedDict[str, Tensor], path: Path, value: float
) -> None:
    state["image_encoder.pos_embed"].view(-1)[5] = value
    torch.save(state, path)
    refused(path, "image_encoder.pos_embed", "not finite")


def test_no_refusal_advises_to_open_it_all_the_same(tmp_path: Path, path: Path) -> None:
    archive = tmp_path / "archive.pth"
    with tarfile.open(archive, "w") as file:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Exploit(tmp_path / "hacked"))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    torch.save({"a": np.float64(1)}, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(torch.nn.Linear(2, 2))
        torch.jit.save(script, tmp_path / "script.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Exploit(tmp_path / "hacked")))
    for file in (archive, path, tmp_path / "script.pth", tmp_path / "plain.pth"):
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(file)
        told = str(caught.value)
        assert "could run code" in told
        for advice in ("weights_only", "trust", "torch.load", "safe_globals"):
            assert advice not in told
    assert not (tmp_path / "hacked").exists()
