"""Pixels to a network's input. Needs neither torchvision nor a transformers image processor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from samadapt.models.geometry import InputGeometry


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a family lays an image into its square input of `side` pixels.

    Args:
        family: the first part of the preprocessing's name.
        side: height and width of the input.
        squash: stretch to the square (SAM 2), or scale the longer side and pad (SAM).
        mean, std: per RGB channel, of values in [0, 1].
        full_range: stretch the values of each image to [0, 1] first.
    """

    family: str
    side: int
    squash: bool
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    full_range: bool = False

    @property
    def name(self) -> str:
        """Name and version, part of every cache key."""
        return f"{self.family}-{'squash' if self.squash else 'longest'}-{self.side}-1"

    def geometry(self, original: tuple[int, int]) -> InputGeometry:
        """Sizes for an image of `original` = (H, W)."""
        if self.squash:
            return InputGeometry.squash(original, self.side)
        return InputGeometry.longest_side(original, self.side)

    def apply(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, InputGeometry]:
        """Resample (bilinear, antialiased, on 8 bits as SAM does), normalise, pad with zeros.

        Padding comes after normalisation, so it is the mean colour, not black.

        Returns:
            (1, 3, side, side) float32 and the geometry.
        """
        geometry = self.geometry((pixels.shape[0], pixels.shape[1]))
        height, width = geometry.resized
        if geometry.resized != geometry.original:
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.array(image)
        values = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        if self.full_range:
            low, high = values.amin(), values.amax()
            values = (values - low) / (high - low).clamp(min=1e-8)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        padded = torch.zeros(1, 3, *geometry.padded)
        padded[0, :, :height, :width] = (values - mean[:, None, None]) / std[:, None, None]
        return padded, geometry
