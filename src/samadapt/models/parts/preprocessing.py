"""Pixels to a network's input. Needs neither torchvision nor a transformers image processor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from samadapt.models.geometry import InputGeometry, Window

KEPT_SIDE = 2048
"""Embeddings keep an image's pixels with at most this longer side, for close-ups."""

Region = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of an array, not necessarily whole ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a family turns an image into its input.

    Args:
        name: name and version, part of every cache key.
        side: longer side of the image in the input, in pixels.
        squash: stretch to a square of `side` (SAM 2); else the aspect ratio is kept.
        multiple: pad up to the next multiple of it; 0 pads to a square of `side` (SAM).
        close_up_side: as `side`, for a window of the image; 0 for a family without close-ups.
        scale: divisor of the pixel values 0 to 255, applied first.
        full_range: stretch the values of each image to [0, 1] after that (MedSAM).
        mean, std: per RGB channel, of the resulting values.
    """

    name: str
    side: int
    squash: bool = False
    multiple: int = 0
    close_up_side: int = 0
    scale: float = 255.0
    full_range: bool = False
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        above = [("side", self.side), ("scale", self.scale), *(("std", v) for v in self.std)]
        for name, value in above:
            if not value > 0:
                raise ValueError(f"{name} {value}: use a number above 0")
        if self.multiple < 0 or self.close_up_side < 0:
            raise ValueError("multiple and close_up_side: use 0 or more")

    def geometry(self, original: tuple[int, int], window: Window | None = None) -> InputGeometry:
        """Sizes for an image of `original` = (H, W), or for a window of it."""
        if window is not None:
            return InputGeometry.close_up(original, window, self.close_up_side, self.multiple)
        if self.squash:
            return InputGeometry.squash(original, self.side)
        return InputGeometry.longest_side(original, self.side, self.multiple or None)

    def apply(
        self, pixels: NDArray[np.uint8], geometry: InputGeometry, region: Region | None = None
    ) -> Tensor:
        """Resample (bilinear, antialiased, on 8 bits as SAM does), normalise, pad with zeros.

        Padding comes after normalisation, so it is the mean colour, not black.

        Args:
            pixels: RGB, (H, W, 3) uint8.
            geometry: of the image, or of the window that `region` is.
            region: the part of `pixels` to use; None for all.

        Returns:
            (1, 3, *geometry.padded) float32.
        """
        height, width = geometry.resized
        if region is not None or pixels.shape[:2] != geometry.resized:
            image = Image.fromarray(pixels)
            pixels = np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=region))
        values = torch.tensor(pixels).permute(2, 0, 1).float() / self.scale
        if self.full_range:
            low, high = values.amin(), values.amax()
            values = (values - low) / (high - low).clamp(min=1e-8)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        padded = torch.zeros(1, 3, *geometry.padded)
        padded[0, :, :height, :width] = (values - mean[:, None, None]) / std[:, None, None]
        return padded


def kept_pixels(pixels: NDArray[np.uint8]) -> Tensor:
    """Return the pixels that an embedding keeps for close-ups, (1, H, W, 3) uint8.

    They are a copy, scaled down so that the longer side is at most `KEPT_SIDE`.
    """
    longer = max(pixels.shape[:2])
    if longer <= KEPT_SIDE:
        return torch.from_numpy(pixels.copy())[None]
    height, width = (max(1, round(v * KEPT_SIDE / longer)) for v in pixels.shape[:2])
    shrunk = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(shrunk))[None]


def region_of(window: Window, original: tuple[int, int], kept: Tensor) -> Region:
    """The region of an embedding's kept pixels that a window of the image (H, W) covers."""
    rows, columns = kept.shape[1] / original[0], kept.shape[2] / original[1]
    x0, y0, x1, y1 = window
    return x0 * columns, y0 * rows, x1 * columns, y1 * rows
