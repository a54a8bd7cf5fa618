"""The graphs of an export, run by torch: no export and no onnxruntime is needed to try them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import samadapt
from fakes import blobs
from moved_adapters import trained
from samadapt import AdapterError, Box, DataError, ModelError, Prompt
from samadapt.adapters.registry import create_adapter, default_specs
from samadapt.exporting.export import describe
from samadapt.exporting.graphs import DecoderGraph, EncoderGraph
from samadapt.models import predictor
from samadapt.models.base import SegmentationModel
from samadapt.models.onnx.description import LOGITS, SCORES
from samadapt.models.onnx.model import OnnxModel
from samadapt.models.parts.runtime import IMAGE, PIXELS, graph_name
from samadapt.models.seams import Seams
from small_models import FROM_FILES, NAMES, tiny_model, tiny_nano

PIXELS_OF_IMAGE = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
BOX = Box(10, 10, 60, 40)
LOGITS_SEED = 1

PROMPTS = {
    "one click": [Prompt([(40.0, 30.0)], [1])],
    "three prompts of two clicks": [
        Prompt([(10.0 * i, 20.0), (50.0, 8.0 * i)], [1, 0]) for i in (1, 2, 3)
    ],
    "a box": [Prompt(box=BOX)],
    "a box and a click": [Prompt([(30.0, 30.0)], [1], box=BOX)],
}


@dataclass
class TorchGraph:
    """Stands in for `Graph`: the module itself instead of what is made of it."""

    module: torch.nn.Module
    features: Sequence[str]
    outputs: Sequence[str]

    def check(self, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        pass

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = dict(inputs)
        if PIXELS not in given:
            given["features"] = [given.pop(graph_name(name)) for name in self.features]
        with torch.no_grad():
            return dict(zip(self.outputs, self.module(**given), strict=True))


def in_torch(model: SegmentationModel, adapters: Sequence[Seams] = ()) -> OnnxModel:
    """What `export_model` and `load` make of a model, with torch in place of onnxruntime."""
    parts, example = model.parts(), model.encode(PIXELS_OF_IMAGE)
    decoder = DecoderGraph(parts, model.decoder, adapters, example)
    names = [graph_name(name) for name in parts.features]
    encoder: Any = TorchGraph(EncoderGraph(parts), parts.features, names)
    graph: Any = TorchGraph(decoder, parts.features, [SCORES, LOGITS])
    plain = OnnxModel(describe(model, parts, (), {}, has_merged_dense=False), encoder, graph)
    plain.decode(example, PROMPTS["one click"])  # tells whether the dense prompt is changed
    changes = decoder.changes_dense
    description = describe(model, parts, tuple(adapters), {}, has_merged_dense=changes)
    return OnnxModel(description, encoder, graph)


def same(ours: samadapt.Prediction, theirs: samadapt.Prediction) -> None:
    assert theirs.window == ours.window
    assert theirs.logits.shape == ours.logits.shape
    assert np.allclose(theirs.logits, ours.logits, atol=2e-4, rtol=1e-4)
    assert np.allclose(theirs.scores, ours.scores, atol=1e-4)
    assert (ours.masks == theirs.masks).mean() > 0.9999


@pytest.mark.parametrize("name", [*NAMES, *FROM_FILES])
class TestFamilies:
    def test_answers_are_those_of_the_model(self, name: str):
        model = tiny_model(name)
        other = in_torch(model)
        seen, also = model.encode(PIXELS_OF_IMAGE), other.encode(PIXELS_OF_IMAGE)
        rng = np.random.default_rng(LOGITS_SEED)
        logits = rng.normal(0, 4, model.logits_size(seen)).astype(np.float32)
        earlier = [Prompt(mask=logits), Prompt([(40.0, 30.0)], [1], mask=logits)]
        for prompts in (*PROMPTS.values(), earlier[:1], earlier[1:]):
            for multimask in (False, True):
                first = model.predict(seen, prompts, multimask)
                second = other.predict(also, prompts, multimask)
                for pair in zip(first, second, strict=True):
                    same(*pair)

    def test_a_bool_mask_and_a_correction(self, name: str):
        model = tiny_model(name)
        other = in_torch(model)
        seen, also = model.encode(PIXELS_OF_IMAGE), other.encode(PIXELS_OF_IMAGE)
        mask = np.zeros(PIXELS_OF_IMAGE.shape[:2], bool)
        mask[20:26, 30:38] = True
        prompt = Prompt([(33.0, 23.0)], [1], mask=mask)
        first = model.predict(seen, prompt)
        same(first, other.predict(also, prompt))
        assert (first.window is not None) == model.spec.has_close_ups
        again = Prompt([(33.0, 23.0), (70.0, 50.0)], [1, 0], None, first.logits[0], first.window)
        same(model.predict(seen, again), other.predict(also, again))

    def test_the_model_is_told_apart(self, name: str):
        model = tiny_model(name)
        other = in_torch(model)
        assert other.identity != model.identity
        with pytest.raises(ModelError, match="encode the image again"):
            other.predict(model.encode(PIXELS_OF_IMAGE), PROMPTS["one click"])


def test_a_correction_is_refined_on_a_close_up(monkeypatch: pytest.MonkeyPatch):
    model = samadapt.load("nano", "cpu", "float32")
    other = in_torch(model)
    pixels = blobs().repeat(5, 0).repeat(5, 1)
    seen, also = model.encode(pixels), other.encode(pixels)
    first = model.predict(seen, Prompt([(70.0, 60.0)], [1]))
    again = Prompt([(70.0, 60.0), (190.0, 145.0)], [1, 1])
    again = again.with_mask(first.logits[0], first.window)
    monkeypatch.setattr(predictor, "correction_window", lambda *_: None)
    plain = other.predict(also, again)
    monkeypatch.setattr(predictor, "correction_window", lambda *_: (130, 90, 240, 190))
    refined = other.predict(also, again)
    same(model.predict(seen, again), refined)
    assert not np.array_equal(refined.masks, plain.masks)


class TestAdapters:
    @pytest.mark.parametrize("name", ["nano", "sam", "sam2"])
    @pytest.mark.parametrize(
        "specs", [["stable"], ["lora"], ["tokens"], ["task-prompt"], ["lora", "stable", "tokens"]]
    )
    def test_what_is_merged_answers_like_the_adapters(self, specs: list[str], name: str):
        model = tiny_model(name)
        adapters = [trained(spec, model) for spec in specs]
        other = in_torch(model, adapters)
        seen, also = model.encode(PIXELS_OF_IMAGE), other.encode(PIXELS_OF_IMAGE)
        for prompt in (PROMPTS["one click"][0], PROMPTS["a box and a click"][0]):
            ours = model.predict(seen, prompt, True, adapters)
            same(ours, other.predict(also, prompt, True))
            plain = model.predict(seen, prompt, True)
            assert np.abs(plain.logits - ours.logits).max() > 1e-3

    def test_a_task_that_violates_clicks_gives_way(self):
        model = tiny_nano()
        adapter = trained("task-prompt", model)
        other = in_torch(model, [adapter])
        assert other.spec.has_merged_dense
        seen = model.encode(PIXELS_OF_IMAGE)
        for own_dense in (False, True):
            ours = model._predictor.decode(seen, PROMPTS["one click"], True, [adapter], own_dense)
            theirs = other._predictor.decode(seen, PROMPTS["one click"], True, (), own_dense)
            assert torch.allclose(ours.logits, theirs.logits, atol=2e-4, rtol=1e-4)

    @pytest.mark.parametrize(
        ("spec", "text"),
        [("point-matching", "contours"), ("task-prompt", "learned nothing"), ("tokens", "nothing")],
    )
    def test_what_cannot_be_exported(self, spec: str, text: str):
        with pytest.raises(AdapterError, match=text):
            create_adapter(spec, tiny_nano()).check_export()

    def test_an_exported_model_takes_none(self):
        other = in_torch(tiny_nano())
        with pytest.raises(AdapterError, match="neither learn nor take"):
            samadapt.Session(other, adapters=[samadapt.OnlineAdapter()])
        with pytest.raises(AdapterError, match="neither learn nor take"):
            create_adapter("stable", other)
        assert default_specs(other) == ()
        assert default_specs(tiny_nano()) == ("online",)

    def test_a_session_without_any(self):
        session = samadapt.Session(in_torch(tiny_nano()))
        session.open(PIXELS_OF_IMAGE)
        session.click(40.0, 30.0)
        session.click(10.0, 10.0, positive=False)
        assert session.accept(label="thing").shape == PIXELS_OF_IMAGE.shape[:2]


class TestRefusals:
    def test_a_folder_that_exists(self, tmp_path: Path):
        with pytest.raises(DataError, match="exists"):
            samadapt.export_model(tiny_nano(), tmp_path)

    def test_a_folder_in_no_folder(self, tmp_path: Path):
        with pytest.raises(DataError, match="does not exist, make it first"):
            samadapt.export_model(tiny_nano(), tmp_path / "a" / "b")

    @pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
    def test_without_a_package(self, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def find_spec(name: str, *args: Any) -> Any:
            return None if name == package else object()

        monkeypatch.setattr("importlib.util.find_spec", find_spec)
        with pytest.raises(ModelError, match=rf"needs {package}: pip install 'samadapt\[onnx\]'"):
            samadapt.export_model(tiny_nano(), tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_what_was_exported_already(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("samadapt.exporting.export.check_packages", lambda: None)
        with pytest.raises(ModelError, match="cannot be exported"):
            samadapt.export_model(in_torch(tiny_nano()), tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_an_adapter_of_another_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("samadapt.exporting.export.check_packages", lambda: None)
        adapter = trained("stable", tiny_nano(seed=1))
        with pytest.raises(AdapterError, match="was made for"):
            samadapt.export_model(tiny_nano(), tmp_path / "out", [adapter])
        assert list(tmp_path.iterdir()) == []

    def test_a_model_that_was_not_loaded_in_float32(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("samadapt.exporting.export.check_packages", lambda: None)
        model = samadapt.load("nano", "cpu", "bfloat16")
        with pytest.raises(ModelError, match="bfloat16: load it with encoder_dtype float32"):
            samadapt.export_model(model, tmp_path / "out")

    def test_runtimes(self):
        with pytest.raises(ModelError, match="export-model DIR --model facebook/sam-vit-base"):
            samadapt.load("facebook/sam-vit-base", runtime="onnxruntime")
        with pytest.raises(ModelError, match="use auto, torch, onnxruntime"):
            samadapt.load("nano", runtime="tflite")


def test_the_names_of_optimum():
    assert (PIXELS, IMAGE, SCORES, LOGITS) == (
        "pixel_values",
        "image_embeddings",
        "iou_scores",
        "pred_masks",
    )
