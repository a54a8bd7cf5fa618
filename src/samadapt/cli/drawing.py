"""Drawing a mask and its prompt into a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from samadapt.data.files import save_image
from samadapt.prompts import Box, Prompt

_MASK = (25, 200, 230)
_OBJECT, _BACKGROUND = (21, 128, 61), (200, 30, 30)
_WHITE = (255, 255, 255)
_TINT = 0.4
_READABLE = 5
"""Radius in pixels of the smallest mark with a readable number."""


def save_drawing(path: Path, drawing: Image.Image) -> None:
    """Write a drawing in the format of its name's ending: PNG, WebP or else JPEG."""
    save_image(path, drawing, {".png": "PNG", ".webp": "WEBP"}.get(path.suffix.lower(), "JPEG"))


def draw_overlay(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], prompt: Prompt) -> Image.Image:
    """The picture with the mask tinted and outlined, the box, and the clicks numbered.

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) bool.
        prompt: clicks on the object are green, on the background red.
    """
    import cv2

    unit = max(pixels.shape[0], pixels.shape[1]) / 100
    tinted = pixels.astype(np.float32)
    tinted[mask] = (1 - _TINT) * tinted[mask] + _TINT * np.array(_MASK, np.float32)
    canvas = np.ascontiguousarray(tinted.round().astype(np.uint8))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, _MASK, max(1, round(unit / 4)), cv2.LINE_AA)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    if isinstance(prompt.box, Box):
        draw.rectangle(prompt.box.as_tuple(), outline=_WHITE, width=max(1, round(unit / 4)))
    radius = max(3.0, 1.6 * unit)
    font = ImageFont.load_default(size=radius * 1.3)
    for number, click in enumerate(prompt.clicks, 1):
        circle = (click.x - radius, click.y - radius, click.x + radius, click.y + radius)
        colour = _OBJECT if click.positive else _BACKGROUND
        draw.ellipse(circle, fill=colour, outline=_WHITE, width=max(1, round(radius / 7)))
        if len(prompt.clicks) > 1 and radius >= _READABLE:
            draw.text((click.x, click.y), str(number), fill=_WHITE, font=font, anchor="mm")
    return image
