"""Label Studio's brush masks, turned boxes, and names of images.

Brush masks are run lengths of RGBA values, packed bit by bit. A header holds the number of values
(32 bits), the bits per value minus 1 (5 bits), and four widths of run lengths minus 1 (4 bits
each). Every run has a bit, 1 for repeated values and 0 for single ones, the index of the width (2
bits), the length minus 1 in that width, and the value, once or for each. Pixels are in row-major
order, with four values each for R, G, B and A.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from samadapt.data.matching import is_end, path_parts
from samadapt.data.pixels import MAX_PIXELS
from samadapt.errors import DataError

_CHANNELS = 4
_WIDTHS = (3, 4, 8, 16)
_VALUE = 8
_FULL = 255
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(.+)$")


def mask_to_brush(mask: NDArray[np.bool_]) -> list[int]:
    """The run lengths of a mask (H, W), as the "rle" of a brush label: bytes 0..255."""
    flat = mask.reshape(-1)
    cuts = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], cuts])
    ends = np.concatenate([cuts, [flat.size]])
    parts = [f"{flat.size * _CHANNELS:032b}", f"{_VALUE - 1:05b}"]
    parts += [f"{width - 1:04b}" for width in _WIDTHS]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        value = f"{_FULL if flat[start] else 0:08b}"
        left = (end - start) * _CHANNELS
        while left:
            index = next((k for k, width in enumerate(_WIDTHS) if left <= 1 << width), 3)
            length = min(left, 1 << _WIDTHS[index])
            parts.append(f"1{index:02b}{length - 1:0{_WIDTHS[index]}b}{value}")
            left -= length
    bits = "".join(parts)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def brush_to_mask(rle: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of the "rle" of a brush label; opaque pixels are object.

    Args:
        rle: bytes 0..255.
        size: (height, width).

    Raises:
        DataError: damaged, or of another size.
    """
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise DataError(f"a brush mask of {width} x {height} pixels cannot be read")
    try:
        reader = _Bits(bytes(rle))
    except (ValueError, TypeError):
        raise DataError("the brush mask is not a list of bytes from 0 to 255") from None
    count = reader.take(32)
    if count != height * width * _CHANNELS:
        raise DataError(
            f"the brush mask has {count // _CHANNELS} pixels, its image {width} x {height}"
        )
    bits = reader.take(5) + 1
    widths = [reader.take(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        repeats = reader.take(1)
        length = reader.take(widths[reader.take(2)]) + 1
        if at + length > count:
            raise DataError("the brush mask is broken: its runs are longer than the image")
        if repeats:
            values[at : at + length] = min(reader.take(bits), _FULL)
        else:
            values[at : at + length] = [min(reader.take(bits), _FULL) for _ in range(length)]
        at += length
    opaque: NDArray[np.bool_] = values.reshape(height, width, _CHANNELS)[..., 3] > 0
    return opaque


def upright_corners(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    size: tuple[int, int],
    turned: float = 0,
    view: float = 0,
) -> list[tuple[float, float]]:
    """The corners of a rectangle in pixels of the upright image; a point has no width and height.

    Args:
        x: left side in percent of the view, before the rectangle was rotated.
        y: top side in percent of the view.
        width: in percent of the view.
        height: in percent of the view.
        size: (height, width) of the upright image.
        turned: clockwise rotation of the rectangle about its top-left corner, in degrees.
        view: clockwise rotation of the image in the view, in degrees.

    Raises:
        DataError: a view that is not a multiple of 90 degrees.
    """
    quarters, rest = divmod(view % 360, 90)
    if rest:
        raise DataError(f"the image is turned by {view:g} degrees: use 0, 90, 180 or 270")
    rows, columns = size if quarters % 2 == 0 else size[::-1]
    left, top = x / 100 * columns, y / 100 * rows
    across, down = width / 100 * columns, height / 100 * rows
    cosine, sine = math.cos(math.radians(turned)), math.sin(math.radians(turned))
    corners = [
        (left + a * cosine - b * sine, top + a * sine + b * cosine)
        for a, b in ((0.0, 0.0), (across, 0.0), (across, down), (0.0, down))
    ]
    for _ in range(int(quarters)):
        # Turned back by 90 degrees; what was the width becomes the height.
        corners = [(b, columns - a) for a, b in corners]
        rows, columns = columns, rows
    return corners


def local_names(address: str, folder: Path) -> list[str]:
    """Candidate paths below a folder for the address of a task's image, the likeliest first.

    A path is used unchanged, or without its first folders if `folder` is the last of them. Names
    of uploaded files have a prefix of eight hexadecimal digits. A file is never searched in
    another folder than that of its address.

    Args:
        address: in a task.
        folder: of images.
    """
    try:
        parts = urlsplit(address)
        named = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    except ValueError:
        return []
    path = path_parts(named)
    if "/data/upload/" in parts.path:
        return [path[-1], *(match[1] for match in [_UPLOADED.match(path[-1])] if match)]
    own = path_parts(str(folder.resolve()))
    inside = [path[k:] for k in range(1, len(path)) if is_end(path[:k], own)]
    return ["/".join(each) for each in (path, *inside) if each[-1]]


class _Bits:
    """Reads numbers from bytes, most significant bit first."""

    def __init__(self, data: Iterable[int]) -> None:
        self._data = bytes(data)
        self._at = 0

    def take(self, count: int) -> int:
        first, last = self._at // 8, (self._at + count + 7) // 8
        if last > len(self._data):
            raise DataError("the brush mask is broken: it ends too early")
        number = int.from_bytes(self._data[first:last], "big")
        self._at += count
        return (number >> (last * 8 - self._at)) & ((1 << count) - 1)
