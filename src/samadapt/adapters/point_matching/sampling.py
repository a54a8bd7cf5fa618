"""Bilinear, differentiable sampling of pictures and feature maps at points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from samadapt.adapters.point_matching.contours import Points
from samadapt.models.geometry import InputGeometry


@dataclass(frozen=True, slots=True)
class Frame:
    """Placement of a picture's pixels in a model's input.

    Attributes:
        scale: input pixels (x, y) per pixel.
        corner: pixel (x, y) that lies at the input's top-left corner.
    """

    scale: tuple[float, float]
    corner: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_decoder(cls, geometry: InputGeometry, size: tuple[int, int]) -> Frame:
        """The decoder's grid of `size` (h, w), which covers the padded input."""
        return cls((geometry.padded[1] / size[1], geometry.padded[0] / size[0]))

    @classmethod
    def of_original(cls, geometry: InputGeometry) -> Frame:
        """The image at its original size, of which the input shows all or a window."""
        return cls(geometry.scale, (float(geometry.corner[0]), float(geometry.corner[1])))

    def to_input(self, pixels: Points) -> Points:
        """Convert places (V, 2) in the picture to places in the input."""
        return (pixels - self.corner) * self.scale

    def to_pixels(self, places: Points) -> Points:
        """Inverse of `to_input`."""
        return places / self.scale + self.corner

    def tensor_to_pixels(self, places: Tensor) -> Tensor:
        """`to_pixels` for tensors (..., 2)."""
        return places / places.new_tensor(self.scale) + places.new_tensor(self.corner)


def sample_logits(logits: Tensor, rows: Tensor, pixels: Tensor) -> Tensor:
    """Values of several pictures, each at its own points.

    Args:
        logits: (B, H, W).
        rows: (P,) index of the picture.
        pixels: (P, S, 2) (x, y), the first pixel's centre at (0.5, 0.5); points outside the
            picture take the border's value.

    Returns:
        (P, S).
    """
    height, width = logits.shape[-2:]
    x = (pixels[..., 0] - 0.5).clamp(0, width - 1)
    y = (pixels[..., 1] - 0.5).clamp(0, height - 1)
    left, top = x.floor().long().clamp(max=max(0, width - 2)), y.floor().long()
    top = top.clamp(max=max(0, height - 2))
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    a, b = x - left, y - top
    row = rows[:, None]
    upper = logits[row, top, left] * (1 - a) + logits[row, top, right] * a
    lower = logits[row, bottom, left] * (1 - a) + logits[row, bottom, right] * a
    return upper * (1 - b) + lower * b


def sample_map(features: Tensor, places: Tensor, padded: tuple[int, int]) -> Tensor:
    """Sample a feature map over the padded input at points; standardised, without gradients.

    Args:
        features: (1, C, h, w).
        places: (..., 2) in input pixels.
        padded: (height, width) of the input.

    Returns:
        (..., C), with mean 0 and variance 1 over the channels of each place.
    """
    height, width = features.shape[-2:]
    cells = features[0].flatten(1)  # a view in either memory format
    flat = places.detach().reshape(-1, 2)
    x = (flat[:, 0] * (width / padded[1]) - 0.5).clamp(0, width - 1)
    y = (flat[:, 1] * (height / padded[0]) - 0.5).clamp(0, height - 1)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    a, b = x - left, y - top
    upper = torch.lerp(cells[:, top * width + left], cells[:, top * width + right], a)
    lower = torch.lerp(cells[:, bottom * width + left], cells[:, bottom * width + right], a)
    found = F.layer_norm(torch.lerp(upper, lower, b).T, (len(cells),))
    return found.view(*places.shape[:-1], -1)
