"""Geometry: original image -> resized -> padded model input -> decoder grid, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Window: TypeAlias = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in whole pixels of the original image, x1 and y1 not included."""

OUTSIDE = -8.0
"""Logit of every pixel that a close-up does not show."""


@dataclass(frozen=True, slots=True)
class InputGeometry:
    """Placement of an image, or of a window of it, in a model's input. Sizes are (height, width).

    Args:
        original: size of the image (EXIF orientation applied).
        resized: size after resampling, before padding.
        padded: size of the network's input; padding is at the bottom and the right.
        window: the part of the image that the input shows (a close-up); None for all of it.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]
    window: Window | None = None

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

    @classmethod
    def close_up(
        cls, original: tuple[int, int], window: Window, side: int, multiple: int
    ) -> InputGeometry:
        """A window of an image of size `original`, scaled and padded as in `longest_side`."""
        x0, y0, x1, y1 = window
        return replace(
            cls.longest_side((y1 - y0, x1 - x0), side, multiple), original=original, window=window
        )

    @property
    def shown(self) -> tuple[int, int]:
        """Size (height, width), in original pixels, of the part that the input shows."""
        if self.window is None:
            return self.original
        x0, y0, x1, y1 = self.window
        return y1 - y0, x1 - x0

    @property
    def corner(self) -> tuple[int, int]:
        """Top-left corner (x, y) of the part that the input shows."""
        return (0, 0) if self.window is None else (self.window[0], self.window[1])

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from original to input pixels."""
        height, width = self.shown
        return self.resized[1] / width, self.resized[0] / height

    def to_input(self, points: Tensor) -> Tensor:
        """Map (..., 2) points (x, y) of the original image to input pixels.

        Both use the top-left-corner convention, so the map is a scaling (after a shift to the
        corner of a window). Whole numbers become floats.
        """
        points = points.float()
        if self.window is not None:
            points = points - points.new_tensor(self.corner)
        return points * points.new_tensor(self.scale)

    def beyond(self, points: Tensor) -> Tensor:
        """Bool (...,) for points (..., 2) in input pixels that a close-up does not show."""
        if self.window is None:
            return torch.zeros(points.shape[:-1], dtype=torch.bool)
        size = points.new_tensor([self.resized[1], self.resized[0]])
        return ((points < 0) | (points > size)).any(dim=-1)

    def to_original(self, logits: Tensor) -> Tensor:
        """Up-sample decoder logits (B, K, h, w) over the padded input to (B, K, H, W).

        Bilinear to the padded input's size, cut off the padding, bilinear to the original size
        (as SAM's `postprocess_masks`; both with half-pixel centres). Pixels outside a window get
        the value `OUTSIDE`.
        """
        full = F.interpolate(logits.float(), self.padded, mode="bilinear", align_corners=False)
        full = full[..., : self.resized[0], : self.resized[1]]
        if self.resized != self.shown:
            full = F.interpolate(full, self.shown, mode="bilinear", align_corners=False)
        if self.window is None:
            return full
        x0, y0, x1, y1 = self.window
        height, width = self.original
        return F.pad(full, (x0, width - x1, y0, height - y1), value=OUTSIDE)

    def to_decoder(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring a soft mask (B, 1, H, W) of the original size onto the decoder grid `size`.

        Area-averaged, so that a small object fades instead of vanishing. Padding is 0.
        """
        if self.window is not None:
            x0, y0, x1, y1 = self.window
            mask = mask[..., y0:y1, x0:x1]
        inside = F.interpolate(mask.float(), self.resized, mode="area")
        full = inside.new_zeros((*inside.shape[:2], *self.padded))
        full[..., : self.resized[0], : self.resized[1]] = inside
        return F.interpolate(full, size, mode="area")

    def reframe(self, logits: Tensor, seen: InputGeometry, size: tuple[int, int]) -> Tensor:
        """Bring decoder logits of another view of the same image onto this view's grid.

        Bilinear, with enough samples per cell that no cell of the other grid is skipped; `OUTSIDE`
        where the other view shows nothing.

        Args:
            logits: (B, K, h', w') over the padded input of `seen`.
            seen: geometry of the view that they belong to.
            size: (h, w) of this view's decoder grid.

        Returns:
            (B, K, h, w).
        """
        step_y, rows = self._cells(0, size, seen, logits.shape[-2:])
        step_x, columns = self._cells(1, size, seen, logits.shape[-2:])
        rows, columns = rows.to(logits.device), columns.to(logits.device)
        size_of_grid = len(rows), len(columns)
        grid = torch.stack(
            [columns.expand(size_of_grid), rows[:, None].expand(size_of_grid)], dim=-1
        )
        grid = grid[None].expand(len(logits), -1, -1, -1)
        found = F.grid_sample(logits.float(), grid, padding_mode="border", align_corners=False)
        valid = seen.resized[0] / seen.padded[0] * 2 - 1, seen.resized[1] / seen.padded[1] * 2 - 1
        there = (rows.abs() <= 1) & (rows <= valid[0])
        there_x = (columns.abs() <= 1) & (columns <= valid[1])
        found = torch.where(there[:, None] & there_x[None, :], found, found.new_tensor(OUTSIDE))
        return F.avg_pool2d(found, (step_y, step_x))

    def _cells(
        self, axis: int, size: tuple[int, int], seen: InputGeometry, other: torch.Size
    ) -> tuple[int, Tensor]:
        """Samples per cell along `axis` (0 is y), and their places in -1..1 of `seen`'s input."""
        per_cell = self.padded[axis] / size[axis] / self.scale[1 - axis]
        per_other = seen.padded[axis] / other[axis] / seen.scale[1 - axis]
        step = max(1, math.ceil(per_cell / per_other - 1e-6))
        centres = (torch.arange(size[axis] * step) + 0.5) * per_cell / step
        centres = centres + self.corner[1 - axis] - seen.corner[1 - axis]
        return step, centres * seen.scale[1 - axis] / seen.padded[axis] * 2 - 1

    def valid(self, size: tuple[int, int], device: torch.device | None = None) -> Tensor:
        """Bool (h, w) on the decoder grid `size`: cells that show image rather than padding."""
        rows = torch.arange(size[0], device=device) * self.padded[0] / size[0] < self.resized[0]
        cols = torch.arange(size[1], device=device) * self.padded[1] / size[1] < self.resized[1]
        return rows[:, None] & cols[None, :]
