"""Pictures of annotated objects: a crop, outlines and numbered clicks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samadapt.benchmark.interactive.result import ObjectResult
from samadapt.benchmark.report import Mark, Picture

LONGEST_SIDE = 560
"""Larger crops are shrunk to this size, so that a report stays small."""

_SMALLEST_CROP = 48
_MARGIN = 0.35
_EXACT_PIXELS = 128 * 128
_JPEG_QUALITY = 86
_MANY_CLICKS = 10


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of an image: left, top, right, bottom in pixels, shrunk if it is large."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def scale(self) -> float:
        """Return the factor from image pixels to picture pixels, at most 1."""
        return min(1.0, LONGEST_SIDE / max(self.right - self.left, self.bottom - self.top))

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) of the picture."""
        width, height = self.right - self.left, self.bottom - self.top
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))


def crop_around(reference: NDArray[np.bool_], rows: Sequence[ObjectResult]) -> Crop:
    """Return a window around the object and all clicks on it, square as far as the image allows."""
    height, width = reference.shape
    clicks = [click for row in rows for click in row.clicks]
    columns = np.flatnonzero(reference.any(axis=0))
    lines = np.flatnonzero(reference.any(axis=1))
    x0 = min([float(columns[0]), *(click.x for click in clicks)])
    x1 = max([float(columns[-1] + 1), *(click.x for click in clicks)])
    y0 = min([float(lines[0]), *(click.y for click in clicks)])
    y1 = max([float(lines[-1] + 1), *(click.y for click in clicks)])
    side = max(x1 - x0, y1 - y0) * (1 + _MARGIN)
    side = max(side, _SMALLEST_CROP)
    left, right = _span((x0 + x1) / 2, side, width)
    top, bottom = _span((y0 + y1) / 2, side, height)
    return Crop(left, top, right, bottom)


def draw(
    pixels: NDArray[np.uint8], reference: NDArray[np.bool_], row: ObjectResult, crop: Crop
) -> Picture:
    """Return the picture of one object.

    Args:
        pixels: the image (H, W, 3).
        reference: the object's mask (H, W).
        row: its clicks and mask; no mask is drawn for a result read from a file.
        crop: the part of the image that is shown.
    """
    window = np.s_[crop.top : crop.bottom, crop.left : crop.right]
    width, height = crop.size
    mask = None if row.mask is None else row.mask.mask()[window]
    share = 0.022 if len(row.clicks) > _MANY_CLICKS else 0.036
    return Picture(
        _address(pixels[window], (width, height)),
        width,
        height,
        "" if mask is None else outline(mask, crop.scale),
        outline(reference[window], crop.scale),
        tuple(
            Mark(
                number,
                round((click.x - crop.left) * crop.scale, 2),
                round((click.y - crop.top) * crop.scale, 2),
                click.positive,
                iou,
            )
            for number, (click, iou) in enumerate(zip(row.clicks, row.ious, strict=True), 1)
        ),
        round(max(width, height) * share, 2),
    )


def outline(mask: NDArray[np.bool_], scale: float = 1.0) -> str:
    """Return the outlines of a mask, holes included, as SVG path data for the even-odd rule.

    Args:
        mask: (H, W).
        scale: factor on all coordinates; the mask is shrunk with it.
    """
    import cv2

    height, width = mask.shape
    # OpenCV's contours run through pixel centres. At twice the resolution they run a quarter of
    # a pixel inside the true edge, and an object of one pixel still has an inside.
    double = max(1, round(width * scale * 2)), max(1, round(height * scale * 2))
    enlarged = cv2.resize(mask.astype(np.uint8), double, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = (contour.reshape(-1, 2) + 0.5) / 2
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z")
    return "".join(parts)


def _span(centre: float, side: float, limit: int) -> tuple[int, int]:
    """Return a span of about `side` around `centre`, moved and cut to lie within 0..limit."""
    length = min(limit, round(side))
    start = min(max(0, round(centre - side / 2)), limit - length)
    return start, start + length


def _address(pixels: NDArray[np.uint8], size: tuple[int, int]) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if size[0] * size[1] <= _EXACT_PIXELS:
        image.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        image.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
