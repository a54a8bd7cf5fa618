"""Contours: hand-computed shapes, drawing what was traced, points by arc length."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from samadapt.adapters.point_matching.contours import (
    arc_places,
    distribute,
    draw,
    perimeter,
    resample,
    signed_area,
    trace,
)

SQUARE = np.array([[2.0, 3.0], [8.0, 3.0], [8.0, 9.0], [2.0, 9.0]])
"""Side 6, area 36."""


def logits_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(mask, 1.0, -1.0)


def test_a_square_is_measured_by_hand() -> None:
    assert signed_area(SQUARE) == 36
    assert signed_area(SQUARE[::-1]) == -36
    assert perimeter(SQUARE) == 24
    np.testing.assert_allclose(arc_places(SQUARE), [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(resample(SQUARE, 8)[[0, 1, 2, 7]], [[2, 3], [5, 3], [8, 3], [2, 6]])


def test_a_square_of_pixels_gives_one_contour_around_it() -> None:
    mask = np.zeros((20, 24), np.bool_)
    mask[4:10, 5:15] = True
    (contour,) = trace(logits_of(mask))
    np.testing.assert_allclose(contour.min(0), [5, 4])
    np.testing.assert_allclose(contour.max(0), [15, 10])
    assert signed_area(contour) == pytest.approx(60 - 4 / 8)  # each corner lacks (1/2)^2 / 2


def test_a_crossing_lies_where_the_line_between_two_logits_is_zero() -> None:
    logits = np.full((5, 9), -3.0)
    logits[2, 3:6] = 1.0
    (contour,) = trace(logits)
    assert contour[:, 0].min() == pytest.approx(3.5 - 0.25)
    assert contour[:, 0].max() == pytest.approx(5.5 + 0.25)


def test_a_ring_has_an_outer_contour_and_a_hole_that_runs_the_other_way() -> None:
    mask = np.zeros((30, 30), np.bool_)
    mask[5:25, 5:25] = True
    mask[10:20, 11:19] = False
    outer, hole = trace(logits_of(mask))
    assert signed_area(outer) == pytest.approx(399.5)
    assert signed_area(hole) == pytest.approx(-79.5)


def test_two_parts_give_two_contours_longest_first() -> None:
    mask = np.zeros((30, 30), np.bool_)
    mask[2:6, 2:6] = True
    mask[10:28, 10:28] = True
    large, small = trace(logits_of(mask))
    assert perimeter(large) > perimeter(small)
    assert (signed_area(large), signed_area(small)) == pytest.approx((323.5, 15.5))


@pytest.mark.parametrize(
    ("mask", "contours"),
    [
        (np.zeros((7, 9), np.bool_), 0),  # empty
        (np.ones((7, 9), np.bool_), 1),  # full
        (np.eye(5, dtype=np.bool_), 5),  # pixels that touch diagonally stay apart
        (np.arange(35).reshape(5, 7) == 17, 1),  # one pixel
        (np.arange(35).reshape(5, 7) % 7 < 3, 1),  # along the border
        (np.ones((1, 1), np.bool_), 1),
    ],
)
def test_odd_masks_are_traced_and_drawn_again(mask: NDArray[np.bool_], contours: int) -> None:
    found = trace(logits_of(mask))
    assert len(found) == contours
    np.testing.assert_array_equal(draw(found, mask.shape), mask)


def test_a_full_mask_has_its_contour_on_the_border() -> None:
    (contour,) = trace(np.full((6, 8), 5.0))
    np.testing.assert_allclose(contour.min(0), [0, 0])
    np.testing.assert_allclose(contour.max(0), [8, 6])


@pytest.mark.parametrize("seed", range(8))
def test_drawing_what_was_traced_gives_the_same_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(50, 40)), (0, 0), rng.uniform(0.5, 4))
    noise -= np.quantile(noise, rng.uniform(0.1, 0.9))
    noise[3, 3] = 0.0
    np.testing.assert_array_equal(draw(trace(noise), noise.shape), noise > 0)


def test_drawing_agrees_with_a_test_of_every_pixel() -> None:
    rng = np.random.default_rng(3)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    star = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(5, 14, (12, 1)) + 15.2
    expected = [
        [
            cv2.pointPolygonTest(star.astype(np.float32), (x + 0.5, y + 0.5), False) > 0
            for x in range(32)
        ]
        for y in range(32)
    ]
    np.testing.assert_array_equal(draw([star], (32, 32)), expected)


def test_overlapping_parts_join_and_loops_turned_inside_out_vanish() -> None:
    other = np.add(SQUARE, (3, 0))
    joined = draw([SQUARE, other], (12, 14))
    assert joined[3:9, 2:11].all()
    assert joined.sum() == 6 * 9
    bow = np.array([[2.0, 2.0], [10.0, 10.0], [10.0, 2.0], [2.0, 10.0]])  # an hourglass on its side
    half = draw([bow], (12, 12))
    assert sorted([half[:, :6].any(), half[:, 6:].any()]) == [False, True]
    assert not draw([SQUARE[::-1]], (12, 12)).any()


def test_what_lies_outside_the_image_is_cut_off() -> None:
    np.testing.assert_array_equal(
        draw([np.subtract(SQUARE, (5, 6))], (4, 4)), np.pad(np.ones((3, 3)), (0, 1))
    )
    assert not draw([SQUARE + 100], (4, 4)).any()
    assert draw([], (3, 2)).shape == (3, 2)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([100.0], [32]),
        ([60.0, 20.0], [24, 8]),
        ([100.0, 5.0], [32, 0]),  # too short
        ([96.0, 12.0], [28, 4]),  # at least 4
        ([5.0], [0]),
        ([], []),
        ([10.0] * 10, [4] * 8 + [0, 0]),  # no more than there are
    ],
)
def test_points_are_shared_by_length(lengths: list[float], expected: list[int]) -> None:
    assert distribute(lengths, 32, 4, 6.0) == expected
