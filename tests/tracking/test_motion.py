from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeModel
from samadapt.metrics import iou
from samadapt.tracking.motion import Motion, SliceView, signed_distance


def picture(x: int, y: int, size: tuple[int, int] = (96, 120)) -> NDArray[np.uint8]:
    """A textured disc of radius 14 on a textured ground that stays."""
    ground = np.random.default_rng(1).integers(40, 90, (*size, 1), np.uint8)
    image = np.repeat(ground, 3, axis=2)
    image[disc(x, y, size)] = (210, 60, 60)
    return image


def disc(x: int, y: int, size: tuple[int, int] = (96, 120), radius: int = 14) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def motion(model: FakeModel, before: tuple[int, int], after: tuple[int, int]) -> Motion:
    views = [SliceView.of(p, model.encode(p)) for p in (picture(*before), picture(*after))]
    return Motion(*views)


@pytest.mark.parametrize("step", [(0, 0), (3, -2), (6, 5)])
def test_a_mask_follows_its_object(fake_model: FakeModel, step: tuple[int, int]) -> None:
    there = 50 + step[0], 40 + step[1]
    moved = motion(fake_model, (50, 40), there).carry(disc(50, 40))
    assert iou(moved, disc(*there)) > 0.85
    assert iou(moved, disc(*there)) >= iou(disc(50, 40), disc(*there)) - 0.02


def test_an_empty_mask_stays_empty(fake_model: FakeModel) -> None:
    assert not motion(fake_model, (50, 40), (53, 40)).carry(np.zeros((96, 120), np.bool_)).any()


def test_an_object_at_the_edge_is_cut_off_there(fake_model: FakeModel) -> None:
    moved = motion(fake_model, (110, 40), (114, 40)).carry(disc(110, 40))
    assert iou(moved, disc(114, 40)) > 0.8


def test_signed_distances_are_those_to_the_outline() -> None:
    mask = np.zeros((7, 9), np.bool_)
    mask[2:5, 3:6] = True
    found = signed_distance(mask)
    assert (found > 0).tolist() == mask.tolist()
    assert found[3, 4] == pytest.approx(2, abs=0.1)
    assert found[3, 8] == pytest.approx(-3, abs=0.1)
    assert (signed_distance(np.zeros((3, 4), np.bool_)) == -5).all()
