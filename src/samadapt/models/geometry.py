"""Where pixels go: original image -> resized -> padded model input -> decoder grid, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class InputGeometry:
    """How one image was laid into a model's input. All sizes are (height, width).

    Args:
        original: size of the image as the person sees it (EXIF orientation applied).
        resized: size after resampling, before padding.
        padded: size of the network's input; padding is at the bottom and the right.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def longest_side(
        cls, original: tuple[int, int], side: int, multiple: int | None = None
    ) -> InputGeometry:
        """Scale the longer side to `side`, keep the aspect ratio, pad.

        Pads to a square of `side`, or, with `multiple`, only up to the next multiple of it.
        A side never shrinks below one pixel.
        """
        height, width = original
        scale = side / max(height, width)
        resized = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        if multiple is None:
            return cls(original, resized, (side, side))
        padded = tuple(-(-v // multiple) * multiple for v in resized)
        return cls(original, resized, (padded[0], padded[1]))

    @classmethod
    def squash(cls, original: tuple[int, int], side: int) -> InputGeometry:
        """Stretch the image to a square of `side`, ignoring its aspect ratio (SAM 2)."""
        return cls(original, (side, side), (side, side))

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from original to input pixels."""
        return self.resized[1] / self.original[1], self.resized[0] / self.original[0]

    def to_input(self, points: Tensor) -> Tensor:
        """Map (..., 2) points (x, y) of the original image to input pixels.

        Both use the top-left-corner convention, so the map is a pure scaling.
        """
        return points * points.new_tensor(self.scale)

    def to_original(self, logits: Tensor) -> Tensor:
        """Up-sample decoder logits (B, K, h, w) over the padded input to (B, K, H, W).

        Bilinear to the padded input's size, cut off the padding, bilinear to the original size
        (as SAM's `postprocess_masks`; both with half-pixel centres).
        """
        full = F.interpolate(logits.float(), self.padded, mode="bilinear", align_corners=False)
        full = full[..., : self.resized[0], : self.resized[1]]
        if self.resized == self.original:
            return full
        return F.interpolate(full, self.original, mode="bilinear", align_corners=False)

    def to_decoder(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring a soft mask (B, 1, H, W) of the original size onto the decoder grid `size`.

        Area-averaged, so that a small object fades instead of vanishing. Padding is 0.
        """
        inside = F.interpolate(mask.float(), self.resized, mode="area")
        full = inside.new_zeros((*inside.shape[:2], *self.padded))
        full[..., : self.resized[0], : self.resized[1]] = inside
        return F.interpolate(full, size, mode="area")

    def valid(self, size: tuple[int, int], device: torch.device | None = None) -> Tensor:
        """Bool (h, w) on the decoder grid `size`: cells that show image rather than padding."""
        rows = torch.arange(size[0], device=device) * self.padded[0] / size[0] < self.resized[0]
        cols = torch.arange(size[1], device=device) * self.padded[1] / size[1] < self.resized[1]
        return rows[:, None] & cols[None, :]
