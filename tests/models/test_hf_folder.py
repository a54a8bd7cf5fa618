"""Folders in Hugging Face format: what they give, and how broken ones are refused."""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import DECODER, FAMILIES, HIERA, HIERA_PROMPTS, Family, picture, randomise

from samadapt.errors import CheckpointError, ModelError
from samadapt.models.hf.files import find_weights
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.registry import load
from samadapt.prompts import Prompt


def save(network: Any, folder: Path, **options: Any) -> Path:
    with quiet_transformers():
        network.save_pretrained(folder, **options)
    return folder


@pytest.fixture
def sam_folder(networks: dict[str, Any], tmp_path: Path) -> Path:
    return save(networks["sam"], tmp_path / "my-sam")


def rewrite(folder: Path, **changes: Any) -> None:
    """Change, add or (None) drop tensors of a folder's weights."""
    path = folder / "model.safetensors"
    tensors = load_file(path) | changes
    kept = {name: value for name, value in tensors.items() if value is not None}
    path.unlink()
    save_file(kept, path, metadata={"format": "pt"})


def test_loaded_model_is_the_saved_one(
    family: Family, network: Any, model: Any, tmp_path: Path
) -> None:
    folder = save(network, tmp_path / "weights")
    loaded = load(folder, device="cpu", encoder_dtype="float32")
    assert type(loaded) is family.segmenter
    assert loaded.identity.name == "weights"
    assert loaded.identity.weights_hash == model.identity.weights_hash
    assert loaded.encoder_dtype == torch.float32
    assert loaded.network.mask_decoder.transformer.config._attn_implementation == "sdpa"
    image, prompt = picture((40, 56)), Prompt(points=[(10, 20)])
    found = loaded.predict(loaded.encode_pixels(image), prompt)
    wanted = model.predict(model.encode_pixels(image), prompt)
    np.testing.assert_array_equal(found.logits, wanted.logits)


def test_weights_do_not_depend_on_the_file_any_more(sam_folder: Path) -> None:
    model = load(sam_folder, device="cpu", encoder_dtype="float32")
    image = picture((40, 56))
    before = model.encode_pixels(image).image
    with (sam_folder / "model.safetensors").open("r+b") as file:
        file.write(bytes((sam_folder / "model.safetensors").stat().st_size))
    assert torch.equal(model.encode_pixels(image).image, before)


def test_name_of_a_folder_is_its_own(sam_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sam_folder)
    assert load(".", device="cpu").identity.name == "my-sam"
    monkeypatch.chdir(sam_folder.parent)
    assert load("my-sam", device="cpu").identity.name == "my-sam"
    assert load("my-sam/", device="cpu").identity.name == "my-sam"


def test_half_precision_files_are_read_as_float32(
    networks: dict[str, Any], sam_folder: Path
) -> None:
    path = sam_folder / "model.safetensors"
    halved = {name: value.bfloat16() for name, value in load_file(path).items()}
    path.unlink()
    save_file(halved, path, metadata={"format": "pt"})
    model = load(sam_folder, device="cpu", encoder_dtype="float32")
    assert {value.dtype for value in model.network.parameters()} == {torch.float32}


def test_pickled_weights_of_tensors_only(networks: dict[str, Any], sam_folder: Path) -> None:
    (sam_folder / "model.safetensors").unlink()
    torch.save(networks["sam"].state_dict(), sam_folder / "pytorch_model.bin")
    assert load(sam_folder, device="cpu").identity.name == "my-sam"


def test_sharded_weights(networks: dict[str, Any], tmp_path: Path) -> None:
    folder = save(networks["sam"], tmp_path / "shards", max_shard_size="40KB")
    whole = save(networks["sam"], tmp_path / "whole")
    files = find_weights(folder)
    assert len(files) > 1
    same = load(folder, device="cpu").identity.weights_hash
    assert same == load(whole, device="cpu").identity.weights_hash
    files[1].unlink()
    assert find_weights(folder) == []
    with pytest.raises(CheckpointError, match="no complete weights"):
        load(folder, device="cpu")


