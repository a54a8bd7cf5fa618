"""Colour, blur, noise and compression, so that nano does not depend on how a picture was taken."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


def augment_colours(rng: Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Change an RGB image (H, W, 3) uint8 without moving a pixel."""
    if rng.random() < 0.8:
        image = cv2.LUT(image, _tone_curves(rng))
    if rng.random() < 0.2:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    elif rng.random() < 0.4:
        image = _shift_hue(rng, image)
    if rng.random() < 0.06:
        image = 255 - image
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(2, 16), image.shape[:2])[..., None]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        packed = cv2.imencode(".jpg", image, quality)[1]
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(image)


def _tone_curves(rng: Generator) -> NDArray[np.uint8]:
    """(1, 256, 3) look-up table: gamma, contrast, brightness, a little of it per channel."""
    levels = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.06, 3))
    gain = np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.06, 3))
    shift = rng.normal(0, 0.08) + rng.normal(0, 0.02, 3)
    curves = ((levels**gamma) - 0.5) * gain + 0.5 + shift
    return np.clip(curves * 255, 0, 255).astype(np.uint8)[None]


def _shift_hue(rng: Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(-25, 26))) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.4, 1.5), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))
