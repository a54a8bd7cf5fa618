"""Conversion of arrays of any common type to upright 8-bit RGB, with checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.errors import ImageError

MAX_PIXELS = 1 << 30
"""Most pixels an image may have: 32,768 x 32,768, about 3 GiB as RGB."""

LOW_PERCENTILE = 0.1
HIGH_PERCENTILE = 99.9

_SAMPLES = 1 << 22
_BLOCK = 1 << 24


Limits: TypeAlias = tuple[float, float]
"""The values that become 0 and 255."""


def to_rgb(
    array: NDArray[Any], name: str = "the array", limits: Sequence[Limits] = ()
) -> NDArray[np.uint8]:
    """Bring an image array to RGB, 8 bits per channel.

    Grey becomes three equal channels; a fourth channel is alpha, composited on black (an image
    that is transparent everywhere is shown as if it had no alpha). Bool becomes 0 and 255, uint8
    stays as it is, everything else is stretched, see `stretch`.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), bool, integer or float.
        name: of the image, for error messages.
        limits: values that become 0 and 255 instead of the array's own percentiles, one pair for
            all channels or one for each, so that several images get the same contrast.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        ImageError: no pixels, another shape, a type that is not a number, no finite value.
    """
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise ImageError(
            f"{name} has shape {array.shape}: give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        )
    if array.size == 0:
        raise ImageError(f"{name} has shape {array.shape}, no pixels: give an image with pixels")
    if array.dtype.kind not in "buif":
        raise ImageError(f"{name} has type {array.dtype}: give bool, integers or floats")
    if array.ndim == 2:
        array = array[:, :, None]
    color = _eight_bits(array[:, :, :3], name, limits)
    if array.shape[2] == 1:
        return np.repeat(color, 3, axis=2)
    if array.shape[2] == 4:
        return _on_black(color, _alpha(array[:, :, 3]))
    return color


def stretch(
    array: NDArray[Any], name: str = "the array", limits: Limits | None = None
) -> NDArray[np.uint8]:
    """Scale numbers of more than 8 bits to 0..255, robustly against a few extreme pixels.

    The 0.1th percentile becomes 0 and the 99.9th 255, jointly over all channels so that hues are
    kept, linearly between and clipped outside. If the two percentiles coincide (a few bright spots
    on a uniform background), minimum and maximum are used instead; a constant image becomes 0. NaN
    becomes 0, infinite values become 0 and 255, and neither counts for the percentiles. The
    percentiles of very large images come from an even subset of about four million values.

    Args:
        array: any shape, integer or float.
        name: of the image, for error messages.
        limits: the values that become 0 and 255 instead, see `contrast_limits`.

    Returns:
        uint8, the same shape.

    Raises:
        ImageError: no finite value.
    """
    low, high = limits or contrast_limits(array, name)
    if array.dtype.kind in "ui" and array.dtype.itemsize <= 2:
        info = np.iinfo(array.dtype)
        table = _scale(np.arange(info.min, info.max + 1, dtype=np.float32), low, high)
        scaled: NDArray[np.uint8] = table[array.astype(np.int32) - info.min]
        return scaled
    kind = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    flat = array.reshape(-1)
    out = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        out[block] = _scale(flat[block].astype(kind), low, high)
    return out.reshape(array.shape)


def contrast_limits(array: NDArray[Any], name: str = "the array") -> Limits:
    """The values that `stretch` brings to 0 and 255.

    Raises:
        ImageError: no finite value.
    """
    flat = array.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLES)]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    if sample.size:
        low, high = np.percentile(sample, [LOW_PERCENTILE, HIGH_PERCENTILE])
        if high > low:
            return float(low), float(high)
    finite = flat[np.isfinite(flat)]
    if finite.size == 0:
        raise ImageError(f"{name} has no finite value: every pixel is NaN or infinite")
    return float(finite.min()), float(finite.max())


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply EXIF orientation 1..8 to stored pixels (H, W, ...)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise `ImageError` for an image of `size` = (H, W) without pixels or with too many."""
    height, width = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has {width} x {height} pixels: give an image with pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} megapixels "
            "that can be read: cut it into tiles"
        )


def damaged(name: str, error: Exception) -> ImageError:
    """The error for a file whose pixels cannot be decoded, with the decoder's reason."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(
        f"{name} cannot be decoded ({reason}): the file is damaged or truncated, copy or export "
        "it again"
    )


def _eight_bits(array: NDArray[Any], name: str, limits: Sequence[Limits]) -> NDArray[np.uint8]:
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint8:
        return np.array(array, dtype=np.uint8, order="C")
    if len(limits) <= 1:
        return stretch(array, name, *limits)
    channels = zip(np.moveaxis(array, 2, 0), limits, strict=True)
    return np.stack([stretch(one, name, own) for one, own in channels], axis=2)


def _scale(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    # The range is halved before subtracting: the difference of two float64 extremes overflows.
    half = values.dtype.type(0.5)
    span = high * 0.5 - low * 0.5
    if not span > 0:
        return np.zeros(values.shape, np.uint8)
    unit: NDArray[Any] = (np.clip(values, low, high) * half - low * 0.5) / span
    return np.asarray(np.nan_to_num(unit, nan=0.0) * 255 + 0.5).astype(np.uint8)


def _alpha(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    if alpha.dtype == np.bool_:
        return alpha.astype(np.uint8) * np.uint8(255)
    if alpha.dtype == np.uint8:
        return alpha
    most = 1.0
    if alpha.dtype.kind != "f":
        # Cameras fill 10, 12 or 14 of 16 bits: opaque is the most of as many as are used.
        most = float((1 << max(8, int(alpha.max()).bit_length())) - 1)
    scaled: NDArray[Any] = np.clip(np.nan_to_num(alpha / most), 0, 1) * 255 + 0.5
    return scaled.astype(np.uint8)


def _on_black(color: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if alpha.min() == 255 or alpha.max() == 0:
        return color
    for row in range(0, len(color), 256):
        rows = slice(row, row + 256)
        product = color[rows].astype(np.uint16) * alpha[rows, :, None]
        color[rows] = (product + 127) // 255
    return color
