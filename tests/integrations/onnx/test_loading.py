"""Folders of exported models: what can be done with them, and what is said of damaged ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samadapt
from samadapt import CheckpointError, ModelError, Prompt
from samadapt.models.onnx.description import DECODER, DESCRIPTION, ENCODER

PIXELS = np.random.default_rng(4).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture
def copied(exported: Any, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(exported("sam")[1], tmp_path / "copy"))


class TestDamage:
    @pytest.mark.parametrize("name", [ENCODER, DECODER])
    def test_a_changed_file(self, copied: Path, name: str):
        data = bytearray((copied / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copied / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=f"{name} is not the file"):
            samadapt.load(copied)

    def test_a_missing_file(self, copied: Path):
        (copied / DECODER).unlink()
        with pytest.raises(CheckpointError, match=f"lacks {DECODER}"):
            samadapt.load(copied)

    def test_another_program_s_export(self, copied: Path):
        (copied / DESCRIPTION).unlink()
        with pytest.raises(CheckpointError, match=f"no {DESCRIPTION}"):
            samadapt.load(copied)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "samadapt-onnx-2"}', "\xff"])
    def test_a_damaged_description(self, copied: Path, text: str):
        (copied / DESCRIPTION).write_bytes(text.encode("latin-1"))
        with pytest.raises(CheckpointError, match="export the model again"):
            samadapt.load(copied)

    @pytest.mark.parametrize(
        ("part", "name", "value", "text"),
        [
            ("decoder", "width", 0, r"decoder\.width"),
            ("preprocessing", "side", -1, "side -1"),
            ("preprocessing", "std", [0.0, 1.0, 1.0], "std 0"),
            ("decoder", "has_merged_dense", True, "own_dense"),
        ],
    )
    def test_a_description_that_makes_no_sense(
        self, copied: Path, part: str, name: str, value: object, text: str
    ):
        said = json.loads((copied / DESCRIPTION).read_text())
        said[part][name] = value
        (copied / DESCRIPTION).write_text(json.dumps(said))
        with pytest.raises(CheckpointError, match=text):
            samadapt.load(copied)


class TestLimits:
    def test_runtimes(self, exported: Any):
        _, folder = exported("sam")
        with pytest.raises(ModelError, match="runs in onnxruntime, not in torch"):
            samadapt.load(folder, runtime="torch")

    def test_number_formats(self, exported: Any):
        with pytest.raises(ModelError, match="float32"):
            samadapt.load(exported("sam")[1], encoder_dtype="bfloat16")

    def test_embeddings_can_be_kept(self, exported: Any, tmp_path: Path):
        other = samadapt.load(exported("sam")[1])
        embedding = other.encode(PIXELS)
        embedding.save(tmp_path / "one.safetensors")
        again = samadapt.ImageEmbedding.load(tmp_path / "one.safetensors")
        prompt = Prompt([(33.0, 23.0)], [1])
        first, second = other.predict(embedding, prompt), other.predict(again, prompt)
        assert torch.equal(torch.tensor(first.logits), torch.tensor(second.logits))
