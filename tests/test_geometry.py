"""Geometry against formulas written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samadapt.models.geometry import InputGeometry

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


def bilinear(image: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Resample with half-pixel centres and clamped borders, one output pixel at a time."""
    height, width = image.shape
    out = np.empty(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            dy, dx = y - y0, x - x0
            top = image[y0, x0] * (1 - dx) + image[y0, x1] * dx
            bottom = image[y1, x0] * (1 - dx) + image[y1, x1] * dx
            out[i, j] = top * (1 - dy) + bottom * dy
    return out


@pytest.mark.parametrize(
    ("original", "resized"),
    [
        ((480, 640), (768, 1024)),  # SAM's own example
        ((640, 480), (1024, 768)),
        ((1, 3000), (1, 1024)),  # a side never vanishes
        ((3, 2), (1024, 683)),  # 682.67 rounds up
        ((1024, 1024), (1024, 1024)),
    ],
)
def test_longest_side_keeps_the_aspect_ratio(
    original: tuple[int, int], resized: tuple[int, int]
) -> None:
    geometry = InputGeometry.longest_side(original, 1024)
    assert geometry == InputGeometry(original, resized, (1024, 1024))


@given(sizes, st.sampled_from([8, 16]))
def test_padding_goes_up_to_the_next_multiple(original: tuple[int, int], multiple: int) -> None:
    geometry = InputGeometry.longest_side(original, 48, multiple)
    for resized, padded in zip(geometry.resized, geometry.padded, strict=True):
        assert padded % multiple == 0
        assert 0 <= padded - resized < multiple
    assert max(geometry.resized) == 48


def test_squash_ignores_the_aspect_ratio() -> None:
    geometry = InputGeometry.squash((10, 40), 64)
    assert geometry == InputGeometry((10, 40), (64, 64), (64, 64))
    points = geometry.to_input(torch.tensor([[20.0, 5.0], [40.0, 10.0]]))
    assert points.tolist() == [[32.0, 32.0], [64.0, 64.0]]


@given(sizes)
def test_corners_map_to_corners(original: tuple[int, int]) -> None:
    geometry = InputGeometry.longest_side(original, 32)
    height, width = original
    corner = geometry.to_input(torch.tensor([[0.0, 0.0], [float(width), float(height)]]))
    expected = [[0, 0], [geometry.resized[1], geometry.resized[0]]]
    torch.testing.assert_close(corner, torch.tensor(expected, dtype=torch.float32))


@settings(max_examples=15, deadline=None)
@given(sizes, st.integers(0, 10_000), st.sampled_from([None, 8]))
def test_logits_come_back_to_the_image(
    original: tuple[int, int], seed: int, multiple: int | None
) -> None:
    geometry = InputGeometry.longest_side(original, 32, multiple)
    low = (geometry.padded[0] // 4, geometry.padded[1] // 4)
    logits = np.random.default_rng(seed).normal(size=low)
    full = bilinear(logits, geometry.padded)
    expected = bilinear(full[: geometry.resized[0], : geometry.resized[1]], original)
    found = geometry.to_original(torch.from_numpy(logits).float()[None, None])
    assert found.shape == (1, 1, *original)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-5)


def test_the_padding_has_no_influence_on_the_image_beyond_one_cell() -> None:
    geometry = InputGeometry.longest_side((16, 32), 32)  # lower half is padding
    logits = torch.zeros(1, 1, 8, 8)
    logits[..., 5:, :] = 100  # deep in the padding
    assert geometry.to_original(logits).abs().max() == 0


def test_a_mask_is_averaged_onto_the_decoder_grid() -> None:
    geometry = InputGeometry((16, 32), (16, 32), (32, 32))
    mask = torch.zeros(1, 1, 16, 32)
    mask[..., :4, :4] = 1  # fills one cell of 4 x 4
    mask[..., 8, 8] = 1  # a sixteenth of one
    small = geometry.to_decoder(mask, (8, 8))[0, 0]
    assert small[0, 0] == 1
    assert small[2, 2] == 1 / 16
    assert small.sum() == 1 + 1 / 16


@given(sizes)
def test_a_mask_survives_the_way_to_the_grid_in_its_total(original: tuple[int, int]) -> None:
    geometry = InputGeometry.longest_side(original, 32)
    small = geometry.to_decoder(torch.ones(1, 1, *original), (8, 8))
    share = geometry.resized[0] * geometry.resized[1] / 32**2
    assert small.mean().item() == pytest.approx(share, rel=1e-5)


def test_valid_cells_are_those_that_begin_inside_the_image() -> None:
    geometry = InputGeometry((10, 24), (10, 24), (32, 32))
    valid = geometry.valid((8, 8))
    rows, columns = np.mgrid[:8, :8]
    np.testing.assert_array_equal(valid.numpy(), (rows * 4 < 10) & (columns * 4 < 24))


def test_points_in_whole_numbers_are_scaled_too():
    geometry = InputGeometry.longest_side((60, 90), 64)
    whole = torch.tensor([[10, 20], [60, 40]])
    assert torch.equal(geometry.to_input(whole), geometry.to_input(whole.float()))
    assert geometry.to_input(whole)[0, 0] == pytest.approx(10 * 64 / 90)
