"""Of a mask that answers clicks, the parts that hold one."""

from __future__ import annotations

import numpy as np
import pytest

from samadapt.models.clicked_parts import without_unclicked_parts
from samadapt.models.geometry import InputGeometry
from samadapt.models.prediction import Prediction
from samadapt.prompts import Prompt

GEOMETRY = InputGeometry.longest_side((64, 96), 192, 32)
"""A cell of the logits' grid is one pixel of the image."""


def answer(*boxes: tuple[int, int, int, int]) -> Prediction:
    """One mask of rectangles (x0, y0, x1, y1)."""
    masks = np.zeros((1, 64, 96), np.bool_)
    for x0, y0, x1, y1 in boxes:
        masks[0, y0:y1, x0:x1] = True
    logits = np.where(masks, 5, -5).astype(np.float32)
    return Prediction(masks, np.ones(1, np.float32), logits)


LEFT, RIGHT = (10, 10, 30, 30), (60, 10, 80, 30)


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([(20, 20)], (LEFT,)),
        ([(70, 20)], (RIGHT,)),
        ([(20, 20), (70, 20)], (LEFT, RIGHT)),
        ([(45, 50)], (LEFT, RIGHT)),
    ],
    ids=["left", "right", "both", "beside"],
)
def test_parts_without_a_click_go_and_clicked_ones_stay(
    points: list[tuple[float, float]], kept: tuple[tuple[int, int, int, int], ...]
) -> None:
    prompt = Prompt(points=points, labels=[1] * len(points))
    found = without_unclicked_parts(answer(LEFT, RIGHT), prompt, GEOMETRY)
    expected = answer(*kept)
    assert (found.masks == expected.masks).all()
    assert ((found.logits > 0) == (expected.logits > 0)).all()


def test_a_background_click_holds_no_part() -> None:
    prompt = Prompt(points=[(20, 20), (70, 20)], labels=[1, 0])
    found = without_unclicked_parts(answer(LEFT, RIGHT), prompt, GEOMETRY)
    assert (found.masks == answer(LEFT).masks).all()


@pytest.mark.parametrize(("gap", "kept"), [(3, True), (6, False)])
def test_a_small_gap_does_not_part_an_object(gap: int, kept: bool) -> None:
    whole = answer((10, 30, 40, 33), (40 + gap, 30, 70, 33))
    found = without_unclicked_parts(whole, Prompt(points=[(20, 31)], labels=[1]), GEOMETRY)
    assert found.masks[0, 31, 60] == kept
    assert found.masks[0, 31, 20]


def test_boxes_and_drawn_masks_may_be_of_several_parts() -> None:
    whole = answer(LEFT, RIGHT)
    boxed = Prompt(points=[(20, 20)], labels=[1], box=(5, 5, 90, 40))
    drawn = Prompt(points=[(20, 20)], labels=[1], mask=whole.masks[0])
    for prompt in (boxed, drawn, Prompt(box=(5, 5, 90, 40))):
        assert without_unclicked_parts(whole, prompt, GEOMETRY) is whole


def test_the_models_own_earlier_mask_does_not_keep_a_part() -> None:
    whole = answer(LEFT, RIGHT)
    prompt = Prompt(points=[(20, 20)], labels=[1], mask=whole.logits[0])
    found = without_unclicked_parts(whole, prompt, GEOMETRY)
    assert (found.masks == answer(LEFT).masks).all()


def test_a_close_up_counts_in_its_own_cells() -> None:
    window = (48, 0, 96, 32)
    seen = InputGeometry.close_up((64, 96), window, 96, 32)
    masks = np.zeros((1, 64, 96), np.bool_)
    masks[0, 4:12, 52:60] = masks[0, 4:12, 80:88] = True
    logits = np.where(masks[:, 0:32, 48:96], 5, -5).astype(np.float32)
    found = Prediction(masks, np.ones(1, np.float32), logits, window)
    kept = without_unclicked_parts(found, Prompt(points=[(84, 8)], labels=[1]), seen)
    assert kept.masks[0, 8, 84]
    assert not kept.masks[0, :, :70].any()
    assert not (kept.logits[0, :, :24] > 0).any()


def test_the_given_answer_is_not_changed() -> None:
    whole = answer(LEFT, RIGHT)
    before = whole.masks.copy()
    without_unclicked_parts(whole, Prompt(points=[(20, 20)], labels=[1]), GEOMETRY)
    assert (whole.masks == before).all()


def test_a_click_on_the_border_of_the_image_holds_its_part() -> None:
    edge = answer(LEFT, (80, 40, 96, 64))
    for x, y in ((96, 50), (90, 64), (96, 64)):
        prompt = Prompt(points=[(20, 20), (x, y)], labels=[1, 1])
        assert without_unclicked_parts(edge, prompt, GEOMETRY) is edge


def test_a_clicked_pixel_stays_where_the_grid_does_not_show_it() -> None:
    found = answer(LEFT, RIGHT)
    masks = found.masks.copy()
    masks[0, 10:12, 64:72] = True
    hidden = Prediction(masks, found.scores, found.logits.copy())
    hidden.logits.setflags(write=True)
    hidden.logits[0, 8:32, 58:82] = 5  # one part of the grid, in which the left click is not
    prompt = Prompt(points=[(20, 20), (66, 11)], labels=[1, 1])
    kept = without_unclicked_parts(hidden, prompt, GEOMETRY)
    assert kept.masks[0, 11, 66]
    assert kept.masks[0, 20, 20]
