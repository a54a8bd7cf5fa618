"""What an image contributes to a step of fitting."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import samadapt
from samadapt.adapters.fitting import Phase
from samadapt.adapters.losses import mask_loss
from samadapt.adapters.stable import StableAdapter
from samadapt.training.fitting.step import TrainingSample, learn_image
from small_models import tiny_model


def scene() -> tuple[np.ndarray, np.ndarray]:
    """An image of a bright rectangle, and its mask."""
    image = np.random.default_rng(3).integers(0, 60, (96, 128, 3), np.uint8)
    image[20:70, 30:90] += 150
    mask = np.zeros((96, 128), bool)
    mask[20:70, 30:90] = True
    return image, mask


CLICKS = samadapt.Prompt([(40.5, 30.5), (60.5, 45.5), (80.5, 60.5), (10.5, 10.5)], [1, 1, 1, 0])


def logits_learned(model: samadapt.SegmentationModel) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (h, w) that several clicks are learned from, predicted ones, and those of one call."""
    image, mask = scene()
    adapter = StableAdapter()
    adapter.bind(model)
    assert adapter.module is not None
    adapter.module.requires_grad_(True)
    embedding = model.encode(image)
    seen: list[Tensor] = []

    def loss(logits: Tensor, target: Tensor, valid: Tensor, view: object) -> Tensor:
        seen.append(logits.detach().clone())
        return mask_loss(logits, target, valid)

    sample = TrainingSample(CLICKS, torch.from_numpy(mask)[None, None])
    phase = Phase(tuple(adapter.module.parameters()), loss)
    tally = learn_image(model, [adapter], embedding, [sample], phase)
    assert tally.prompts == len(seen) == len(seen[0]) == 1
    predicted = model.predict(embedding, CLICKS, adapters=[adapter])
    at_once = model.decode(embedding, [CLICKS], adapters=[adapter])
    return seen[0][0], torch.tensor(predicted.logits[0]), at_once.logits[0, 0].detach()


def test_several_clicks_are_learned_as_they_are_answered() -> None:
    learned, predicted, at_once = logits_learned(samadapt.load("nano", encoder_dtype="float32"))
    torch.testing.assert_close(learned, predicted, rtol=1e-4, atol=1e-4)
    assert learned.shape != at_once.shape or not torch.allclose(learned, at_once, atol=0.1)


def test_where_clicks_are_not_answered_in_turn_they_are_learned_at_once() -> None:
    learned, predicted, at_once = logits_learned(tiny_model("sam"))
    torch.testing.assert_close(learned, at_once, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(learned, predicted, rtol=1e-4, atol=1e-4)
