from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samadapt.errors import SessionError
from samadapt.session.mask_tools import (
    TOOLS,
    Mask,
    apply_tool,
    fill_holes,
    keep_largest,
    remove_islands,
    smooth,
    split,
)


def drawn(*rows: str) -> Mask:
    return np.array([[c == "#" for c in row] for row in rows], np.bool_)


RING = drawn("#####", "#...#", "#.#.#", "#...#", "#####")


def test_islands_are_parts_below_a_tenth_of_the_largest() -> None:
    mask = np.zeros((12, 30), np.bool_)
    mask[0:5, 0:4] = True  # 20 pixels
    mask[8, 10:12] = True  # 2 pixels: a tenth, stays
    mask[8, 20] = True
    expected = mask.copy()
    expected[8, 20] = False
    assert np.array_equal(remove_islands(mask), expected)
    largest = np.zeros_like(mask)
    largest[0:5, 0:4] = True
    assert np.array_equal(keep_largest(mask), largest)


def test_pixels_that_touch_at_a_corner_are_one_part() -> None:
    mask = drawn("##...", "##...", "..#..", "....#")
    assert np.array_equal(keep_largest(mask), drawn("##...", "##...", "..#..", "....."))


def test_holes_are_filled_but_not_bays_of_the_border() -> None:
    assert fill_holes(RING).all()
    bay = drawn("##.##", "#...#", "#####")
    assert np.array_equal(fill_holes(bay), bay)
    leak = drawn(".###.", "#...#", ".###.")  # corners of the object touch, the hole is closed
    assert np.array_equal(fill_holes(leak), drawn(".###.", "#####", ".###."))


def test_smoothing_takes_spikes_away_and_fills_notches() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[10:30, 10:30] = True
    mask[20, 30:36] = True
    mask[20, 10:13] = False
    found = smooth(mask, 2.0)
    assert not found[20, 31:].any()
    assert found[20, 11:13].all()
    assert found[14:26, 14:26].all()
    assert smooth(np.ones((8, 8), np.bool_)).all()


def test_a_cut_divides_and_loses_no_pixel() -> None:
    mask = np.zeros((6, 11), np.bool_)
    mask[1:5, 1:10] = True
    mask[0, 0] = False
    cut = np.zeros_like(mask)
    cut[:, 4] = True
    left, right = np.zeros_like(mask), np.zeros_like(mask)
    left[1:5, 1:4], right[1:5, 5:10] = True, True
    large, small = split(mask, cut)
    assert np.array_equal(large | small, mask)
    assert not (large & small).any()
    assert not (right & ~large).any()
    assert not (left & ~small).any()


def test_a_diagonal_cut_one_pixel_wide_divides() -> None:
    mask = np.ones((8, 8), np.bool_)
    pieces = split(mask, np.eye(8, dtype=np.bool_))
    assert [int(p.sum()) >= 28 for p in pieces] == [True, True]


def test_a_cut_that_ends_inside_divides_nothing() -> None:
    mask = np.ones((8, 8), np.bool_)
    cut = np.zeros_like(mask)
    cut[:5, 4] = True
    (whole,) = split(mask, cut)
    assert np.array_equal(whole, mask)


def test_parts_beside_the_cut_stay_with_the_largest_piece() -> None:
    mask = np.zeros((4, 20), np.bool_)
    mask[:, :9], mask[:, 12:14] = True, True
    cut = np.zeros_like(mask)
    cut[:, 3] = True
    large, small = split(mask, cut)
    assert large[:, 12:14].all()
    assert int(small.sum()) in (12, 16)


def test_a_tool_that_would_leave_nothing_is_refused() -> None:
    dot = np.zeros((20, 20), np.bool_)
    dot[10, 10] = True
    with pytest.raises(SessionError, match="smooth would leave nothing"):
        apply_tool("smooth", dot)
    with pytest.raises(SessionError, match="use one of"):
        apply_tool("melt", dot)


masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@settings(max_examples=40, deadline=None)
@given(masks)
def test_what_tools_promise(mask: Mask) -> None:
    filled, largest, clean = fill_holes(mask), keep_largest(mask), remove_islands(mask)
    assert not (mask & ~filled).any()
    assert np.array_equal(fill_holes(filled), filled)
    assert not (largest & ~clean).any()
    assert not (clean & ~mask).any()
    assert all(tool(mask).shape == mask.shape for tool in TOOLS.values())
