from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from research.scenes.moving import MovingScene, moving_scene
from samadapt.metrics import iou


@pytest.fixture(scope="module")
def scene() -> MovingScene:
    return moving_scene(np.random.default_rng(3), 12, (96, 128), "cells", speed=2, most=4)


def test_the_same_seed_gives_the_same_scene(scene: MovingScene) -> None:
    again = moving_scene(np.random.default_rng(3), 12, (96, 128), "cells", speed=2, most=4)
    np.testing.assert_array_equal(scene.frames, again.frames)
    np.testing.assert_array_equal(scene.labels, again.labels)


def test_objects_move_little_from_frame_to_frame_and_keep_their_number(scene: MovingScene) -> None:
    numbers = np.unique(scene.labels[0])[1:]
    assert 1 <= len(numbers) <= 4
    for number in numbers:
        masks = scene.labels == number
        steps = [iou(a, b) for a, b in pairwise(masks) if a.sum() > 60]
        assert min(steps, default=1) > 0.3
    assert (scene.labels[0] != scene.labels[-1]).any()


def test_masks_are_where_the_picture_changes(scene: MovingScene) -> None:
    """Away from the objects only noise is added to the ground, the same in every frame."""
    ever = (scene.labels > 0).any(axis=0)
    import cv2

    far = cv2.dilate(ever.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    spread = scene.frames.astype(float).std(axis=0).mean(axis=2)
    assert spread[far].mean() < 6
    assert spread[ever].mean() > 1.5 * spread[far].mean()
