"""Exported models answer, in onnxruntime, as the models that they were made of.

What the graphs compute is tried in `tests/exporting` without an export, for all families; here
are those whose graphs differ most.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import samadapt
from moved_adapters import trained
from samadapt import Box, ModelError, Prompt
from samadapt.exporting import check
from samadapt.models.onnx.description import DECODER, DESCRIPTION, ENCODER
from small_models import tiny_model

PIXELS = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
"""Of another size than the images that an export is checked with."""

PROMPTS = {
    "one click": [Prompt([(40.0, 30.0)], [1])],
    "three prompts of two clicks": [
        Prompt([(10.0 * i, 20.0), (50.0, 8.0 * i)], [1, 0]) for i in (1, 2, 3)
    ],
    "a box": [Prompt(box=Box(10, 10, 60, 40))],
}


def largest(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max()) / max(1.0, float(np.abs(first).max()))


@pytest.mark.parametrize("name", ["nano", "sam"])
class TestFamilies:
    def test_it_answers_prompts_like_torch(self, exported: Any, name: str):
        model, folder = exported(name)
        other = samadapt.load(folder, runtime="onnxruntime")
        seen, also = model.encode(PIXELS), other.encode(PIXELS)
        for prompts in PROMPTS.values():
            for multimask in (False, True):
                pairs = zip(
                    model.predict(seen, prompts, multimask),
                    other.predict(also, prompts, multimask),
                    strict=True,
                )
                for ours, theirs in pairs:
                    assert theirs.window == ours.window
                    assert largest(ours.logits, theirs.logits) < 1e-4
                    assert largest(ours.scores, theirs.scores) < 1e-4
                    assert (ours.masks == theirs.masks).mean() > 0.9999

    def test_the_graphs_have_the_names_of_optimum(self, exported: Any, name: str):
        _, folder = exported(name)
        encoder = onnxruntime.InferenceSession(str(folder / ENCODER))
        decoder = onnxruntime.InferenceSession(str(folder / DECODER))
        assert (folder / "vision_encoder.onnx").is_file()
        assert (folder / "prompt_encoder_mask_decoder.onnx").is_file()
        assert [i.name for i in encoder.get_inputs()] == ["pixel_values"]
        assert encoder.get_outputs()[0].name == "image_embeddings"
        inputs = {i.name for i in decoder.get_inputs()}
        assert {"image_embeddings", "input_points", "input_labels"} <= inputs
        assert [o.name for o in decoder.get_outputs()] == ["iou_scores", "pred_masks"]


@pytest.mark.parametrize(
    ("name", "specs"),
    [
        ("sam", ["lora", "stable", "tokens", "task-prompt"]),
        ("sam_hq", ["lora"]),
        ("nano", ["stable"]),
        ("nano", ["task-prompt"]),
    ],
)
def test_adapters_are_merged(tmp_path: Path, known_encoder: Any, name: str, specs: list[str]):
    model = tiny_model(name)
    adapters = [trained(spec, model) for spec in specs]
    known_encoder(name)
    samadapt.export_model(model, tmp_path / "out", adapters)
    other = samadapt.load(tmp_path / "out")
    seen, also = model.encode(PIXELS), other.encode(PIXELS)
    ours = model.predict(seen, PROMPTS["one click"][0], True, adapters)
    theirs = other.predict(also, PROMPTS["one click"][0], True)
    assert largest(ours.logits, theirs.logits) < 1e-4
    said = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
    assert [entry["method"] for entry in said["adapters"]] == specs
    assert said["decoder"]["has_merged_dense"] == ("task-prompt" in specs)


class TestRefusals:
    def test_loading_without_onnxruntime(self, exported: Any, monkeypatch: pytest.MonkeyPatch):
        _, folder = exported("sam")
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ModelError, match=r"pip install 'samadapt\[onnx\]'"):
            samadapt.load(folder)

    def test_an_export_that_differs_leaves_nothing(
        self, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        model, folder = exported("sam")

        def copy(source: str) -> Any:
            def write(*args: Any) -> None:
                args[-1].write_bytes((folder / source).read_bytes())

            return write

        monkeypatch.setattr("samadapt.exporting.export.write_encoder", copy(ENCODER))
        monkeypatch.setattr("samadapt.exporting.export.write_decoder", copy(DECODER))
        monkeypatch.setattr(check, "TOLERANCE", 0.0)
        with pytest.raises(ModelError, match="differs from the model in"):
            samadapt.export_model(model, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
