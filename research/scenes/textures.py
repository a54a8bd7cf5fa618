"""Random textures, for generated scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Field = NDArray[np.float32]


def random_colour(rng: Generator) -> Field:
    """(3,) in 0..255; grey three times in ten."""
    if rng.random() < 0.3:
        return np.full(3, rng.uniform(10, 245), np.float32)
    return rng.uniform(10, 245, 3).astype(np.float32)


def band_noise(rng: Generator, size: tuple[int, int], frequency: float) -> Field:
    """Smooth noise (H, W) of zero mean and about unit variance.

    Args:
        rng: source of randomness.
        size: (height, width).
        frequency: nodes of the noise per pixel, up to 1 (white).
    """
    height, width = size
    nodes = (max(2, round(width * frequency)), max(2, round(height * frequency)))
    coarse = rng.normal(0, 1, nodes[::-1]).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def random_texture(
    rng: Generator,
    size: tuple[int, int],
    photos: Sequence[NDArray[np.uint8]] = (),
    contrast: float = 1.0,
) -> Field:
    """An image (H, W, 3) float 0..255: solid, noisy, striped, graded, or cut from a photo.

    Args:
        rng: source of randomness.
        size: (height, width).
        photos: RGB images to cut from.
        contrast: strength of everything but the mean colour.
    """
    colour = random_colour(rng)
    kind = rng.choice(5, p=[0.2, 0.3, 0.15, 0.15, 0.2] if photos else [0.25, 0.4, 0.2, 0.15, 0])
    if kind == 4:
        return _photo_patch(rng, size, photos) * contrast + colour * (1 - contrast)
    base = np.broadcast_to(colour, (*size, 3)).astype(np.float32)
    if kind == 0:
        return base
    if kind == 1:
        pattern = sum(
            (band_noise(rng, size, f) for f in rng.choice([0.02, 0.06, 0.15, 0.4, 1.0], 2)),
            np.zeros(size, np.float32),
        )
        amount = rng.uniform(4, 40)
    else:
        ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
        turn = rng.uniform(0, math.pi)
        along = xs * math.cos(turn) + ys * math.sin(turn)
        if kind == 2:
            period = rng.uniform(4, 40)
            pattern = np.sin(along * (2 * math.pi / period)).astype(np.float32)
            if rng.random() < 0.5:
                pattern = np.sign(pattern)
            amount = rng.uniform(8, 60)
        else:
            pattern = (along - along.mean()) / (np.ptp(along) + 1e-6) * 2
            amount = rng.uniform(20, 110)
    tint = rng.uniform(0.4, 1.0, 3).astype(np.float32) if rng.random() < 0.5 else np.float32(1.0)
    return np.clip(base + contrast * amount * pattern[..., None] * tint, 0, 255).astype(np.float32)


def _photo_patch(
    rng: Generator, size: tuple[int, int], photos: Sequence[NDArray[np.uint8]]
) -> Field:
    photo = photos[int(rng.integers(len(photos)))]
    share = rng.uniform(0.25, 1.0)
    height, width = (max(8, int(side * share)) for side in photo.shape[:2])
    top = int(rng.integers(photo.shape[0] - height + 1)) if photo.shape[0] >= height else 0
    left = int(rng.integers(photo.shape[1] - width + 1)) if photo.shape[1] >= width else 0
    patch = photo[top : top + height, left : left + width]
    return np.asarray(cv2.resize(patch, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
