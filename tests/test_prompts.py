"""Prompts: what is accepted, what is refused, and that nothing can be changed afterwards."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samadapt.errors import PromptError
from samadapt.prompts import Box, Click, Prompt

numbers = st.floats(-1e6, 1e6)


def test_click_labels():
    assert Click(1, 2).label == 1
    assert Click(1, 2, positive=False).label == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_must_be_finite(bad):
    for make in (
        lambda: Click(bad, 0),
        lambda: Click(0, bad),
        lambda: Prompt([(bad, 0)]),
        lambda: Prompt(np.array([[0, bad]])),
        lambda: Box(0, 0, bad, 5),
        lambda: Prompt(box=(0, bad, 5, 5)),
    ):
        with pytest.raises(PromptError, match="finite"):
            make()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9), (5, 9, 9, 5)])
def test_empty_box(box):
    with pytest.raises(PromptError, match="empty"):
        Prompt(box=box)


@pytest.mark.parametrize(
    "box", [(1, 2, 3), (1, 2, 3, 4, 5), "abcd", 7, ((1, 2), (3, 4)), (1, 2, 3, None)]
)
def test_box_must_be_four_numbers(box):
    with pytest.raises(PromptError, match="four numbers"):
        Prompt(box=box)


@given(st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1, max_size=6))
def test_clicks_survive_the_way_through_a_prompt(rows):
    clicks = tuple(Click(*row) for row in rows)
    prompt = Prompt.from_clicks(clicks)
    assert prompt.clicks == clicks
    assert prompt.points == tuple((c.x, c.y) for c in clicks)
    assert prompt.labels == tuple(c.label for c in clicks)


def test_labels_default_to_the_object():
    assert Prompt([(1, 2), (3, 4)]).labels == (1, 1)


@pytest.mark.parametrize(
    "given",
    [
        {"points": [(1, 2), (3, 4)], "labels": [1, 0]},
        {"points": np.array([[1, 2], [3, 4]], np.int64), "labels": np.array([1, 0])},
        {"points": np.array([[1, 2], [3, 4]], np.float32), "labels": (True, False)},
        {"points": iter([(1, 2), (3, 4)]), "labels": [1.0, 0.0]},
    ],
)
def test_points_and_labels_come_in_many_forms(given):
    prompt = Prompt(**given)
    assert prompt.points == ((1.0, 2.0), (3.0, 4.0))
    assert prompt.labels == (1, 0)
    assert all(type(v) is float for point in prompt.points for v in point)
    assert all(type(v) is int for v in prompt.labels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "empty"),
        ({"points": []}, "empty"),
        ({"points": None}, "empty"),
        ({"points": np.zeros((0, 2))}, "empty"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "1 points but 2 labels"),
        ({"points": [(1, 2)], "labels": []}, "1 points but 0 labels"),
        ({"labels": [1], "box": (0, 0, 1, 1)}, "0 points but 1 labels"),
        ({"points": [(1, 2)], "labels": [2]}, "label 2"),
        ({"points": [(1, 2)], "labels": [-1]}, "label -1"),
        ({"points": [(1, 2)], "labels": [math.nan]}, "label nan"),
        ({"points": [(1, 2), (3, 4)], "labels": [[1], [1, 0]]}, "label"),
        ({"points": [(1, 2, 3)]}, r"pair \(x, y\)"),
        ({"points": [1, 2]}, "pair"),
        ({"points": (1, 2)}, "pair"),
        ({"points": np.array([1, 2])}, "pair"),
        ({"points": 7}, "pair"),
        ({"points": [("a", "b")]}, "pair"),
        ({"points": [(None, 1)]}, "pair"),
        ({"points": [(10**400, 1)]}, "pair"),
    ],
)
def test_points_that_cannot_be_used(given, message):
    with pytest.raises(PromptError, match=message) as caught:
        Prompt(**given)
    assert "\n" not in str(caught.value)


def test_box_is_kept_as_a_value():
    prompt = Prompt(box=np.array([1, 2, 3.5, 4], np.float32))
    assert prompt.box == Box(1, 2, 3.5, 4)
    assert prompt.box.as_tuple() == (1, 2, 3.5, 4)
    assert Prompt(box=Box(1, 2, 3, 4)).box == Box(1, 2, 3, 4)
    assert prompt.points == ()
    assert prompt.clicks == ()


# -- earlier masks ------------------------------------------------------------------------


def test_mask_is_copied_and_read_only():
    for kind in (bool, np.float32, np.float64):
        given = np.ones((3, 4), kind)
        prompt = Prompt(mask=given)
        given[:] = 0
        assert prompt.mask.all()
        with pytest.raises(ValueError, match="read-only"):
            prompt.mask[0, 0] = 0


def test_logits_become_float32_and_bool_stays_bool():
    assert Prompt(mask=np.zeros((2, 2))).mask.dtype == np.float32
    assert Prompt(mask=np.zeros((2, 2), np.float16)).mask.dtype == np.float32
    assert Prompt(mask=np.zeros((2, 2), bool)).mask.dtype == bool
    assert Prompt(mask=np.zeros((1, 2, 3))).mask.shape == (2, 3)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((3, 4, 4)), "shape"),
        (np.zeros((0, 4)), "shape"),
        (np.zeros((4, 4), np.uint8), "uint8"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.full((2, 2), np.inf), "infinite"),
    ],
)
def test_masks_that_cannot_be_used(mask, message):
    with pytest.raises(PromptError, match=message):
        Prompt(mask=mask)


def test_with_mask_changes_nothing_else():
    prompt = Prompt([(1, 2)], [0], box=(0, 0, 5, 5))
    other = prompt.with_mask(np.zeros((4, 4)))
    assert (other.points, other.labels, other.box) == (prompt.points, prompt.labels, prompt.box)
    assert prompt.mask is None
    assert other.with_mask(None).mask is None


def test_taking_the_mask_off_a_prompt_that_is_nothing_else():
    with pytest.raises(PromptError, match="empty"):
        Prompt(mask=np.zeros((4, 4))).with_mask(None)


# -- on an image --------------------------------------------------------------------------


@pytest.mark.parametrize("point", [(0, 0), (20, 10), (19.99, 9.99), (0, 10)])
def test_clicks_up_to_the_outer_edge_are_inside(point):
    Prompt([point]).check_inside((10, 20))


@pytest.mark.parametrize("point", [(-0.01, 0), (20.01, 5), (5, 10.01), (15, -1)])
def test_clicks_outside_name_the_click_and_the_size(point):
    with pytest.raises(PromptError, match=r"outside the image of 20 x 10 pixels"):
        Prompt([(1, 1), point]).check_inside((10, 20))


def test_box_must_touch_the_image():
    Prompt(box=(-5, -5, 1, 1)).check_inside((10, 20))
    Prompt(box=(19, 9, 50, 50)).check_inside((10, 20))
    for box in [(-5, 0, 0, 5), (20, 0, 25, 5), (0, 10, 5, 15), (0, -5, 5, 0)]:
        with pytest.raises(PromptError, match="lies outside"):
            Prompt(box=box).check_inside((10, 20))


def test_values_cannot_be_changed():
    for value, name in ((Click(1, 2), "x"), (Box(0, 0, 1, 1), "x0"), (Prompt([(1, 2)]), "points")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 5)