def test_either_name_of_the_positions_is_enough(networks: dict[str, Any], sam_folder: Path) -> None:
    wanted = load(sam_folder, device="cpu").identity.weights_hash
    tensors = load_file(sam_folder / "model.safetensors")
    a = "shared_image_embedding.positional_embedding"
    b = "prompt_encoder.shared_embedding.positional_embedding"
    positions = tensors[a] if a in tensors else tensors[b]
    for there, absent in ((a, b), (b, a)):
        rewrite(sam_folder, **{there: positions, absent: None})
        assert load(sam_folder, device="cpu").identity.weights_hash == wanted


def test_sam2_positions_are_shared_too(networks: dict[str, Any], tmp_path: Path) -> None:
    folder = save(networks["sam2"], tmp_path / "sam2")
    wanted = load(folder, device="cpu").identity.weights_hash
    rewrite(folder, **{"prompt_encoder.shared_embedding.positional_embedding": None})
    assert load(folder, device="cpu").identity.weights_hash == wanted


def test_video_checkpoints_serve_images(networks: dict[str, Any], tmp_path: Path) -> None:
    """The published SAM 2.1 folders hold the video model, of which images need a part."""
    memory = {
        "memory_attention_hidden_size": 32,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32,
    }
    with quiet_transformers():
        config = transformers.Sam2VideoConfig(
            vision_config=HIERA,
            prompt_encoder_config=HIERA_PROMPTS,
            mask_decoder_config=DECODER,
            image_size=64,
            **memory,
        )
        video = randomise(transformers.Sam2VideoModel(config).eval(), seed=7)
        video.load_state_dict(networks["sam2"].state_dict(), strict=False)
    folder = save(video, tmp_path / "video")
    assert json.loads((folder / "config.json").read_text())["model_type"] == "sam2_video"
    loaded = load(folder, device="cpu", encoder_dtype="float32")
    wanted = FAMILIES["sam2"].wrap(networks["sam2"])
    assert loaded.identity.weights_hash == wanted.identity.weights_hash


