from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from research.nano.losses import normalized_focal_loss
from samadapt.adapters.losses import (
    balanced_entropy,
    click_loss,
    distillation_loss,
    focal_entropy,
    gaussian_click_loss,
    label_loss,
    logits_at,
    score_loss,
)
from samadapt.adapters.online.optimiser import Descent, Moments
from samadapt.adapters.online.pseudo_labels import Labels
from samadapt.models.geometry import InputGeometry
from samadapt.prompts import Click

GEOMETRY = InputGeometry((30, 50), (60, 100), (80, 100))


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def random_logits(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(1, 1, 20, 25, generator=generator)


# -- at the clicks --------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.floats(1, 49), st.floats(1, 29))
def test_logits_are_sampled_where_the_click_is(x: float, y: float) -> None:
    logits = random_logits()
    found = logits_at(logits, [Click(x, y)], GEOMETRY)
    # Independent: by hand between the four nearest cells; a cell is 4 input or 2 image pixels.
    column, row = min(x / 2 - 0.5, 24.0), y / 2 - 0.5
    left, top = math.floor(column), math.floor(row)
    grid = logits[0, 0].numpy()

    def cell(r: int, c: int) -> float:
        return float(grid[min(max(r, 0), 19), min(max(c, 0), 24)])

    u, v = column - left, row - top
    upper = (1 - u) * cell(top, left) + u * cell(top, left + 1)
    lower = (1 - u) * cell(top + 1, left) + u * cell(top + 1, left + 1)
    assert float(found[0, 0]) == pytest.approx((1 - v) * upper + v * lower, abs=1e-4)


def test_sampling_agrees_with_the_up_sampled_mask_on_a_close_up() -> None:
    geometry = InputGeometry.close_up((64, 64), (16, 8, 48, 40), 64, 32)
    logits = random_logits()[..., :16, :16]
    full = geometry.to_original(logits)
    clicks = [Click(30.5, 20.5), Click(20.5, 35.5)]
    found = logits_at(logits, clicks, geometry)[0]
    expected = torch.stack([full[0, 0, 20, 30], full[0, 0, 35, 20]])
    torch.testing.assert_close(found, expected, atol=0.15, rtol=0)


def test_the_click_loss_is_half_the_mean_of_either_side() -> None:
    logits = torch.zeros(1, 1, 20, 25)
    logits[0, 0, 5, 10] = 2.0
    logits[0, 0, 15, 20] = 1.0
    # The last click lies between rows 14 and 15: a quarter of the 1.0 in row 15.
    clicks = [Click(21, 11), Click(5, 5), Click(41, 29.5, False)]
    expected = ((softplus(-2) + softplus(0)) / 2 + softplus(0.25)) / 2
    assert float(click_loss(logits, clicks, GEOMETRY)) == pytest.approx(expected, abs=1e-5)


def test_one_sided_clicks_count_half() -> None:
    logits = torch.full((1, 1, 20, 25), -1.0)
    assert float(click_loss(logits, [Click(20, 20)], GEOMETRY)) == pytest.approx(softplus(1) / 2)


def test_only_the_cells_around_a_click_get_a_gradient() -> None:
    logits = random_logits().requires_grad_()
    click_loss(logits, [Click(20, 20)], GEOMETRY).backward()
    assert logits.grad is not None
    rows, columns = np.nonzero(logits.grad[0, 0].numpy())
    assert set(rows.tolist()) == {9, 10}
    assert set(columns.tolist()) == {9, 10}


# -- around the clicks ----------------------------------------------------------------------


def test_the_gaussian_loss_counts_agreeing_pixels_by_distance() -> None:
    geometry = InputGeometry((20, 25), (20, 25), (20, 25))
    logits = torch.full((1, 1, 20, 25), -1.0)
    logits[..., :10] = 1.5  # left side is object by now
    click = Click(8.5, 6.5)
    weights, total = 0.0, 0.0
    for row in range(20):
        for column in range(10):
            weight = math.exp(-((column - 8) ** 2 + (row - 6) ** 2) / (2 * 3.0**2))
            weights, total = weights + weight, total + weight * softplus(-1.5)
    expected = total / weights / 2 + softplus(-1.5) / 2
    found = gaussian_click_loss(logits, [click], geometry, 3.0)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_a_contradicted_click_teaches_itself_but_not_its_surroundings() -> None:
    geometry = InputGeometry((20, 25), (20, 25), (20, 25))
    logits = torch.full((1, 1, 20, 25), -1.0, requires_grad=True)
    gaussian_click_loss(logits, [Click(8.5, 6.5)], geometry, 3.0).backward()
    assert logits.grad is not None
    assert np.argwhere(logits.grad[0, 0].numpy()).tolist() == [[6, 8]]


def test_the_gaussian_loss_leaves_padding_out() -> None:
    geometry = InputGeometry((10, 25), (10, 25), (20, 25))
    logits = torch.ones(1, 1, 20, 25, requires_grad=True)
    gaussian_click_loss(logits, [Click(8.5, 9.5)], geometry, 3.0).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, :10].abs().sum() > 0
    assert logits.grad[0, 0, 10:].abs().sum() == 0


