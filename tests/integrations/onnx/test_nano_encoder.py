"""nano with its image encoder in onnxruntime: the answers of torch, and it still learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import samadapt
from fakes import blobs
from samadapt import Prompt
from samadapt.models import predictor
from samadapt.models.base import SegmentationModel

PICTURE = blobs().repeat(5, 0).repeat(5, 1)


@pytest.fixture(scope="module")
def in_torch() -> SegmentationModel:
    return samadapt.load("nano", "cpu", "float32")


@pytest.fixture(scope="module")
def mixed() -> SegmentationModel:
    return samadapt.load("nano", "cpu", runtime="onnxruntime")


@pytest.mark.parametrize("size", [(200, 280), (90, 60), (40, 40)])
def test_the_shipped_graph_is_the_encoder(
    in_torch: SegmentationModel, mixed: SegmentationModel, size: tuple[int, int]
):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours, theirs = in_torch.encode(pixels), mixed.encode(pixels)
    assert ours.model == theirs.model
    assert ours.features.keys() == theirs.features.keys()
    for name, values in ours.features.items():
        assert values.shape == theirs.features[name].shape
        allowed = 1e-4 * max(1.0, float(values.abs().max()))
        assert torch.allclose(values.float(), theirs.features[name].float(), rtol=0, atol=allowed)


def test_a_batch_is_encoded_image_by_image(mixed: SegmentationModel):
    batch = mixed.encode_batch([PICTURE, PICTURE[:, ::-1].copy()])
    for pixels, found in zip((PICTURE, PICTURE[:, ::-1].copy()), batch, strict=True):
        assert torch.equal(found.image, mixed.encode(pixels).image)


def test_clicks_and_refined_corrections(
    in_torch: SegmentationModel, mixed: SegmentationModel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(predictor, "correction_window", lambda *_: (130, 90, 240, 190))
    found = []
    for model in (in_torch, mixed):
        embedding = model.encode(PICTURE)
        first = model.predict(embedding, Prompt([(70.0, 60.0)], [1]))
        again = Prompt([(70.0, 60.0), (190.0, 145.0)], [1, 1])
        found.append(model.predict(embedding, again.with_mask(first.logits[0], first.window)))
    assert (found[0].masks == found[1].masks).mean() > 0.9999
    assert np.allclose(found[0].logits, found[1].logits, atol=1e-3)


def test_adapters_learn(mixed: SegmentationModel):
    session = samadapt.Session(mixed, adapters=[samadapt.OnlineAdapter()])
    session.open(PICTURE)
    session.click(70.0, 60.0)
    assert session.accept(label="disc").any()
