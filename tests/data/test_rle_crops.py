from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from samadapt.data.polygons import (
    mask_to_parts,
    mask_to_polygons,
    rle_to_parts,
    rle_to_polygons,
)
from samadapt.data.rle import Rle
from samadapt.errors import DataError

Mask = NDArray[np.bool_]
masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))
corners = st.integers(-6, 14)


def encoded(mask: Mask) -> bytes:
    """By pycocotools, from all pixels."""
    return bytes(coco.encode(np.asfortranarray(mask, np.uint8))["counts"])


@given(st.lists(st.tuples(masks, corners, corners), max_size=4))
def test_parts_give_what_the_whole_mask_gives(parts: list[tuple[Mask, int, int]]) -> None:
    height, width, edge = 11, 13, 20
    full = np.zeros((height + 2 * edge, width + 2 * edge), np.bool_)
    for crop, x, y in parts:
        full[edge + y :, edge + x :][: crop.shape[0], : crop.shape[1]] |= crop
    expected = full[edge:-edge, edge:-edge]
    assert Rle.from_crops(parts, (height, width)).counts == encoded(expected)


@given(arrays(np.bool_, (3, 7, 6)))
def test_a_union_is_that_of_pycocotools(stack: NDArray[np.bool_]) -> None:
    packed = [{"size": [7, 6], "counts": encoded(mask)} for mask in stack]
    expected = coco.merge(packed)["counts"]
    assert Rle.union([Rle.from_mask(mask) for mask in stack]).counts == expected


@given(masks, st.data())
def test_a_crop_is_that_of_the_pixels(mask: Mask, data: st.DataObject) -> None:
    height, width = mask.shape
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    np.testing.assert_array_equal(Rle.from_mask(mask).crop(x0, y0, x1, y1), mask[y0:y1, x0:x1])


@given(masks)
def test_polygons_come_from_the_box_alone(mask: Mask) -> None:
    rle = Rle.from_mask(mask)
    assert rle_to_polygons(rle) == mask_to_polygons(mask)
    for ours, theirs in zip(rle_to_parts(rle), mask_to_parts(mask), strict=True):
        lines = (ours.outer, *ours.holes), (theirs.outer, *theirs.holes)
        assert [line.tolist() for line in lines[0]] == [line.tolist() for line in lines[1]]


def test_masks_on_400_million_pixels_are_made_in_parts() -> None:
    size = (20_000, 20_000)
    disc = np.hypot(*(np.mgrid[-300:300, -300:300] + 0.5)) < 300
    rle = Rle.from_crops([(disc, 19_000, 18_000), (disc, 100, 100)], size)
    assert rle.area == 2 * np.count_nonzero(disc)
    assert rle.box == (100, 100, 19_500, 18_500)
    np.testing.assert_array_equal(rle.crop(19_000, 18_000, 19_600, 18_600), disc)
    assert not rle.crop(1000, 1000, 3000, 3000).any()


@pytest.mark.parametrize("window", [(0, 0, 0, 2), (0, 0, 5, 2), (-1, 0, 2, 2), (0, 3, 2, 2)])
def test_a_window_must_lie_inside(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(DataError, match="window"):
        Rle.from_mask(np.ones((3, 4), np.bool_)).crop(*window)


def test_a_part_must_be_a_mask() -> None:
    with pytest.raises(DataError, match="bool mask"):
        Rle.from_crops([(np.zeros((2, 2)), 0, 0)], (4, 4))
