"""nano's mask decoder: sub-pixels and what the score head is told of a mask, by hand."""

from __future__ import annotations

import pytest
import torch

from samadapt.models.nano.decoder import MASKS, NanoMaskDecoder, mask_cues
from small_models import TINY_NANO


def test_each_cell_answers_for_its_four_sub_pixels() -> None:
    torch.manual_seed(0)
    decoder = NanoMaskDecoder(TINY_NANO)
    pixels, tokens = torch.randn(2, 8, 3, 5), torch.randn(2, MASKS, 16)
    with torch.no_grad():
        logits = decoder._masks(pixels, tokens)
        weights = torch.stack([net(tokens[:, i]) for i, net in enumerate(decoder.hypernetworks)], 1)
    assert logits.shape == (2, MASKS, 6, 10)
    for mask, row, column in ((0, 0, 0), (1, 2, 4), (3, 1, 3)):
        for dy in (0, 1):
            for dx in (0, 1):
                part = weights[1, mask].view(4, 8)[2 * dy + dx]
                expected = float(part @ pixels[1, :, row, column])
                found = float(logits[1, mask, 2 * row + dy, 2 * column + dx])
                assert found == pytest.approx(expected, abs=1e-4)


def test_cues_by_hand() -> None:
    logits = torch.full((1, 1, 8, 8), -2.0)
    logits[..., :4, :8] = 0.5  # half of the image, not stable
    logits[..., :2, :8] = 2.0  # a quarter of it, stable
    sure, stability, share, doubt = mask_cues(logits)[0, 0].tolist()
    p = {z: 1 / (1 + torch.exp(torch.tensor(-z)).item()) for z in (-2.0, 0.5, 2.0)}
    assert sure == pytest.approx((p[2.0] + p[0.5]) / 2, abs=1e-5)
    assert stability == pytest.approx(0.5)  # 4 cells above 1, 8 above -1
    assert share == pytest.approx(5 + torch.tensor(0.5).log10().item(), abs=1e-5)
    mean = ((p[2.0] - 0.5) + (p[0.5] - 0.5) + 2 * (0.5 - p[-2.0])) / 4
    assert doubt == pytest.approx(mean, abs=1e-5)


def test_cues_of_an_empty_mask_are_finite() -> None:
    cues = mask_cues(torch.full((1, 2, 4, 4), -9.0))
    assert cues.isfinite().all()
    assert cues[..., 0].tolist() == [[0.0, 0.0]]
