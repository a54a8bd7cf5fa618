"""Which true point belongs to which predicted one."""

from __future__ import annotations

import numpy as np
import pytest

from samadapt.adapters.point_matching.contours import Points, resample
from samadapt.adapters.point_matching.matching import best_shifts, partners, targets

SQUARE = np.array([[2.0, 3.0], [8.0, 3.0], [8.0, 9.0], [2.0, 9.0]])


def moved(x: float, y: float) -> Points:
    return np.add(SQUARE, (x, y))


def wobbly(seed: int, count: int) -> Points:
    rng = np.random.default_rng(seed)
    angles = np.arange(count) / count * 2 * np.pi
    radius = 10 + 2 * np.cos(3 * angles + rng.uniform(0, 6)) + rng.normal(size=count)
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], 1) + rng.uniform(0, 9, 2)


@pytest.mark.parametrize(("n", "m"), [(16, 16), (16, 64), (15, 45), (1, 4)])
def test_the_best_shift_is_that_of_trying_all(n: int, m: int) -> None:
    points = np.stack([wobbly(seed, n) for seed in range(5)])
    truth = np.stack([np.roll(wobbly(seed + 50, m), 7 * seed, 0) for seed in range(5)])
    step = m // n
    costs = [
        [((points[pair] - truth[pair, (k + step * np.arange(n)) % m]) ** 2).sum() for k in range(m)]
        for pair in range(5)
    ]
    np.testing.assert_array_equal(best_shifts(points, truth), np.argmin(costs, 1))


def test_a_contour_that_starts_elsewhere_is_aligned() -> None:
    turned = np.roll(resample(SQUARE, 24), -5, 0)
    where = np.arange(12) / 12
    found = targets(SQUARE, turned, where, slack=0.0)
    np.testing.assert_allclose(found, resample(SQUARE, 12), atol=0.1)  # a step of 24 / 256


def test_slack_forgives_a_bulge() -> None:
    """A true square with a long spike: far from the spike, points stay where they are."""
    spiky = np.array(
        [[2.0, 3.0], [4.9, 3.0], [5.0, -6.0], [5.1, 3.0], [8.0, 3.0], [8.0, 9.0], [2.0, 9.0]]
    )
    where = np.arange(16) / 16
    below = slice(6, 15)
    own = resample(SQUARE, 16)[below]
    strict = np.abs(targets(SQUARE, spiky, where, 0.0)[below] - own).max()
    loose = np.abs(targets(SQUARE, spiky, where, 0.25)[below] - own).max()
    assert strict > 1
    assert loose < 0.3


def test_contours_find_their_nearest_partner_once() -> None:
    hole = SQUARE[::-1] * 0.5 + 2.5
    predicted = [SQUARE, moved(20, 0), hole, moved(1.5, 0)]
    true = [moved(20.5, 0.5), hole + 0.2, moved(0.5, 0)]
    assert partners(predicted, true, 3.0) == [2, 0, 1, None]
    assert partners(predicted, [moved(50, 50)], 3.0) == [None] * 4
    assert partners(predicted, [], 3.0) == [None] * 4
    assert partners([], true, 3.0) == []
    assert partners([SQUARE], [hole], 99.0) == [None]