# -- whole masks ----------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_unlabelled_cells_have_no_say(seed: int) -> None:
    logits = random_logits(seed)
    positive, negative = (random_logits(seed + k)[0, 0].clamp(0, 1) for k in (1, 2))
    ignored = (positive + negative) == 0
    changed = torch.where(ignored, 100.0, logits)
    labels = Labels(positive, negative)
    for dice in (0.0, 1.0):
        before, after = (label_loss(z, labels, 1.0, dice) for z in (logits, changed))
        torch.testing.assert_close(before, after)


def test_the_mask_loss_by_hand() -> None:
    logits = torch.tensor([[[[2.0, -1.0, 5.0]]]])
    labels = Labels(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.5, 0.0]]))
    entropy = (softplus(-2.0) + softplus(-1.0)) / 2
    share = [1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(1.0))]
    dice = 1 - (2 * share[0] + 1) / (share[0] + 0.5 * share[1] + 1 + 1)
    found = label_loss(logits, labels, 0.5, 2.0)
    assert float(found) == pytest.approx(0.5 * entropy + 2 * dice, abs=1e-5)


def test_the_focal_loss_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 2.0], [-1.0, 5.0]]]], requires_grad=True)
    labels = Labels(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.5, 0.0]]))
    found = focal_entropy(logits, labels)
    weights = [0.25, (1 / (1 + math.exp(-2))) ** 2, 0.5 * (1 / (1 + math.exp(1))) ** 2]
    errors = [softplus(0), softplus(2), softplus(-1)]
    total = sum(w * e for w, e in zip(weights, errors, strict=True))
    assert float(found.detach()) == pytest.approx(total / max(1, sum(weights)), abs=1e-6)
    (gradient,) = torch.autograd.grad(found, logits)
    assert gradient[0, 0, 1, 1] == 0  # not labelled


def test_where_everything_is_labelled_the_focal_loss_is_that_of_training() -> None:
    logits = random_logits(3)
    positive = (torch.rand(20, 25, generator=torch.Generator().manual_seed(4)) < 0.2).float()
    found = focal_entropy(logits, Labels(positive, 1 - positive))
    assert torch.allclose(found, normalized_focal_loss(logits[0, 0], positive))
    both = label_loss(logits, Labels(positive, 1 - positive), 0.0, 1.0, focal=0.5)
    dice = label_loss(logits, Labels(positive, 1 - positive), 0.0, 1.0)
    assert torch.allclose(both, dice + 0.5 * found)


def test_a_small_object_does_not_swell_under_the_focal_loss() -> None:
    """A ring of doubtful cells around a small object: balanced halves push it outwards."""
    positive = torch.zeros(40, 40)
    positive[18:22, 18:22] = 1
    labels = Labels(positive, 1 - positive)
    z = torch.full((1, 1, 40, 40), -6.0)
    z[..., 17:23, 17:23] = -0.2  # the ring, wrong nowhere
    z[..., 18:22, 18:22] = 0.2

    def shared_shift(loss: torch.Tensor, shift: torch.Tensor) -> float:
        return float(torch.autograd.grad(loss, shift)[0])

    shift = torch.zeros((), requires_grad=True)
    ring = torch.zeros_like(z)
    ring[..., 17:23, 17:23] = 1
    balanced = label_loss(z + shift * ring, labels, 1.0, 0.0)
    focal = label_loss(z + shift * ring, labels, 0.0, 0.0, focal=1.0)
    assert shared_shift(balanced, shift) < 0  # going down it makes the doubtful cells object
    assert shared_shift(focal, shift) > 0


def test_scores_shall_be_the_ious_on_labelled_pixels() -> None:
    logits = torch.tensor([[[[1.0, 1.0, -1.0, 9.0]], [[-1.0, -1.0, -1.0, 9.0]]]])
    labels = Labels(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    scores = torch.tensor([[0.5, 0.5]])
    # The first candidate has one of two, and one too much: 1/3. The second has nothing.
    expected = ((0.5 - 1 / 3) ** 2 + 0.5**2) / 2
    assert float(score_loss(logits, scores, labels)) == pytest.approx(expected)


def test_nothing_labelled_costs_nothing() -> None:
    nothing = torch.zeros(20, 25)
    assert float(balanced_entropy(random_logits()[0, 0], nothing, nothing)) == 0


def test_distillation_teaches_the_student_only() -> None:
    student = random_logits().requires_grad_()
    teacher = random_logits(1).requires_grad_()
    valid = torch.ones(20, 25, dtype=torch.bool)
    valid[10:] = False
    distillation_loss(student, teacher, valid).backward()
    assert teacher.grad is None
    assert student.grad is not None
    expected = (student.sigmoid() - teacher.sigmoid()).detach() / 250
    expected[..., 10:, :] = 0
    torch.testing.assert_close(student.grad, expected)


# -- optimiser ------------------------------------------------------------------------------


@pytest.mark.parametrize("anchor", [0.0, 0.3])
def test_adam_is_that_of_the_paper_with_decoupled_decay(anchor: float) -> None:
    rng = np.random.default_rng(0)
    delta, moments = torch.tensor(rng.normal(size=7)), Moments()
    expected = delta.numpy().copy()
    first, second = np.zeros(7), np.zeros(7)
    for step in range(1, 6):
        gradient = rng.normal(size=7)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
        direction = unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        expected = expected - 0.05 * direction - 0.05 * anchor * expected
        before = delta.clone()
        stepped, moments = Descent(0.05, anchor).step(delta, torch.tensor(gradient), moments)
        assert torch.equal(delta, before)
        delta = stepped
    np.testing.assert_allclose(delta.numpy(), expected, rtol=1e-9)
