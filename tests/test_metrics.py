"""Metrics against values worked out by hand and against plain, slow re-computations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samadapt.errors import DataError
from samadapt.metrics import (
    bootstrap_interval,
    boundary_iou,
    clicks_to_reach,
    dice,
    iou,
    iou_after,
    segmentation_stability,
)

A = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
B = np.array([[0, 1, 1], [0, 1, 1], [0, 0, 0]], bool)
NONE = np.zeros((3, 3), bool)

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
masks = sizes.flatmap(lambda size: arrays(bool, size))
pairs = sizes.flatmap(lambda size: st.tuples(arrays(bool, size), arrays(bool, size)))


# -- overlap ------------------------------------------------------------------------------


def test_iou_and_dice_by_hand():
    assert iou(A, B) == 2 / 6
    assert dice(A, B) == 2 * 2 / (4 + 4)
    assert iou(A, A) == dice(A, A) == 1
    assert iou(A, ~A) == dice(A, ~A) == 0
    assert iou(A, NONE) == dice(A, NONE) == 0


def test_two_empty_masks_agree_perfectly():
    assert iou(NONE, NONE) == dice(NONE, NONE) == boundary_iou(NONE, NONE) == 1


@given(pairs)
def test_overlap_properties(pair):
    a, b = pair
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= dice(a, b) <= 1
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))
    assert iou(a.astype(np.uint8) * 255, b.astype(int)) == iou(a, b)


@pytest.mark.parametrize("measure", [iou, dice, boundary_iou])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (A, A[:2], "different shape"),
        (np.zeros((0, 3), bool), np.zeros((0, 3), bool), "with pixels"),
        (A[None], A[None], "one mask"),
        (A.astype(float), A, "float64"),
    ],
)
def test_masks_that_cannot_be_compared(measure, a, b, message):
    with pytest.raises(DataError, match=message):
        measure(a, b)


# -- boundary -----------------------------------------------------------------------------


def boundary_by_hand(mask, width):
    """Pixels of a mask within `width` (chessboard) of a pixel that is background or outside."""
    height, length = mask.shape
    found = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        for dy, dx in itertools.product(range(-width, width + 1), repeat=2):
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < length) or not mask[v, u]:
                found[y, x] = True
    return found


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from([0.02, 0.1, 0.2]))
def test_boundary_iou_equals_brute_force(pair, dilation):
    a, b = pair
    width = max(1, round(dilation * math.sqrt(a.shape[0] ** 2 + a.shape[1] ** 2)))
    first, second = boundary_by_hand(a, width), boundary_by_hand(b, width)
    union = (first | second).sum()
    expected = (first & second).sum() / union if union else 1.0
    assert boundary_iou(a, b, dilation) == pytest.approx(expected)


def test_boundary_width_follows_the_diagonal():
    # Diagonal of 300 x 400 is 500: d = 10. Squares of 100 and 98 pixels, one inside the other.
    outer = np.zeros((300, 400), bool)
    outer[50:150, 50:150] = True
    inner = np.zeros((300, 400), bool)
    inner[51:149, 51:149] = True
    ring_outer, ring_inner = 100**2 - 80**2, 98**2 - 78**2
    common = 98**2 - 80**2
    expected = common / (ring_outer + ring_inner - common)
    assert boundary_iou(outer, inner) == pytest.approx(expected)
    assert boundary_iou(outer, inner) < iou(outer, inner)


def test_image_border_is_a_boundary():
    full = np.ones((20, 20), bool)
    hollow = full.copy()
    hollow[1:-1, 1:-1] = False
    # d = 1, so the boundary of the full mask is exactly its outermost ring of pixels.
    assert boundary_iou(full, hollow) == 1
    assert iou(full, hollow) == 76 / 400


@pytest.mark.parametrize("dilation", [0, -0.1, math.nan, math.inf])
def test_senseless_dilation(dilation):
    with pytest.raises(DataError, match="dilation"):
        boundary_iou(A, A, dilation)


# -- clicks -------------------------------------------------------------------------------


def test_clicks_to_reach_counts_from_one():
    assert clicks_to_reach([0.9, 0.2], 0.85, 20) == (1, True)
    assert clicks_to_reach([0.2, 0.85], 0.85, 20) == (2, True)
    assert clicks_to_reach([0.2, 0.84], 0.85, 20) == (20, False)


def test_success_at_the_last_click_is_a_success():
    curve = [0.1] * 19 + [0.9]
    assert clicks_to_reach(curve, 0.9, 20) == (20, True)


def test_success_after_the_last_click_is_a_failure():
    curve = [0.1] * 20 + [0.95]
    assert clicks_to_reach(curve, 0.9, 20) == (20, False)
    assert clicks_to_reach(curve, 0.9, 30) == (21, True)


def test_first_success_counts_even_if_it_is_lost_again():
    needed = clicks_to_reach([0.5, 0.91, 0.4], 0.9, 20)
    assert (needed.clicks, needed.reached) == (2, True)


def test_iou_after_holds_the_last_value():
    curves = [[0.2, 0.4, 0.6], [0.9]]
    assert iou_after(curves, 1) == pytest.approx((0.2 + 0.9) / 2)
    assert iou_after(curves, 2) == pytest.approx((0.4 + 0.9) / 2)
    assert iou_after(curves, 10) == pytest.approx((0.6 + 0.9) / 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1), st.integers(1, 8))
def test_an_object_is_a_failure_if_no_iou_reaches_the_threshold(curve, threshold, clicks):
    needed = clicks_to_reach(curve, threshold, clicks)
    assert needed.reached == (max(curve[:clicks]) >= threshold)
    assert 1 <= needed.clicks <= clicks_to_reach(curve, 1.0, clicks).clicks <= clicks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clicks_to_reach([], 0.9, 20), "empty"),
        (lambda: clicks_to_reach([0.5, math.nan], 0.9, 20), "NaN"),
        (lambda: clicks_to_reach([1.2], 0.9, 20), "outside"),
        (lambda: clicks_to_reach([0.5], 85, 20), "threshold 85"),
        (lambda: clicks_to_reach([0.5], math.nan, 20), "threshold nan"),
        (lambda: clicks_to_reach([0.5], 0.9, 0), "at least one click"),
        (lambda: iou_after([], 1), "no objects"),
        (lambda: iou_after([[]], 1), "empty"),
        (lambda: iou_after([[0.5]], 0), "at least one click"),
    ],
)
def test_senseless_curves(call, message):
    with pytest.raises(DataError, match=message):
        call()


# -- stability ----------------------------------------------------------------------------


def test_stability_by_hand():
    # The union of A and B has 6 pixels, each of them 4.
    assert segmentation_stability([A, B]) == pytest.approx(4 / 6)
    assert segmentation_stability(np.stack([A, A, A])) == 1
    assert segmentation_stability([A, NONE]) == 0.5
    assert segmentation_stability([NONE, NONE]) == 1


@given(st.lists(arrays(bool, (4, 5)), min_size=1, max_size=5))
def test_stability_is_the_mean_iou_with_the_union(stack):
    union = np.any(stack, axis=0)
    expected = np.mean([iou(mask, union) for mask in stack])
    assert segmentation_stability(stack) == pytest.approx(expected)
    assert segmentation_stability(stack[::-1]) == pytest.approx(expected)


def test_senseless_stability():
    with pytest.raises(DataError, match="at least one"):
        segmentation_stability([])
    with pytest.raises(DataError, match="one shape"):
        segmentation_stability([A, A[:2]])
    with pytest.raises(DataError, match="one mask"):
        segmentation_stability(A)


# -- intervals ----------------------------------------------------------------------------


def test_bootstrap_of_equal_values_has_no_width():
    assert bootstrap_interval([0.5] * 10) == (0.5, 0.5)
    assert bootstrap_interval([0.7]) == (0.7, 0.7)


def test_bootstrap_agrees_with_the_normal_approximation():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = bootstrap_interval(values, resamples=4000)
    error = values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_is_deterministic_and_seeded():
    values = np.random.default_rng(1).random(50)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_bootstrap_enumerated_by_hand():
    # Two objects, 0 and 1: the mean is 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    assert bootstrap_interval([0.0, 1.0], confidence=0.6) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)


def test_bootstrap_of_another_statistic():
    values = np.append(np.linspace(0, 1, 101), 1000.0)
    low, high = bootstrap_interval(values, statistic=np.median)
    assert 0.3 < low < 0.5 < high < 0.7
    grouped = bootstrap_interval(values, statistic=np.median, groups=range(102), resamples=300)
    assert 0.3 < grouped[0] < 0.5 < grouped[1] < 0.7


def test_groups_of_one_are_objects():
    values = np.random.default_rng(2).random(40)
    alone = bootstrap_interval(values, resamples=4000)
    grouped = bootstrap_interval(values, resamples=4000, groups=[f"image {i}" for i in range(40)])
    assert grouped == pytest.approx(alone, abs=0.01)


def test_interval_is_wider_when_objects_of_an_image_are_alike():
    per_image = np.random.default_rng(2).random(20)
    values = np.repeat(per_image, 10)
    low, high = bootstrap_interval(values)
    groups = np.repeat(np.arange(20), 10)
    wide_low, wide_high = bootstrap_interval(values, groups=groups.tolist())
    assert wide_high - wide_low > 2.5 * (high - low)
    # Ten copies of each image tell nothing new: the same interval as from one of each.
    assert (wide_low, wide_high) == pytest.approx(bootstrap_interval(per_image), abs=1e-9)


def test_fast_and_general_group_means_agree():
    values = np.random.default_rng(3).random(30)
    groups = [i % 7 for i in range(30)]

    def mean(array, axis):
        return np.mean(array, axis=axis)

    fast = bootstrap_interval(values, groups=groups, resamples=200)
    assert fast == pytest.approx(bootstrap_interval(values, mean, groups=groups, resamples=200))


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": []},
        {"values": [1.0, math.nan]},
        {"values": [[1.0]]},
        {"values": [1.0], "confidence": 1.0},
        {"values": [1.0], "confidence": 95},
        {"values": [1.0], "resamples": 0},
        {"values": [1.0, 2.0], "groups": [1]},
    ],
)
def test_senseless_bootstrap(arguments):
    with pytest.raises(DataError):
        bootstrap_interval(**arguments)
