"""Local refinement: where corrections are looked at again, and what that may change."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import samadapt
from fakes import blobs
from samadapt.models import predictor
from samadapt.models.geometry import InputGeometry
from samadapt.models.local_refinement import correction_window, inner_part, merge
from samadapt.models.prediction import Prediction
from samadapt.prompts import Click, Prompt

WHOLE = InputGeometry.longest_side((512, 512), 512, 32)  # one input pixel per image pixel
SIZE = (256, 256)  # so a cell of the grid is two pixels wide
Mask = NDArray[np.bool_]


def grid(*regions: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros(SIZE, bool)
    for x0, y0, x1, y1 in regions:
        mask[y0:y1, x0:x1] = True
    return mask


def test_the_window_is_centred_on_what_the_click_changed() -> None:
    # The region is 40 x 20 pixels at (160, 200); twice its extent is below a fifth of the image.
    after = grid((80, 100, 100, 110))
    assert correction_window(grid(), after, Click(170, 205, True), WHOLE, 320) == (
        *(180 - 51, 210 - 51),
        *(180 + 51, 210 + 51),
    )


def test_the_window_is_twice_as_wide_as_what_changed() -> None:
    after = grid((80, 100, 120, 110))  # 80 pixels wide
    window = correction_window(grid(), after, Click(170, 205, True), WHOLE, 320)
    assert window == (200 - 80, 210 - 80, 200 + 80, 210 + 80)


def test_it_stays_inside_the_image() -> None:
    after = grid((0, 246, 10, 256))
    window = correction_window(grid(), after, Click(3, 509, True), WHOLE, 320)
    assert window == (0, 410, 102, 512)


def test_only_the_region_under_the_click_counts() -> None:
    near, far = (80, 100, 100, 110), (200, 10, 250, 60)
    click = Click(170, 205, True)
    alone = correction_window(grid(), grid(near), click, WHOLE, 320)
    assert correction_window(grid(), grid(near, far), click, WHOLE, 320) == alone


def test_what_is_taken_away_counts_as_what_is_added() -> None:
    click = Click(170, 205, False)
    region = (80, 100, 100, 110)
    assert correction_window(grid(region), grid(), click, WHOLE, 320) is not None


@pytest.mark.parametrize(
    ("after", "click"),
    [
        (grid((80, 100, 100, 110)), Click(20, 20, True)),  # nothing changed there
        (grid((20, 20, 140, 60)), Click(100, 100, True)),  # 240 pixels, so a window of 480
    ],
)
def test_no_window_where_nothing_is_gained(after: Mask, click: Click) -> None:
    assert correction_window(grid(), after, click, WHOLE, 320) is None


def test_a_close_up_is_refined_only_by_a_larger_one() -> None:
    seen = InputGeometry.close_up((512, 512), (100, 100, 260, 260), 320, 32)  # two for one
    after = np.zeros((160, 160), bool)
    after[40:48, 40:48] = True  # 8 pixels at (140, 140) of the image
    window = correction_window(np.zeros_like(after), after, Click(144, 144, True), seen, 320)
    assert window == (144 - 32, 144 - 32, 144 + 32, 144 + 32)  # magnified five times at most
    after[40:110, 40:48] = True  # 70 pixels: a window of 140 would show hardly more
    assert correction_window(np.zeros_like(after), after, Click(144, 144, True), seen, 320) is None


def test_the_rim_of_a_window_stays_as_it_was() -> None:
    whole = Prediction(np.zeros((1, 100, 100), bool), np.ones(1, np.float32), np.zeros((1, 2, 2)))
    detail = Prediction(np.ones((1, 100, 100), bool), np.ones(1, np.float32), np.zeros((1, 2, 2)))
    merged = merge(whole, detail, (0, 20, 50, 70), np.zeros((1, 2, 2), np.float32))
    expected = np.zeros((100, 100), bool)
    expected[23:67, 0:47] = True  # no rim where the window ends with the image
    np.testing.assert_array_equal(merged.masks[0], expected)


def test_the_inner_part_on_the_grid_agrees_with_that_in_the_image() -> None:
    inside = inner_part((0, 20, 50, 70), InputGeometry.longest_side((128, 128), 128, 32), (64, 64))
    ys, xs = np.nonzero(inside)  # centres at 2 i + 1
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (0, 22, 11, 32)


def test_a_correction_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model = samadapt.load("nano")
    embedding = model.encode(blobs().repeat(5, 0).repeat(5, 1))
    first = model.predict(embedding, Prompt(points=[(70.0, 60.0)]))
    prompt = Prompt(points=[(70.0, 60.0), (190.0, 145.0)], labels=[1, 1])
    prompt = prompt.with_mask(first.logits[0], first.window)
    window = (130, 90, 240, 190)
    monkeypatch.setattr(predictor, "correction_window", lambda *_: window)
    refined = model.predict(embedding, prompt)
    monkeypatch.setattr(predictor, "correction_window", lambda *_: None)
    plain = model.predict(embedding, prompt)
    outside = np.ones((200, 280), bool)
    outside[90:190, 130:240] = False
    np.testing.assert_array_equal(refined.masks[0][outside], plain.masks[0][outside])
    assert not np.array_equal(refined.masks, plain.masks)
    assert refined.window == plain.window
    assert refined.logits.shape == plain.logits.shape
