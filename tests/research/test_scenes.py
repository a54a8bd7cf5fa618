"""Generated scenes: exact masks, repeatable, every kind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from research.scenes.folder import write_scenes
from research.scenes.scene import SCENE_KINDS, Scene, generate_scene
from research.scenes.shapes import KINDS, random_shape
from research.scenes.textures import band_noise, random_texture
from samadapt.errors import DataError


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_every_kind_draws_objects_that_fit_the_image(kind: str) -> None:
    scene = generate_scene(np.random.default_rng(3), (64, 96), kind)
    assert scene.image.shape == (64, 96, 3)
    assert scene.image.dtype == np.uint8
    assert scene.labels.shape == (64, 96)
    assert scene.kind == kind
    masks = scene.masks(min_area=4)
    assert masks
    assert all(4 <= mask.sum() < 64 * 96 for mask in masks)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_difficult_scenes_hide_their_objects(kind: str) -> None:
    """Outlines stand out less from their neighbourhood, on average over scenes."""
    clearness = []
    for difficulty in (0.0, 1.0):
        found = []
        for seed in range(12):
            scene = generate_scene(np.random.default_rng(seed), (96, 96), kind, (), difficulty)
            found.append(_outline_clearness(scene))
        clearness.append(np.nanmean(found))
    assert clearness[1] < clearness[0]


def _outline_clearness(scene: Scene) -> float:
    """Mean step across outlines over the mean step elsewhere; NaN without outlines."""
    image = scene.image.astype(float)
    across = np.abs(np.diff(image, axis=1)).max(2)
    outline = scene.labels[:, 1:] != scene.labels[:, :-1]
    if not outline.any() or outline.all():
        return float("nan")
    return float(np.log((across[outline].mean() + 1) / (across[~outline].mean() + 1)))


def test_difficult_scenes_hold_more_objects() -> None:
    counts = [
        np.mean(
            [
                len(generate_scene(np.random.default_rng(s), (128, 128), "cells", (), d).masks())
                for s in range(10)
            ]
        )
        for d in (0.0, 1.0)
    ]
    assert counts[1] > 1.3 * counts[0]


def test_wholes_hold_more_than_one_visible_object_and_no_background() -> None:
    for kind in ("parts", "grains", "tissue", "plants"):
        wholes = 0
        for seed in range(12):
            scene = generate_scene(np.random.default_rng(seed), (192, 192), kind, (), 0.8)
            assert all(0 not in whole for whole in scene.wholes)
            wholes += len(scene.wholes)
        assert wholes


def test_same_seed_same_scene() -> None:
    a, b = (generate_scene(np.random.default_rng(5), (48, 48)) for _ in range(2))
    c = generate_scene(np.random.default_rng(6), (48, 48))
    assert (a.image == b.image).all()
    assert (a.labels == b.labels).all()
    assert c.kind != a.kind or (c.image != a.image).any()


def test_masks_show_what_is_visible_and_wholes_join_their_parts() -> None:
    for seed in range(20):
        scene = generate_scene(np.random.default_rng(seed), (96, 96), "parts")
        singles = [n for n in np.unique(scene.labels) if n]
        masks = scene.masks(min_area=0)
        visible = np.sum(masks[: len(singles)], axis=0)
        assert (visible == (scene.labels > 0)).all()  # no pixel belongs to two visible objects
        for whole, mask in zip(scene.wholes, masks[len(singles) :], strict=True):
            assert (mask == np.isin(scene.labels, list(whole))).all()


def test_photographs_may_serve_as_textures() -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    shares = []
    for photos in ((), (red,)):
        rng = np.random.default_rng(0)
        textures = [random_texture(rng, (16, 16), photos) for _ in range(100)]
        shares.append(np.mean([np.allclose(t, (200, 0, 0)) for t in textures]))
    assert shares[0] == 0
    assert 0.05 < shares[1] < 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_lie_around_their_centre(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        mask = random_shape(rng, (100, 120), (60.0, 50.0), 20.0, kind)
        ys, xs = np.nonzero(mask)
        assert len(ys)
        assert np.hypot(ys - 50, xs - 60).max() < 60


def test_a_shape_outside_the_canvas_is_empty() -> None:
    assert not random_shape(np.random.default_rng(0), (50, 50), (500.0, 500.0), 10.0, "blob").any()


def test_band_noise_is_as_smooth_as_asked() -> None:
    rng = np.random.default_rng(0)
    smooth, rough = (band_noise(rng, (128, 128), f) for f in (0.05, 1.0))
    assert np.abs(np.diff(smooth, axis=1)).mean() < 0.25 * np.abs(np.diff(rough, axis=1)).mean()


def test_bad_arguments_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="lakes"):
        generate_scene(rng, (64, 64), "lakes")
    with pytest.raises(DataError, match="16"):
        generate_scene(rng, (8, 64))
    with pytest.raises(DataError, match=r"1\.5"):
        generate_scene(rng, (64, 64), difficulty=1.5)


def test_scenes_on_disk_are_a_dataset(tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path / "scenes", 3, seed=4, size=(48, 64), kinds=["cells", "parts"])
    assert [image.file_name for image in dataset.images] == [f"00000{i}.png" for i in range(3)]
    expected = generate_scene(np.random.default_rng([4, 1]), (48, 64), "parts")
    assert (dataset.read_image(2) == expected.image).all()
    masks = [dataset.mask(a.id) for a in dataset.annotations_of(2)]
    assert all((a == b).all() for a, b in zip(masks, expected.masks(25), strict=True))
    with pytest.raises(DataError, match="scenes"):
        write_scenes(tmp_path / "scenes", 1)
    with pytest.raises(DataError, match="lakes"):
        write_scenes(tmp_path / "other", 1, kinds=["lakes"])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["wires", "branches", "blades"])
def test_thin_scenes_hold_thin_things(kind: str) -> None:
    thickness = []
    for seed in range(6):
        scene = generate_scene(np.random.default_rng(seed), (128, 160), kind, (), 0.3)
        for mask in scene.masks(min_area=30):
            padded = np.pad(mask, 1).astype(np.uint8)
            thickness.append(2 * cv2.distanceTransform(padded, cv2.DIST_L2, 5).max())
    assert len(thickness) > 6
    assert np.median(thickness) < 12
