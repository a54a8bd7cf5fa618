"""nano's training samples: windows and nested levels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from research.nano.crops import (
    LARGEST_ZOOM,
    close_up,
    cut_image,
    cut_masks,
    random_window,
)
from research.nano.data import Photo, TrainingSamples, _members
from research.nano.levels import nested_levels
from samadapt.data.rle import Rle


def disc(size: tuple[int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    return cv2.circle(np.zeros(size, np.uint8), centre, radius, 1, -1).astype(bool)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def make_photos(folder: Path, count: int = 4) -> list[Photo]:
    """A face on noise: a disc with two eyes. Only the disc is annotated."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    photos = []
    for number in range(count):
        picture = rng.normal(70, 3, (120, 160, 3))
        middle = (int(rng.integers(60, 100)), 60)
        face = disc((120, 160), middle, 40)
        picture[face] += (120, 90, 30)
        for shift in (-16, 16):
            picture[disc((120, 160), (middle[0] + shift, 50), 9)] = (20, 20, 20)
        path = folder / "images" / f"{number}.png"
        cv2.imwrite(str(path), picture.clip(0, 255).astype(np.uint8)[..., ::-1])
        photos.append(Photo(path, (Rle.from_mask(face),)))
    return photos


# Windows


@pytest.mark.parametrize("extent", [6, 40, 200])
def test_a_close_up_holds_its_object_in_the_asked_proportion(extent: int) -> None:
    box = (250.0, 130.0, float(extent), extent / 2)
    corners = np.array([[250.0, 130.0, 1.0], [250.0 + extent, 130.0 + extent / 2, 1.0]])
    zooms, mirrored = [], 0
    for seed in range(60):
        window = close_up(np.random.default_rng(seed), (400, 600), box, 320)
        inside = corners @ window.T
        assert inside.min() >= 0
        assert inside.max() <= 320
        zoom = abs(window[0, 0])
        assert window[1, 1] == pytest.approx(zoom)
        mirrored += window[0, 0] < 0
        zooms.append(zoom)
    assert 15 < mirrored < 45
    expected = 320 / extent / np.array([2.5, 1.4])
    assert min(zooms) >= min(expected[0], LARGEST_ZOOM) - 1e-9
    assert max(zooms) <= min(expected[1], LARGEST_ZOOM) + 1e-9


def test_an_image_and_its_masks_are_cut_alike_at_any_resolution() -> None:
    mask = disc((120, 160), (70, 50), 30)
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    half = cv2.resize(mask.astype(np.uint8), (80, 60), interpolation=cv2.INTER_AREA)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        window = random_window(rng, (120, 160), mask.astype(np.uint8), rng.uniform(0.5, 3), 96)
        crop = cut_image(image, window, 96)
        bright = (crop[..., 0] > 160) & (crop[..., 0] != 115)
        full, small = cut_masks([mask.astype(np.uint8), half], (120, 160), window, 96)
        if full.sum() > 100:
            assert iou(full, bright) > 0.93
            assert iou(full, small) > 0.88


def test_masks_outside_the_window_are_empty() -> None:
    mask = disc((100, 100), (80, 80), 10).astype(np.uint8)
    window = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    assert not cut_masks([mask], (100, 100), window, 64)[0].any()
    assert cut_masks([mask], (100, 100), window, 96)[0].sum() == mask.sum()


# Levels


def test_nested_masks_become_levels_and_the_click_lies_in_all() -> None:
    whole, part, spot = (disc((128, 128), (64, 64), r) for r in (50, 30, 12))
    elsewhere = disc((128, 128), (10, 10), 8)
    for chosen in (whole, part, spot):
        for seed in range(5):
            levels = nested_levels(
                np.random.default_rng(seed), chosen, [spot, elsewhere, whole, part]
            )
            assert levels.valid.all()
            for found, expected in zip(levels.masks, (whole, part, spot), strict=True):
                assert (found.astype(bool) == expected).all()
            x, y = levels.click
            assert spot[int(y), int(x)]


def test_alike_masks_and_strangers_are_no_levels() -> None:
    chosen = disc((128, 128), (64, 64), 30)
    alike = disc((128, 128), (64, 64), 31)
    crossing = disc((128, 128), (90, 64), 30)
    tiny = np.zeros((128, 128), bool)
    tiny[60:63, 60:63] = True
    levels = nested_levels(np.random.default_rng(0), chosen, [chosen, alike, crossing, tiny])
    assert levels.valid.tolist() == [True, False, False]
    assert (levels.masks[0].astype(bool) == chosen).all()
    assert not levels.masks[1:].any()
    assert np.isnan(levels.click).all()


def test_levels_are_nested_exactly_and_keep_the_chosen_mask() -> None:
    chosen = disc((128, 128), (64, 64), 30)
    larger = disc((128, 128), (66, 64), 48) & ~disc((128, 128), (64, 64), 3)  # with a hole
    smaller = disc((128, 128), (49, 64), 15)  # a little of it sticks out
    levels = nested_levels(np.random.default_rng(0), chosen, [smaller, larger])
    assert levels.valid.all()
    masks = levels.masks.astype(bool)
    assert (masks[1] == chosen).all()
    assert (masks[0] >= masks[1]).all()
    assert (masks[1] >= masks[2]).all()
    assert iou(masks[0], larger | chosen) == 1
    assert iou(masks[2], smaller & chosen) == 1


# The stream


def test_samples_carry_consistent_levels_and_clicks(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "a")
    stream = iter(TrainingSamples([(photos, 1.0)], 0.4, 96, 2, seed=0))
    several = 0
    for _ in range(100):
        sample = next(stream)
        masks, levels = sample["masks"], sample["levels"]
        assert masks.shape == (2, 96, 96)
        assert levels.shape == (2, 3, 96, 96)
        assert (masks.flatten(1).sum(1) >= 40).all()
        for mask, nested, valid, click in zip(
            masks, levels, sample["level_valid"], sample["click"], strict=True
        ):
            kept = nested[valid]
            assert valid.tolist() == [k < len(kept) for k in range(3)]
            assert any(torch.equal(mask, level) for level in kept)
            assert not nested[~valid].any()
            if len(kept) == 1:
                assert click.isnan().all()
                continue
            several += 1
            x, y = click.long().tolist()
            assert kept[:, y, x].all()
            for outer, inner in pairwise(kept):
                assert (outer >= inner).all()
                assert inner.sum() < 0.85 * outer.sum()
    assert several > 2


def test_close_ups_enlarge_what_is_small(tmp_path: Path) -> None:
    mask = disc((120, 160), (50, 60), 6)
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), np.full((120, 160, 3), 90, np.uint8))
    photos = [Photo(path, (Rle.from_mask(mask),))]
    areas = []
    for close_ups in (0.0, 1.0):
        stream = iter(TrainingSamples([(photos, 1.0)], 0.0, 160, 1, 0, (1.0, 1.0), close_ups))
        areas.append([float(next(stream)["masks"].sum()) for _ in range(10)])
    assert np.allclose(areas[0], mask.sum(), rtol=0.15)
    # 160 pixels show 32 of the photograph: 2.5 times the disc, enlarged 5 times.
    assert np.allclose(areas[1], 25 * mask.sum(), rtol=0.15)


def test_an_empty_group_is_an_empty_mask() -> None:
    labels = np.array([[0, 2], [1, 2]], np.int32)
    assert not _members(labels, frozenset()).any()
    assert _members(labels, frozenset({2})).tolist() == [[0, 1], [0, 1]]
    assert not _members(labels, frozenset({7})).any()  # painted over wholly
