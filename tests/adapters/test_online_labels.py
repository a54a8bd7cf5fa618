from __future__ import annotations

import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from samadapt.adapters.online.pseudo_labels import (
    disagreement,
    distinct_clicks,
    eroded,
    labels_on_view,
)
from samadapt.clicks import click_per_error, next_click
from samadapt.models.geometry import InputGeometry
from samadapt.prompts import Click

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
masks = arrays(np.bool_, (12, 15))


def square(size: int, start: int, end: int) -> NDArray[np.bool_]:
    mask = np.zeros((size, size), np.bool_)
    mask[start:end, start:end] = True
    return mask


# -- erosion ------------------------------------------------------------------------------


@settings(max_examples=40)
@given(masks, st.integers(0, 3))
def test_it_is_the_erosion_of_opencv_where_that_leaves_enough(
    mask: NDArray[np.bool_], count: int
) -> None:
    found = eroded(mask, count, share=0.999)
    for side, core in zip((mask, ~mask), found, strict=True):
        plain = cv2.erode(side.astype(np.uint8), CROSS, iterations=count).astype(bool)
        if plain.any():
            np.testing.assert_array_equal(core, plain)


@settings(max_examples=40)
@given(masks, st.integers(0, 9), st.floats(0, 0.99))
def test_no_side_vanishes_and_none_grows(mask: NDArray[np.bool_], count: int, share: float) -> None:
    positive, negative = eroded(mask, count, share)
    assert positive.any() == mask.any()
    assert negative.any() == (~mask).any()
    assert not (positive & ~mask).any()
    assert not (negative & mask).any()


def test_a_small_object_keeps_half_of_its_depth() -> None:
    # 7 x 7: city-block depth 4 in the middle, so 2 of the 4 erosions are done.
    positive, _ = eroded(square(21, 7, 14), 4, 0.5)
    np.testing.assert_array_equal(positive, square(21, 9, 12))
    # 21 x 21 has depth 11 and takes all 4.
    positive, _ = eroded(square(41, 10, 31), 4, 0.5)
    np.testing.assert_array_equal(positive, square(41, 14, 27))
    # One pixel stays one pixel.
    np.testing.assert_array_equal(eroded(square(9, 4, 5), 4, 0.5)[0], square(9, 4, 5))


def test_the_images_border_does_not_erode() -> None:
    positive, negative = eroded(square(20, 0, 10), 3, 0.9)
    assert positive[0, 0]
    assert negative[-1, -1]
    assert not positive[9, 9]


# -- on a view ------------------------------------------------------------------------------


def test_labels_on_a_view_leave_band_and_padding_out() -> None:
    geometry = InputGeometry((20, 40), (20, 40), (40, 40))
    mask = np.zeros((20, 40), np.bool_)
    mask[:, :20] = True
    labels = labels_on_view(mask, (), geometry, (20, 20), 2, 0.5)
    expected = torch.zeros(20, 20)
    expected[:10, :9] = 1
    assert torch.equal(labels.positive, expected)
    assert torch.equal(labels.negative, expected.flip(1))


def test_painted_pixels_keep_their_labels_up_to_the_edge() -> None:
    geometry = InputGeometry((20, 40), (20, 40), (20, 40))
    mask = np.zeros((20, 40), np.bool_)
    mask[:, :20] = True
    painted = np.zeros_like(mask)
    painted[5, 17:23] = True  # three pixels painted, three erased
    labels = labels_on_view(mask, (), geometry, (20, 40), 4, 0.5, painted)
    expected = torch.zeros(20, 40)
    expected[:, :16] = 1
    assert torch.equal(
        labels.negative, torch.where(torch.tensor(painted & ~mask), 1, expected.flip(1))
    )
    assert torch.equal(labels.positive, torch.where(torch.tensor(painted & mask), 1, expected))


def test_a_click_overrides_the_mask_also_when_the_grid_is_coarse() -> None:
    geometry = InputGeometry((16, 16), (16, 16), (16, 16))
    mask = np.ones((16, 16), np.bool_)
    labels = labels_on_view(mask, (Click(5.5, 9.5, False),), geometry, (4, 4), 0, 0.5)
    assert labels.negative[2, 1] == 1 / 16
    assert labels.positive[2, 1] == 15 / 16
    assert labels.negative.sum() == 1 / 16


def test_a_close_up_shows_its_part_of_the_labels() -> None:
    geometry = InputGeometry.close_up((32, 32), (8, 8, 24, 24), 16, 16)
    labels = labels_on_view(square(32, 12, 20), (), geometry, (16, 16), 0, 0.5)
    assert torch.equal(labels.positive, torch.from_numpy(square(16, 4, 12)).float())


# -- clicks ---------------------------------------------------------------------------------


def test_of_contradictory_clicks_on_one_pixel_the_last_one_counts() -> None:
    first, other, last = Click(3.2, 4.9), Click(8, 8), Click(3.9, 4.1, False)
    assert distinct_clicks((first, other, last), (10, 10)) == (last, other)
    # The far border belongs to the last pixel.
    assert distinct_clicks((Click(10, 10), Click(9.5, 9.5, False)), (10, 10)) == (
        Click(9.5, 9.5, False),
    )


def test_disagreement_is_the_share_of_clicks_that_the_mask_contradicts() -> None:
    mask = square(10, 0, 5)
    clicks = (Click(2, 2), Click(8, 8), Click(8, 2, False), Click(1, 1, False))
    assert disagreement(mask, clicks) == 0.5
    assert disagreement(mask, ()) == 0.0


def test_the_next_click_is_in_the_middle_of_the_larger_error() -> None:
    wanted, found = square(30, 2, 13), square(30, 20, 25)
    assert next_click(wanted, found) == Click(7.5, 7.5, True)
    assert next_click(found, wanted) == Click(7.5, 7.5, False)
    assert next_click(wanted, wanted) is None
    same = square(30, 15, 26)  # as deep as what is wanted, and of the other kind
    assert next_click(wanted, same) == Click(20.5, 20.5, False)
    assert next_click(wanted, same, missing_first=True) == Click(7.5, 7.5, True)


def test_every_error_gets_a_click_the_largest_first() -> None:
    wanted, found = square(30, 2, 7) | square(30, 20, 29), square(30, 12, 19)
    clicks = click_per_error(wanted, found, 3)
    assert clicks == (Click(24.5, 24.5), Click(15.5, 15.5, False), Click(4.5, 4.5))
    assert click_per_error(wanted, found, 1) == clicks[:1]
    assert click_per_error(wanted, wanted, 3) == ()
