"""Deformable sampling by hand and against torch's own bilinear sampling."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samadapt.adapters.stable.sampling import DeformableSampling, sample_at

GRID = (4, 5)


def numbered() -> Tensor:
    """One channel: 10 * row + column, (1, h*w, 1)."""
    rows, columns = torch.arange(GRID[0]), torch.arange(GRID[1])
    return (10.0 * rows[:, None] + columns).view(1, -1, 1)


def moved(x: float, y: float) -> Tensor:
    offsets = torch.tensor([x, y]).expand(1, GRID[0] * GRID[1], 2)
    return sample_at(numbered(), offsets, GRID).view(GRID)


def test_no_offset_gives_the_very_features() -> None:
    features = torch.randn(2, 20, 7, generator=torch.Generator().manual_seed(0))
    assert sample_at(features, torch.zeros(2, 20, 2), GRID).equal(features)


def test_whole_cells_shift_the_map_and_the_border_repeats() -> None:
    assert moved(1, 0).tolist() == [
        [1, 2, 3, 4, 4],
        [11, 12, 13, 14, 14],
        [21, 22, 23, 24, 24],
        [31, 32, 33, 34, 34],
    ]
    assert moved(0, -2).tolist() == [
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [10, 11, 12, 13, 14],
    ]
    assert moved(-9, 9).tolist() == [[30] * 5] * 4


def test_parts_of_cells_mix_the_four_neighbours() -> None:
    assert moved(0.5, 0)[1].tolist() == [10.5, 11.5, 12.5, 13.5, 14.0]
    # 0.75 * (0.75 * 0 + 0.25 * 1) + 0.25 * (0.75 * 10 + 0.25 * 11)
    assert moved(0.25, 0.25)[0, 0].item() == pytest.approx(2.75)


def test_every_place_has_its_own_offset_and_every_prompt_its_own_map() -> None:
    features = torch.stack([numbered()[0], numbered()[0] + 100])
    offsets = torch.zeros(2, 20, 2)
    offsets[0, 7] = torch.tensor([2.0, 1.0])  # cell (1, 2) looks at (2, 4)
    offsets[1, 0] = torch.tensor([0.0, 3.0])
    found = sample_at(features, offsets, GRID)[..., 0]
    expected = features[..., 0].clone()
    expected[0, 7], expected[1, 0] = 24.0, 130.0
    assert found.equal(expected)


def test_it_agrees_with_grid_sample_forwards_and_backwards() -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(3, 20, 6, generator=generator, dtype=torch.float64)
    offsets = 2 * torch.randn(3, 20, 2, generator=generator, dtype=torch.float64)
    weights = torch.randn(3, 20, 6, generator=generator, dtype=torch.float64)

    def theirs(x: Tensor, d: Tensor) -> Tensor:
        height, width = GRID
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([xs, ys], -1).view(1, -1, 2) + d
        size = torch.tensor([width, height])
        grid = ((places + 0.5) / size * 2 - 1).view(3, height, width, 2)
        maps = x.view(3, height, width, -1).permute(0, 3, 1, 2)
        found = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
        return found.permute(0, 2, 3, 1).reshape(x.shape)

    results = []
    for function in (lambda x, d: sample_at(x, d, GRID), theirs):
        x, d = features.clone().requires_grad_(), offsets.clone().requires_grad_()
        out = function(x, d)
        results.append((out.detach(), *torch.autograd.grad((out * weights).sum(), (x, d))))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


def test_untrained_nothing_moves_and_offsets_stay_within_reach() -> None:
    module = DeformableSampling(6, reach=3.0)
    features = torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(0))
    assert module(features, GRID).equal(module.project(features))
    torch.testing.assert_close(module(features, GRID).norm(dim=-1), features.norm(dim=-1))
    with torch.no_grad():
        module.offset.bias.copy_(torch.tensor([50.0, -0.5]))
        offsets = module.offsets(features, GRID)
    assert offsets[..., 0].unique().tolist() == [3.0]
    assert offsets[..., 1].unique().tolist() == pytest.approx([3 * math.tanh(-0.5)])


def test_without_offsets_only_amplitudes_are_learned() -> None:
    module = DeformableSampling(6, reach=3.0, deformable=False)
    assert {name for name, _ in module.named_parameters()} == {"project.weight", "project.bias"}
    features = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.project.weight.copy_(2 * torch.eye(6))
    torch.testing.assert_close(module(features, GRID), 2 * features)
