"""Simplified outlines: fewer corners, the same neighbours, parts and holes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samadapt.data.polygons import mask_to_parts, mask_to_polygons
from samadapt.data.rle import Rle
from samadapt.data.simplify import simplified


def partition(seed: int, size: int = 40, kinds: int = 5) -> NDArray[np.int64]:
    """A label map in which every pixel has a label: blobs, holes, thin bits and single pixels."""
    rng = np.random.default_rng(seed)
    fields = [
        cv2.GaussianBlur(rng.standard_normal((size, size)), (0, 0), float(sigma))
        for sigma in rng.uniform(0.7, 4.0, kinds)
    ]
    return np.stack([f / f.std() for f in fields]).argmax(axis=0)


def outlines(masks: Sequence[NDArray[np.bool_]], tolerance: float) -> list[list[list[int]]]:
    return simplified([Rle.from_mask(mask) for mask in masks], tolerance)


def shoelace(polygon: list[int]) -> float:
    x, y = np.array(polygon[::2]), np.array(polygon[1::2])
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def crossings(polygon: list[int], size: int = 40) -> NDArray[np.int64]:
    """How often a ray to the right, from a point in each pixel, crosses the line."""
    y, x = np.indices((size, size)) + np.array([0.4142, 0.3183])[:, None, None]
    found = np.zeros((size, size), np.int64)
    points = np.reshape(polygon, (-1, 2)).tolist()
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 != y1:
            at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            found += ((y0 < y) != (y1 < y)) & (x < at)
    return found


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0, 5.0, 20.0]))
def test_neighbours_leave_no_gap_and_no_overlap(seed: int, tolerance: float) -> None:
    labels = partition(seed)
    masks = [labels == label for label in np.unique(labels)]
    found = outlines(masks, tolerance)
    count = np.sum([crossings(polygon) % 2 for polygons in found for polygon in polygons], axis=0)
    np.testing.assert_array_equal(count, 1)
    area = sum(shoelace(polygon) for polygons in found for polygon in polygons)
    assert area == labels.size


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.7, 3.0]))
def test_parts_holes_and_corners_stay(seed: int, tolerance: float) -> None:
    labels = partition(seed, kinds=3)
    # Two objects that overlap, and one of them again.
    masks = [labels == 0, labels != 1, labels == 0]
    found = outlines(masks, tolerance)
    assert found[0] == found[2]
    for mask, polygons in zip(masks, found, strict=True):
        parts = mask_to_parts(mask)
        assert len(polygons) == len(parts)
        for part, polygon in zip(parts, polygons, strict=True):
            there = {tuple(p) for line in (part.outer, *part.holes) for p in line.tolist()}
            corners = {tuple(p) for p in np.reshape(polygon, (-1, 2)).tolist()}
            assert corners <= there
            assert len(corners) >= 3 * (1 + len(part.holes)) - 2 * len(part.holes)
            outline = np.array(polygon, np.float32).reshape(-1, 1, 2)
            distances = [
                abs(cv2.pointPolygonTest(outline, (float(x), float(y)), True))
                for x, y in part.outer.tolist()
            ]
            assert max(distances) <= tolerance + 1e-3


def test_a_staircase_becomes_a_line_for_both_neighbours() -> None:
    rows, columns = np.indices((20, 20))
    upper = columns > rows
    found = outlines([upper, ~upper], 1.0)
    assert [len(polygons) for polygons in found] == [1, 1]
    assert all(len(polygon) <= 12 for (polygon,) in found)
    assert len(mask_to_polygons(upper)[0]) > 70


def test_a_hole_that_a_chord_would_cut_off_stays_inside() -> None:
    mask = np.zeros((30, 40), np.bool_)
    mask[10:28, 2:38] = True
    mask[7:10, 18:23] = True  # a bump of three pixels, with a hole in it
    mask[8, 20] = False
    (polygons,) = outlines([mask], 4.0)
    drawn = Rle.from_polygons(polygons, mask.shape).mask()
    assert drawn[15, 20]
    assert not drawn[8, 20]


def test_an_object_in_a_notch_is_not_covered() -> None:
    mask = np.zeros((30, 40), np.bool_)
    mask[10:28, 2:38] = True
    mask[10:13, 18:23] = False
    other = np.zeros_like(mask)
    other[11, 20] = True  # in the notch, touching nothing
    first, second = (
        Rle.from_polygons(polygons, mask.shape).mask() for polygons in outlines([mask, other], 5)
    )
    assert second.any()
    assert not (first & second).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1)])
def test_the_smallest_objects_are_not_lost(shape: tuple[int, int]) -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[3 : 3 + shape[0], 3 : 3 + shape[1]] = True
    (polygons,) = outlines([mask], 10.0)
    assert Rle.from_polygons(polygons, mask.shape).area
    assert outlines([np.zeros((4, 4), np.bool_)], 1.0) == [[]]
    assert outlines([], 1.0) == []


def test_a_huge_image_costs_what_its_objects_cost() -> None:
    """One mask of it as pixels has 400 MB."""
    disc = np.hypot(*(np.mgrid[-40:40, -40:40] + 0.5)) < 40
    ((small,),) = outlines([disc], 2.0)
    huge = Rle.from_crops([(disc, 19_000, 18_000)], (20_000, 20_000))
    tracemalloc.start()
    try:
        ((polygon,),) = simplified([huge], 2.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    moved = np.reshape(small, (-1, 2)) + np.array([19_000, 18_000])
    assert np.reshape(polygon, (-1, 2)).tolist() == moved.tolist()
    assert peak < 50_000_000
