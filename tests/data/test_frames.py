from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samadapt.data.frames import Frame, changed_in, outside_of, part_of, placed, without
from samadapt.data.rle import Rle
from samadapt.errors import DataError

Mask = NDArray[np.bool_]
SIZE = (37, 53)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Frames that begin in the image; the last points may lead out of it."""
    step = draw(st.sampled_from([1, 2, 4, 8]))
    x, y = draw(st.integers(0, SIZE[1] - step)), draw(st.integers(0, SIZE[0] - step))
    across = draw(st.integers(1, -(-(SIZE[1] - x) // step)))
    down = draw(st.integers(1, -(-(SIZE[0] - y) // step)))
    return Frame(x, y, across * step, down * step, step)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    return np.asarray(rng.random(SIZE) < share)


def pooled(mask: Mask, frame: Frame) -> Mask:
    """The points of a frame, from all pixels."""
    x0, y0, x1, y1 = frame.window
    whole = np.zeros((frame.height, frame.width), np.bool_)
    part = mask[y0:y1, x0:x1]
    whole[: part.shape[0], : part.shape[1]] = part
    rows, columns = frame.size
    return np.asarray(whole.reshape(rows, frame.step, columns, frame.step).any((1, 3)))


@given(masks(), frames())
@settings(max_examples=60, deadline=None)
def test_points_are_set_where_a_pixel_is(mask: Mask, frame: Frame) -> None:
    np.testing.assert_array_equal(frame.points(Rle.from_mask(mask)), pooled(mask, frame))


@given(masks(), frames())
@settings(max_examples=60, deadline=None)
def test_pixels_of_points_are_counted(mask: Mask, frame: Frame) -> None:
    whole = np.zeros((frame.height, frame.width), np.int64)
    part = mask[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    whole[: part.shape[0], : part.shape[1]] = part
    rows, columns = frame.size
    counts = whole.reshape(rows, frame.step, columns, frame.step).sum((1, 3))
    np.testing.assert_array_equal(frame.pixels(Rle.from_mask(mask)), counts)


@given(masks(), frames())
@settings(max_examples=60, deadline=None)
def test_points_become_blocks_that_reach_the_edge_of_the_image(mask: Mask, frame: Frame) -> None:
    points = pooled(mask, frame)
    found = frame.rle(points, SIZE).mask()
    x0, y0, x1, y1 = frame.window
    x1, y1 = (
        length if length - end < frame.step else end
        for length, end in zip(SIZE[::-1], (min(x1, SIZE[1]), min(y1, SIZE[0])), strict=True)
    )
    expected = np.zeros(SIZE, np.bool_)
    for y in range(y0, y1):
        for x in range(x0, x1):
            row = min((y - y0) // frame.step, frame.size[0] - 1)
            expected[y, x] = points[row, min((x - x0) // frame.step, frame.size[1] - 1)]
    np.testing.assert_array_equal(found, expected)


@given(masks(), masks(), frames())
@settings(max_examples=60, deadline=None)
def test_masks_are_combined_as_sets_of_pixels(one: Mask, other: Mask, frame: Frame) -> None:
    first, second = Rle.from_mask(one), Rle.from_mask(other)
    np.testing.assert_array_equal(without(first, second).mask(), one & ~other)
    inside = frame.rle(np.ones(frame.size, np.bool_), SIZE).mask()
    np.testing.assert_array_equal(outside_of(first, frame).mask(), one & ~inside)
    x0, y0 = frame.x, frame.y
    width, height = min(frame.width, SIZE[1] - x0), min(frame.height, SIZE[0] - y0)
    part = part_of(first, (x0, y0, width, height))
    np.testing.assert_array_equal(part.mask(), one[y0 : y0 + height, x0 : x0 + width])
    back = placed(part, x0, y0, 1, SIZE).mask()
    expected = np.zeros(SIZE, np.bool_)
    expected[y0 : y0 + height, x0 : x0 + width] = one[y0 : y0 + height, x0 : x0 + width]
    np.testing.assert_array_equal(back, expected)


def test_a_change_keeps_the_detail_that_it_does_not_touch() -> None:
    mask = np.zeros(SIZE, np.bool_)
    mask[5, 5] = mask[21, 21] = True
    frame = Frame(0, 0, 52, 36, 4)

    def drop(points: Mask) -> Mask:
        left = points.copy()
        left[1, 1] = False
        left[0, 0] = True
        return left

    found = changed_in(Rle.from_mask(mask), frame, drop).mask()
    expected = np.zeros(SIZE, np.bool_)
    expected[:4, :4] = expected[21, 21] = True
    np.testing.assert_array_equal(found, expected)


def test_a_frame_lies_around_a_box_inside_the_image() -> None:
    assert Frame.around((90, 90, 90, 90), (1000, 2000), 128) == Frame(26, 26, 128, 128)
    assert Frame.around((0, 999, 0, 999), (1000, 2000), 128) == Frame(0, 872, 128, 128)
    # Four times 128 hold 400 pixels; the step that is asked for is kept where it is coarser.
    assert Frame.around((100, 100, 500, 120), (1000, 2000), 128) == Frame(44, 0, 512, 512, 4)
    assert Frame.around((100, 100, 200, 120), (1000, 2000), 128, 2) == Frame(22, 0, 256, 256, 2)
    assert Frame.around((0, 0, 2000, 10), (10, 2000), 128).size == (1, 128)


def test_large_masks_take_neither_time_nor_memory() -> None:
    size = (30_000, 30_000)
    frame = Frame(1000, 2000, 16_384, 16_384, 16)
    rng = np.random.default_rng(0)
    points = np.zeros(frame.size, np.bool_)
    points[100:900, 50:950] = rng.random((800, 900)) < 0.999
    rle = frame.rle(points, size)
    assert rle.area == points.sum() * 256
    np.testing.assert_array_equal(frame.points(rle), points)


@pytest.mark.parametrize("values", [(0, 0, 5, 4, 2), (0, 0, 0, 4, 1), (-1, 0, 4, 4, 1)])
def test_frames_without_whole_points_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="no part of an image"):
        Frame(*values)
    with pytest.raises(DataError, match="does not lie inside"):
        placed(Rle.from_mask(np.ones((4, 4), np.bool_)), 50, 0, 1, SIZE)
