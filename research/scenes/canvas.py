"""A generated scene while it is being drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from research.scenes.textures import band_noise, random_texture

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Shape = NDArray[np.bool_]

_CLEAR = 45.0
"""Easy objects differ from their ground by so many grey levels."""


class Canvas:
    """Float image 0..255, labels, and the shared randomness.

    Args:
        rng: source of all randomness.
        size: (height, width) in pixels.
        photos: RGB images whose patches may serve as textures.
        difficulty: 0..1; weaker contrast, more objects, more blur and noise.
    """

    def __init__(
        self, rng: Generator, size: tuple[int, int], photos: Sequence[Pixels], difficulty: float
    ) -> None:
        self.rng = rng
        self.size = size
        self.photos = photos
        self.difficulty = difficulty
        self.image: Field = np.zeros((*size, 3), np.float32)
        self.labels: NDArray[np.int32] = np.zeros(size, np.int32)
        self.wholes: list[frozenset[int]] = []
        self.count = 0
        self.softness = float(rng.choice([0.0, 0.6, 1.0, 1.6], p=[0.3, 0.3, 0.25, 0.15]))
        self.fade = float(rng.uniform(0, 0.6 * difficulty))

    @property
    def side(self) -> int:
        """Longer side in pixels."""
        return max(self.size)

    def texture(self) -> Field:
        """Any texture (H, W, 3)."""
        return random_texture(self.rng, self.size, self.photos)

    def noise(self, frequency: float) -> Field:
        """Smooth noise (H, W, 1) of unit variance; nodes per pixel."""
        return band_noise(self.rng, self.size, frequency)[..., None]

    def centre(self) -> tuple[float, float]:
        """(x, y) anywhere."""
        height, width = self.size
        return float(self.rng.uniform(0, width)), float(self.rng.uniform(0, height))

    def radius(self, low: float, high: float) -> float:
        """Log-uniform between two shares of the longer side."""
        return self.side * math.exp(self.rng.uniform(math.log(low), math.log(high)))

    def number(self, low: int, high: int) -> int:
        """A count from `low` to `high` - 1; easy scenes stay nearer to `low`."""
        top = low + (high - low) * (0.4 + 0.6 * self.difficulty)
        return int(self.rng.integers(low, max(low + 1, round(top))))

    def contrast(self) -> float:
        """Strength of what tells objects from their ground, about 1 when easy."""
        hard = self.difficulty
        return float(self.rng.uniform(0.85 - 0.6 * hard, 1.15 - 0.25 * hard))

    def paint(self, shape: Shape, texture: Field, opacity: float = 1.0) -> int:
        """Lay `texture` over `shape`, nearer to its ground or apart from it by the difficulty."""
        x, y, width, height = cv2.boundingRect(shape.view(np.uint8))
        if width:
            part = np.s_[y : y + height, x : x + width]
            within = shape[part].view(np.uint8)
            ground = cv2.mean(self.image[part], within)[:3]
            own = cv2.mean(texture[part], within)[:3] if texture.ndim == 3 else texture
            apart = np.subtract(own, ground, dtype=np.float32)
            if self.difficulty < 0.3 and np.abs(apart).max() < _CLEAR:
                texture = texture + np.float32(
                    1.5 * _CLEAR if np.mean(ground) < 128 else -1.5 * _CLEAR
                )
            elif self.fade:
                texture = texture - self.fade * apart
        return self.lay(shape, texture, opacity)

    def lay(self, shape: Shape, texture: Field, opacity: float = 1.0) -> int:
        """Put a texture (H, W, 3) or colour (3,) over `shape` (H, W) as a new object.

        Returns:
            The new label, 0 if nothing shows.
        """
        if not self.shade(shape, texture, opacity):
            return 0
        self.count += 1
        self.labels[shape] = self.count
        return self.count

    def shade(
        self, shape: Shape, texture: Field, opacity: float = 1.0, softness: float | None = None
    ) -> bool:
        """Colour `shape` without making it an object; False if it is empty."""
        x, y, width, height = cv2.boundingRect(shape.view(np.uint8))
        if not width:
            return False
        softness = self.softness if softness is None else softness
        margin = math.ceil(3 * softness)
        part = np.s_[
            max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin
        ]
        alpha = shape[part].astype(np.float32)
        if softness:
            alpha = cv2.GaussianBlur(alpha, (0, 0), softness)
        alpha = (alpha * np.float32(opacity))[..., None]
        under = self.image[part]
        self.image[part] = (
            under + ((texture[part] if texture.ndim == 3 else texture) - under) * alpha
        )
        return True

    def finished(self) -> Pixels:
        """Blur, light, noise: what a camera would add."""
        rng, image, hard = self.rng, self.image, self.difficulty
        if rng.random() < 0.35:
            light = band_noise(rng, self.size, 2.0 / self.side)
            image = image * (1 + 0.35 * rng.random() * light)[..., None]
        if rng.random() < 0.15 + 0.3 * hard:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0 + 1.2 * hard))
        if rng.random() < 0.3 + 0.4 * hard:
            grain = rng.standard_normal(self.size, np.float32) * np.float32(
                rng.uniform(1, 4 + 20 * hard)
            )
            image = image + grain[..., None]
        return np.clip(image, 0, 255).astype(np.uint8)
