"""Prompts are answered in the model's number format; what records gradients is in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Box, Prompt
from small_models import FROM_FILES, NAMES, tiny_model

PROMPTS = [Prompt([(20.0, 30.0)], [1]), Prompt([(40.0, 12.0)], [1])]


@pytest.mark.parametrize("name", [*NAMES, *FROM_FILES])
def test_reduced_precision_is_for_answers_alone(name: str) -> None:
    model = tiny_model(name)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    embedding = model.encode(pixels)
    exact = decode(model)(embedding)
    model.encoder_dtype = torch.bfloat16
    answered, learned = decode(model)(embedding), decode(model, gradients=True)(embedding)
    torch.testing.assert_close(learned, exact, rtol=0, atol=0)
    assert answered.dtype == torch.float32
    assert not torch.equal(answered, exact)
    scale = float(exact.abs().max())
    assert float((answered - exact).abs().max()) < 0.1 * scale
    found = model.predict(embedding, Prompt([(20.0, 30.0)], [1], box=Box(5, 5, 40, 40)))
    assert found.logits.dtype == np.float32
    assert found.scores.dtype == np.float32


def decode(
    model: SegmentationModel, gradients: bool = False
) -> Callable[[ImageEmbedding], torch.Tensor]:
    def run(embedding: ImageEmbedding) -> torch.Tensor:
        with torch.set_grad_enabled(gradients):
            return model.decode(embedding, PROMPTS, True).logits.detach()

    return run
