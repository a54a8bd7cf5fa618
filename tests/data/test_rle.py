"""Run lengths and polygons: exact round trips, and nothing broken ever reaches C code."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from samadapt.data.polygons import mask_to_polygons
from samadapt.data.rle import Rle
from samadapt.errors import DataError

sizes = st.tuples(st.integers(1, 16), st.integers(1, 16))
noise = sizes.flatmap(lambda size: arrays(bool, size))


@st.composite
def blobs(draw):
    """Masks with parts, holes, and parts inside holes: rings and bars painted over each other."""
    height, width = draw(st.integers(3, 40)), draw(st.integers(3, 40))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(draw(st.integers(1, 8))):
        center = (draw(st.integers(0, width)), draw(st.integers(0, height)))
        radius, value = draw(st.integers(0, 15)), draw(st.integers(0, 1))
        thickness = draw(st.sampled_from([-1, 1, 3]))
        cv2.circle(mask, center, radius, value, thickness)
    return mask.astype(bool)


masks = st.one_of(noise, blobs())
M = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]], bool)
M_RUNS = [3, 4, 1, 1, 3]


# -- run lengths --------------------------------------------------------------------------


def test_run_lengths_by_hand():
    rle = Rle.from_mask(M)
    assert rle.runs().tolist() == M_RUNS
    assert rle.size == (3, 4)
    assert rle.area == 5
    assert rle.box == (1, 0, 2, 3)
    np.testing.assert_array_equal(rle.mask(), M)
    np.testing.assert_array_equal(Rle.from_mask(M.astype(np.int32) * 7).mask(), M)


@given(masks)
def test_mask_round_trip(mask):
    rle = Rle.from_mask(mask)
    decoded = rle.mask()
    assert decoded.dtype == bool
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)
    assert rle.area == mask.sum()
    assert Rle.from_runs(rle.runs(), rle.size) == rle
    assert Rle.from_coco(rle.to_coco(), mask.shape) == rle
    assert Rle.from_coco(rle, mask.shape) == rle


@given(masks)
def test_runs_equal_a_plain_count(mask):
    runs = [0]
    for value in mask.T.reshape(-1).tolist():
        if value != (len(runs) % 2 == 0):
            runs.append(0)
        runs[-1] += 1
    assert Rle.from_mask(mask).runs().tolist() == runs


@given(masks)
def test_a_crop_is_all_of_a_mask(mask):
    rle = Rle.from_mask(mask)
    crop, x, y = rle.cropped()
    assert (x, y, crop.shape[1], crop.shape[0]) == rle.box
    assert Rle.from_crops([(crop, x, y)], rle.size) == rle
    assert Rle.from_crops([(mask, 0, 0)], rle.size) == rle
    height, width = mask.shape
    larger = np.pad(mask, ((1, 2), (3, 0)))
    assert Rle.from_crops([(mask, 3, 1)], (height + 3, width + 3)) == Rle.from_mask(larger)


@given(masks)
def test_box_is_tight(mask):
    rows, columns = np.nonzero(mask)
    expected = (0, 0, 0, 0)
    if rows.size:
        x, y = columns.min(), rows.min()
        expected = (x, y, columns.max() - x + 1, rows.max() - y + 1)
    assert Rle.from_mask(mask).box == expected


def test_large_numbers_unpack_as_they_were_packed():
    size = (20000, 20000)
    runs = [123456789, 1, 2, 70000000, 206543208]
    rle = Rle.from_runs(runs, size)
    assert rle.runs().tolist() == runs
    assert rle.area == 70000001


def test_every_form_of_segmentation_is_read():
    packed = coco.encode(np.asfortranarray(M.astype(np.uint8)))
    forms = [
        {"size": [3, 4], "counts": M_RUNS},
        {"size": (3.0, 4.0), "counts": [float(v) for v in M_RUNS]},
        {"size": [3, 4], "counts": packed["counts"]},
        {"size": [3, 4], "counts": packed["counts"].decode()},
        [[1, 0, 2, 0, 2, 3, 1, 3], [2, 0, 3, 0, 3, 1, 2, 1], [2, 2, 3, 2, 3, 3, 2, 3]],
    ]
    for form in forms:
        np.testing.assert_array_equal(Rle.from_coco(form, (3, 4)).mask(), M)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[0, 0, 2, 0, 2, 2, 0, 2], [3, 3, 9, 3]],
        [[], [0, 0, 2, 0, 2, 2, 0, 2]],
        [[[0, 0], [2, 0], [2, 2], [0, 2]]],
        [[0, 0], [2, 0], [2, 2], [0, 2]],
    ],
)
def test_points_in_pairs_and_parts_that_enclose_nothing(segmentation):
    expected = np.zeros((4, 5), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(Rle.from_coco(segmentation, (4, 5)).mask(), expected)


def test_a_single_polygon_may_stand_without_its_outer_list():
    square = [1, 1, 3, 1, 3, 3, 1, 3]
    assert Rle.from_coco(square, (5, 5)) == Rle.from_coco([square], (5, 5))


def test_zero_runs_are_harmless():
    rle = Rle.from_runs([0, 0, 3, 4, 0, 0, 1, 1, 3, 0], (3, 4))
    np.testing.assert_array_equal(rle.mask(), M)
    assert rle == Rle.from_mask(M)
    assert Rle.from_runs([0, 5, 0, 7], (3, 4)) == Rle.from_mask(np.ones((3, 4), bool))


GOOD = Rle.from_mask(M).counts.decode()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, 4, 1, 1], "add up to 9 pixels"),
        ([3, 4, 1, 1, 4], "add up to 13 pixels"),
        ([3, -4, 9, 1, 3], "negative"),
        ([10**9, 1], "too long"),
        ([2**62, 2**62, 2**62], "whole numbers"),
        ([10**30], "whole numbers"),
        ([3, 4.5, 4.5], "whole numbers"),
        ([float("nan"), 12], "whole numbers"),
        ([float("inf"), 12], "whole numbers"),
        (["3", "9"], "whole numbers"),
        ([[12]], "whole numbers"),
        ([[1], [2, 3]], "whole numbers"),
        ([None, 12], "whole numbers"),
        ([], "broken|whole"),
        (None, "whole numbers"),
        (12, "whole numbers"),
        ("", "characters"),
        ("b'341O'", "characters"),
        ("ä" + GOOD, "characters"),
        ("\ud800" + GOOD, "characters"),
        ("\0" * 8, "characters"),
        (GOOD + "P", "ends too early"),
        ("oooooooooooooooooooooooo0", "too long"),
        ("0" * 100, "add up"),
        (GOOD[:-1], "add up|early"),
        (GOOD + "1", "add up"),
        (b"\xff\xff", "characters"),
    ],
)
def test_broken_run_lengths(counts, message):
    with pytest.raises(DataError, match=message) as caught:
        Rle.from_coco({"size": [3, 4], "counts": counts}, (3, 4))
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=30))
def test_random_bytes_are_refused_or_consistent(data):
    try:
        rle = Rle((3, 4), data)
    except DataError:
        return
    assert rle.mask().sum() == rle.area


@given(st.binary(max_size=30).map(lambda data: bytes(48 + b % 64 for b in data)))
def test_random_characters_are_refused_or_consistent(data):
    try:
        rle = Rle((3, 4), data)
    except DataError:
        return
    assert rle.mask().sum() == rle.area


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [4, 3], "counts": M_RUNS}, "3 x 4 pixels but its image 4 x 3"),
        ({"size": [3], "counts": M_RUNS}, "size"),
        ({"size": None, "counts": M_RUNS}, "size"),
        ({"size": ["a", 4], "counts": M_RUNS}, "size"),
        ({"size": [float("inf"), 4], "counts": M_RUNS}, "size"),
        ({"counts": M_RUNS}, "size"),
        ({"size": [3, 4]}, "neither polygons nor run lengths"),
        ("abc", "neither"),
        (7, "neither"),
        ([], "empty"),
        ([[]], "at least 3 points"),
        ([[0, 0, 2, 2]], "at least 3 points"),
        ([[0, 0, 2, 2, 1, 1, 5]], "polygon 1 has 7 numbers"),
        ([[0, 0, 2, 0, 2, 2], [0, 0, 1]], "polygon 2 has 3"),
        ([[0, 0, 2, 0, 2, "x"]], "list of numbers"),
        ([["a"]], "list of numbers"),
        ([{"x": 1}], "list of numbers"),
        ([[0, 0, 2, 0, float("nan"), 2]], "outside"),
        ([[0, 0, 2, 0, 1e9, 2]], "far outside"),
        ([[0, 0, -2000, 0, 1, 2]], "far outside"),
    ],
)
def test_segmentations_that_cannot_be_used(segmentation, message):
    with pytest.raises(DataError, match=message) as caught:
        Rle.from_coco(segmentation, (3, 4))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 2, 2), bool), np.zeros((2, 2)), np.zeros((0, 2), bool)]
)
def test_masks_that_cannot_be_encoded(mask):
    with pytest.raises(DataError, match="mask of"):
        Rle.from_mask(mask)


def test_polygon_that_would_exhaust_memory():
    with pytest.raises(DataError, match="polygon 1 has an outline too long"):
        Rle.from_polygons([[0, 0, 4000, 3000] * 3000], (3000, 4000))


def test_polygon_slightly_outside_is_clipped():
    mask = Rle.from_polygons([[-1.5, -1.5, 2, -1.5, 2, 2, -1.5, 2]], (3, 4)).mask()
    expected = np.zeros((3, 4), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(mask, expected)


# -- polygons -----------------------------------------------------------------------------


def test_polygon_of_one_pixel():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    assert mask_to_polygons(mask) == [[2, 1, 3, 1, 3, 2, 2, 2]]


def test_polygon_of_a_ring_has_a_cut_without_width():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    (polygon,) = mask_to_polygons(mask)
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    # Down the cut at x = 1, around the hole, up the cut again, on along the outside.
    hole = [(1, 0), (1, 2), (2, 2), (2, 1), (1, 1), (1, 0)]
    start = points.index((1, 0))
    assert points[start:] + points[:start] == [*hole, (3, 0), (3, 3), (0, 3), (0, 0)]
    # The shoelace formula sees the ring's true area: the cut encloses nothing.
    assert shoelace(polygon) == 8


def shoelace(polygon):
    x, y = np.array(polygon[::2]), np.array(polygon[1::2])
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def test_empty_mask_has_no_polygon():
    assert mask_to_polygons(np.zeros((4, 4), bool)) == []
    with pytest.raises(DataError, match="bool mask"):
        mask_to_polygons(np.zeros((2, 2, 2), bool))


@settings(max_examples=100, deadline=None)
@given(masks)
def test_polygons_give_back_the_very_same_mask(mask):
    polygons = mask_to_polygons(mask)
    if not mask.any():
        assert polygons == []
        return
    np.testing.assert_array_equal(Rle.from_polygons(polygons, mask.shape).mask(), mask)
    # As any other reader of COCO files would do it.
    merged = coco.merge(coco.frPyObjects([[float(v) for v in p] for p in polygons], *mask.shape))
    np.testing.assert_array_equal(coco.decode(merged).astype(bool), mask)


@settings(max_examples=100, deadline=None)
@given(masks)
def test_polygons_are_one_per_part_with_true_areas(mask):
    polygons = mask_to_polygons(mask)
    parts, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    areas = sorted(np.bincount(labels.ravel(), minlength=parts)[1:].tolist())
    assert sorted(shoelace(p) for p in polygons) == areas
    for polygon in polygons:
        assert len(polygon) >= 8
        assert all(type(v) is int for v in polygon)


@settings(max_examples=50, deadline=None)
@given(masks)
def test_polygons_fill_alike_by_the_even_odd_rule(mask):
    # Pixel centres against the crossing-number test, written out: independent of pycocotools.
    filled = np.zeros_like(mask)
    for polygon in mask_to_polygons(mask):
        points = np.array(polygon).reshape(-1, 2)
        inside = np.zeros_like(mask)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if x0 == x1:
                rows = slice(min(y0, y1), max(y0, y1))
                inside[rows, x0:] ^= True
        filled |= inside
    np.testing.assert_array_equal(filled, mask)
