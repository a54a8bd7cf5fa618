from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from samadapt.session.outline import filled, rings_of


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 10), st.integers(1, 10))))
def test_exact_rings_give_the_mask_back(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(filled(rings_of(mask), mask.shape), mask)


def test_a_block_with_a_hole_has_two_rings_of_four_corners() -> None:
    mask = np.zeros((12, 12), np.bool_)
    mask[1:11, 2:11] = True
    mask[4:6, 4:6] = False
    rings = rings_of(mask)
    assert [sorted(ring) for ring in rings] == [
        [(2, 1), (2, 11), (11, 1), (11, 11)],
        [(4, 4), (4, 6), (6, 4), (6, 6)],
    ]


def test_a_staircase_is_simplified_to_a_triangle() -> None:
    mask = np.tril(np.ones((20, 20), np.bool_))
    assert len(rings_of(mask)[0]) > 30
    (ring,) = rings_of(mask, 1.5)
    assert len(ring) <= 5
    differing = filled([ring], mask.shape) ^ mask
    assert differing.sum() <= 20


def test_a_moved_corner_moves_the_mask() -> None:
    ring = [(2.0, 2.0), (10.0, 2.0), (10.0, 6.0), (2.0, 6.0)]
    moved = filled([[*ring[:2], (10.0, 8.0), (2.0, 8.0)]], (12, 12))
    expected = np.zeros((12, 12), np.bool_)
    expected[2:8, 2:10] = True
    assert np.array_equal(moved, expected)


def test_many_rings_are_filled_in_time() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 990, (4000, 2)).tolist()
    rings = [[(x, y), (x + 9.0, y), (x + 9.0, y + 9.0), (x, y + 9.0)] for x, y in corners]
    began = time.process_time()
    found = filled(rings, (1000, 1000))
    assert time.process_time() - began < 2
    expected = np.zeros((1000, 1000), np.bool_)
    for x, y in corners:
        expected[y : y + 9, x : x + 9] ^= True
    assert np.array_equal(found, expected)
