"""`WorkingImage`: an image at the working size of baselines, and conversions from and to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.prompts import Click

UNKNOWN, OBJECT, BACKGROUND = 0, 1, 2
"""Labels of seeds."""

WORKING_SIZE = 320
"""Default of the longest side in pixels at which baselines work."""

SMALLEST_WORKING_SIZE = 16
"""Smallest working size; at smaller ones the disc of a click would cover much of the image."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkingImage:
    """An image at a baseline's working size; larger images are shrunk, none is enlarged.

    Attributes:
        pixels: (h, w, 3) uint8 RGB at working size.
        size: (H, W) of the image itself.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]

    @classmethod
    def of(cls, image: NDArray[np.uint8], working_size: int = WORKING_SIZE) -> WorkingImage:
        """Shrink (H, W, 3) RGB by area averaging until no side is longer than `working_size`."""
        height, width = image.shape[:2]
        scale = min(1.0, working_size / max(height, width))
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        if shape != (height, width):
            image = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        return cls(np.ascontiguousarray(image), (height, width))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (h, w) at working size."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def seeds(self, clicks: Sequence[Click], radius: float) -> NDArray[np.uint8]:
        """Return discs around the clicks as seeds, (h, w) of UNKNOWN, OBJECT and BACKGROUND.

        Where discs meet, a pixel belongs to the nearest click. The pixel under a click always has
        that click's label, the later one's where two share it.

        Args:
            clicks: in pixels of the image itself.
            radius: as a share of the longest side at working size; at least a pixel.
        """
        seeds = np.zeros(self.shape, np.uint8)
        nearest = np.full(self.shape, np.inf)
        reach = max(1.0, radius * max(self.shape))
        rows, columns = np.ogrid[: self.shape[0], : self.shape[1]]
        for click in clicks:
            row, column = pixel_of(click, self.size, self.shape)
            distance = np.hypot(rows - row, columns - column)
            taken = (distance <= reach) & (distance <= nearest)
            nearest[taken] = distance[taken]
            seeds[taken] = OBJECT if click.positive else BACKGROUND
        for click in clicks:
            seeds[pixel_of(click, self.size, self.shape)] = OBJECT if click.positive else BACKGROUND
        return seeds

    def full_size(
        self, probability: NDArray[np.floating], clicks: Sequence[Click]
    ) -> NDArray[np.bool_]:
        """Return the mask (H, W) of the image itself; clicked pixels get the click's label.

        Args:
            probability: of the object, (h, w).
            clicks: in pixels of the image itself.
        """
        values = np.asarray(probability, np.float32)
        if self.shape != self.size:
            values = cv2.resize(values, self.size[::-1], interpolation=cv2.INTER_LINEAR)
        mask = values > 0.5
        for click in clicks:
            mask[pixel_of(click, self.size, self.size)] = click.positive
        return mask


def pixel_of(click: Click, size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return (row, column) under a click on an image of `size` that is shown at `shape`."""
    row = int(click.y * shape[0] / size[0])
    column = int(click.x * shape[1] / size[1])
    return min(row, shape[0] - 1), min(column, shape[1] - 1)
