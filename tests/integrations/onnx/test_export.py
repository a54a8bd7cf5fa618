"""Exported models answer as the models that they were made of."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import samadapt
from samadapt import AdapterError, Box, DataError, ModelError, Prompt
from samadapt.adapters.registry import create_adapter
from samadapt.exporting import check
from samadapt.models.base import SegmentationModel
from samadapt.models.onnx.description import DECODER, DESCRIPTION, ENCODER
from small_models import NAMES, tiny_model, tiny_nano

PIXELS = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
"""Of another size than the images that an export is checked with."""

PROMPTS = {
    "one click": [Prompt([(40.0, 30.0)], [1])],
    "three prompts of two clicks": [
        Prompt([(10.0 * i, 20.0), (50.0, 8.0 * i)], [1, 0]) for i in (1, 2, 3)
    ],
    "a box": [Prompt(box=Box(10, 10, 60, 40))],
    "a box and a click": [Prompt([(30.0, 30.0)], [1], box=Box(10, 10, 60, 40))],
}


def largest(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max()) / max(1.0, float(np.abs(first).max()))


@pytest.mark.parametrize("name", NAMES)
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

    def test_a_correction_with_the_earlier_mask(self, exported: Any, name: str):
        model, folder = exported(name)
        other = samadapt.load(folder)
        seen, also = model.encode(PIXELS), other.encode(PIXELS)
        first = model.predict(seen, Prompt([(40.0, 30.0)], [1]))
        logits = first.logits[first.best]
        again = Prompt([(40.0, 30.0), (70.0, 20.0)], [1, 0], mask=logits, window=first.window)
        ours, theirs = model.predict(seen, again), other.predict(also, again)
        assert theirs.window == ours.window
        assert largest(ours.logits, theirs.logits) < 1e-4
        without = model.predict(seen, Prompt([(40.0, 30.0), (70.0, 20.0)], [1, 0]))
        assert not np.array_equal(without.logits, ours.logits)

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

    def test_an_embedding_of_the_other_is_refused(self, exported: Any, name: str):
        model, folder = exported(name)
        other = samadapt.load(folder)
        with pytest.raises(ModelError, match="encode the image again"):
            other.predict(model.encode(PIXELS), PROMPTS["one click"])


def trained(spec: str, model: SegmentationModel) -> samadapt.Adapter:
    """An adapter of this method whose parameters are all moved from where they start."""
    adapter = create_adapter(spec, model)
    generator = torch.Generator().manual_seed(5)
    module = adapter.module
    assert module is not None
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return adapter


class TestAdapters:
    @pytest.mark.parametrize("spec", ["stable", "lora", "tokens", "task-prompt"])
    def test_what_is_merged_answers_like_the_adapter(
        self, spec: str, tmp_path: Path, known_encoder: Any
    ):
        model = tiny_nano()
        known_encoder("nano")
        adapter = trained(spec, model)
        samadapt.export_model(model, tmp_path / "out", [adapter])
        other = samadapt.load(tmp_path / "out")
        seen, also = model.encode(PIXELS), other.encode(PIXELS)
        for prompt in (PROMPTS["one click"][0], PROMPTS["a box and a click"][0]):
            ours = model.predict(seen, prompt, True, [adapter])
            theirs = other.predict(also, prompt, True)
            plain = model.predict(seen, prompt, True)
            assert largest(ours.logits, theirs.logits) < 1e-4
            assert largest(plain.logits, ours.logits) > 1e-3
        said = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
        assert [entry["method"] for entry in said["adapters"]] == [adapter.method]
        assert said["decoder"]["has_merged_dense"] == (spec == "task-prompt")

    def test_two_in_order_on_sam(self, tmp_path: Path, known_encoder: Any):
        model = tiny_model("sam")
        known_encoder("sam")
        adapters = [trained("lora", model), trained("stable", model)]
        samadapt.export_model(model, tmp_path / "out", adapters)
        other = samadapt.load(tmp_path / "out")
        prompt = PROMPTS["one click"][0]
        ours = model.predict(model.encode(PIXELS), prompt, adapters=adapters)
        theirs = other.predict(other.encode(PIXELS), prompt)
        assert largest(ours.logits, theirs.logits) < 1e-4

    @pytest.mark.parametrize(
        ("spec", "text"),
        [("point-matching", "contours"), ("task-prompt", "learned nothing"), ("tokens", "nothing")],
    )
    def test_what_cannot_be_exported(self, spec: str, text: str, tmp_path: Path):
        model = tiny_nano()
        with pytest.raises(AdapterError, match=text):
            samadapt.export_model(model, tmp_path / "out", [create_adapter(spec, model)])
        assert list(tmp_path.iterdir()) == []

    def test_one_of_another_model(self, tmp_path: Path):
        adapter = trained("stable", tiny_nano(seed=1))
        with pytest.raises(AdapterError, match="was made for"):
            samadapt.export_model(tiny_nano(), tmp_path / "out", [adapter])
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    def test_a_folder_that_exists(self, tmp_path: Path):
        with pytest.raises(DataError, match="exists"):
            samadapt.export_model(tiny_nano(), tmp_path)

    def test_a_folder_in_no_folder(self, tmp_path: Path):
        with pytest.raises(DataError, match="does not exist, make it first"):
            samadapt.export_model(tiny_nano(), tmp_path / "a" / "b")

    @pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
    def test_without_a_package(self, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        real = importlib.util.find_spec

        def find_spec(name: str, *args: Any) -> Any:
            return None if name == package else real(name, *args)

        monkeypatch.setattr("importlib.util.find_spec", find_spec)
        with pytest.raises(ModelError, match=rf"needs {package}.*samadapt\[onnx\]"):
            samadapt.export_model(tiny_nano(), tmp_path / "out")

    def test_loading_without_onnxruntime(self, exported: Any, monkeypatch: pytest.MonkeyPatch):
        _, folder = exported("nano")
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ModelError, match=r"pip install 'samadapt\[onnx\]'"):
            samadapt.load(folder)

    def test_an_export_that_differs_leaves_nothing(
        self, tmp_path: Path, known_encoder: Any, monkeypatch: pytest.MonkeyPatch
    ):
        known_encoder("sam")
        monkeypatch.setattr(check, "TOLERANCE", 0.0)
        with pytest.raises(ModelError, match="differs from the model in"):
            samadapt.export_model(tiny_model("sam"), tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
