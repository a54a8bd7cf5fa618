"""Scenes made from photographs: their regions, and how little they look like photographs."""

from __future__ import annotations

import numpy as np
import pytest

from research.scenes.regions import scene_from_photo, unlike_a_photo


def picture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square of two colours on an even ground, and the masks of its two halves."""
    image = np.full((120, 160, 3), (60, 120, 60), np.uint8)
    left, right = np.zeros((2, 120, 160), np.uint8)
    left[30:90, 40:80] = 1
    right[30:90, 80:120] = 1
    image[left > 0] = (200, 40, 40)
    image[right > 0] = (40, 40, 220)
    return image, left, right


def best_iou(masks: list[np.ndarray], truth: np.ndarray) -> float:
    return max(float((m & truth).sum() / (m | truth).sum()) for m in masks)


@pytest.mark.parametrize("seed", range(5))
def test_regions_of_even_colour_and_labelled_objects_are_objects(seed: int) -> None:
    image, left, right = picture()
    scene = scene_from_photo(np.random.default_rng(seed), image, [left | right], 160, 0.0)
    lit = _lit(scene.image)
    masks = scene.masks(60)
    for half in (left, right, left | right):
        shown = (half > 0) & lit
        if shown.sum() > 800:
            assert best_iou(masks, shown) > 0.85


def test_the_unlit_surroundings_are_dark_and_hold_no_object() -> None:
    image, left, right = picture()
    image = image // 2 + 120
    dark = 0
    for seed in range(12):
        scene = scene_from_photo(np.random.default_rng(seed), image, [left, right], 160, 0.0)
        corner = scene.image[:4, :4]
        if corner.max() < 30:
            dark += 1
            assert not scene.labels[:4, :4].any()
    assert dark >= 2


def test_the_same_seed_gives_the_same_scene_at_the_asked_size() -> None:
    image, left, _ = picture()
    a, b = (scene_from_photo(np.random.default_rng(7), image, [left], 96) for _ in range(2))
    assert a.image.shape == (72, 96, 3)
    assert (a.image == b.image).all()
    assert (a.labels == b.labels).all()
    assert set(a.wholes) == set(b.wholes)


def test_an_unlabelled_photograph_of_one_colour_has_no_objects() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    assert scene_from_photo(np.random.default_rng(0), image, [], 64).masks() == []


def test_images_lose_their_colours_and_contrast() -> None:
    rng = np.random.default_rng(1)
    image = np.clip(rng.normal(128, 60, (48, 48, 3)), 0, 255).astype(np.uint8)
    looks = [unlike_a_photo(np.random.default_rng(seed), image, 1.0) for seed in range(40)]
    grey = sum(bool((look == look[..., :1]).all()) for look in looks)
    assert 5 <= grey <= 30
    assert np.median([look.std() for look in looks]) < 0.8 * image.std()


def _lit(image: np.ndarray) -> np.ndarray:
    return np.asarray(image.max(-1) > 30)