def test_sam3_combined_checkpoint(networks: dict[str, Any], tmp_path: Path) -> None:
    """The published SAM 3 holds detector and tracker, which share an encoder."""
    folder = save(networks["sam3"], tmp_path / "sam3")
    parts = {
        r"vision_encoder.backbone.": "detector_model.vision_encoder.backbone.",
        r"vision_encoder.neck.": "tracker_neck.",
        "": "tracker_model.",
    }
    combined = {"detector_model.other.weight": torch.zeros(2)}
    for name, value in networks["sam3"].state_dict().items():
        old, new = next((o, n) for o, n in parts.items() if name.startswith(o))
        combined[new + name.removeprefix(old)] = value
    (folder / "model.safetensors").unlink()
    save_file(combined, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "sam3_tracker_video"
    whole = {"model_type": "sam3_video", "tracker_config": config, "detector_config": {}}
    (folder / "config.json").write_text(json.dumps(whole))
    wanted = FAMILIES["sam3"].wrap(networks["sam3"])
    assert load(folder, device="cpu").identity.weights_hash == wanted.identity.weights_hash


def test_hq_token_only_is_for_sam_hq(
    networks: dict[str, Any], tmp_path: Path, sam_folder: Path
) -> None:
    hq = save(networks["sam_hq"], tmp_path / "hq")
    image, prompt = picture((40, 56)), Prompt(points=[(10, 20)])
    both, only = (load(hq, device="cpu", hq_token_only=only) for only in (False, True))
    a, b = (m.predict(m.encode_pixels(image), prompt).logits for m in (both, only))
    assert np.abs(a - b).max() > 0.1
    with pytest.raises(ModelError, match="hq_token_only is an option of SAM-HQ"):
        load(sam_folder, device="cpu", hq_token_only=True)


def test_loading_is_silent_and_leaves_no_trace(
    sam_folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = transformers.utils.logging
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        load(sam_folder, device="cpu")
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.records) == ("", "", [])
    assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == before


# -- what is refused ------------------------------------------------------------------------


def refused(path: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(path, device="cpu")
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    for word in words:
        assert word in text


def test_missing_tensor(sam_folder: Path) -> None:
    rewrite(sam_folder, **{"mask_decoder.iou_token.weight": None})
    refused(sam_folder, "lack 1 tensors (mask_decoder.iou_token.weight)")


def test_mismatched_tensor(sam_folder: Path) -> None:
    rewrite(sam_folder, **{"mask_decoder.iou_token.weight": torch.zeros(1, 33)})
    refused(sam_folder, "mask_decoder.iou_token.weight (1, 33) instead of (1, 32)")


def test_tensor_that_the_model_lacks(sam_folder: Path) -> None:
    rewrite(sam_folder, **{"mask_decoder.adapter.weight": torch.zeros(3)})
    refused(sam_folder, "hold 1 tensors (mask_decoder.adapter.weight)")


def test_cut_off_weights(sam_folder: Path) -> None:
    path = sam_folder / "model.safetensors"
    for length in (len(path.read_bytes()) - 100, 20, 0):
        os.truncate(path, length)
        refused(sam_folder, "cannot load the weights")


def test_pickled_code(sam_folder: Path) -> None:
    (sam_folder / "model.safetensors").unlink()
    marker = sam_folder / "hacked"
    torch.save({"a": Exploit(marker)}, sam_folder / "pytorch_model.bin")
    refused(sam_folder, "cannot load the weights")
    assert not marker.exists()
    with pytest.raises(CheckpointError) as caught:
        load(str(sam_folder))
    assert "could run code" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("weights_only", "trust", "torch.load"))


def test_numbers_that_are_not_finite(sam_folder: Path) -> None:
    name = "mask_decoder.iou_token.weight"
    with safe_open(sam_folder / "model.safetensors", "pt") as file:
        damaged = file.get_tensor(name)
    damaged[0, 0] = torch.nan
    rewrite(sam_folder, **{name: damaged})
    refused(sam_folder, name, "not finite")


class Exploit:
    """Creates a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_no_weights(sam_folder: Path) -> None:
    (sam_folder / "model.safetensors").unlink()
    refused(sam_folder, "no complete weights", "model.safetensors")


def test_other_architecture(sam_folder: Path) -> None:
    (sam_folder / "config.json").write_text('{"model_type": "bert"}')
    refused(sam_folder, "'bert'", "sam, sam_hq, sam2")


def test_edgetam_says_why(sam_folder: Path) -> None:
    (sam_folder / "config.json").write_text('{"model_type": "edgetam_video"}')
    refused(sam_folder, "edgetam_video", "torchvision")


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\x00"])
def test_broken_config(sam_folder: Path, text: str) -> None:
    (sam_folder / "config.json").write_text(text)
    refused(sam_folder)


def test_config_with_impossible_values(sam_folder: Path) -> None:
    path = sam_folder / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"]["hidden_size"] = "wide"
    path.write_text(json.dumps(config))
    refused(sam_folder, "cannot load")


def test_config_that_contradicts_itself(sam_folder: Path) -> None:
    path = sam_folder / "config.json"
    config = json.loads(path.read_text())
    config["prompt_encoder_config"]["image_size"] = 1024
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="64 pixels, prompts for 1024"):
        load(sam_folder, device="cpu")


def test_empty_folder_and_adapter_folder(tmp_path: Path) -> None:
    refused(tmp_path, "no config.json", "model.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(tmp_path, "this is an adapter", "load_adapter")


def test_weights_file_without_its_folder(sam_folder: Path) -> None:
    refused(sam_folder / "model.safetensors", "give the folder")
    broken = sam_folder / "broken.safetensors"
    broken.write_bytes(b"nothing of use")
    refused(broken, "damaged")
    shutil.copy(sam_folder / "config.json", sam_folder / "config.txt")
    refused(sam_folder / "config.txt", "is no model file")
