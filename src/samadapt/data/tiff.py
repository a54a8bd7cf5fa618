"""Reading of TIFF files that Pillow would truncate, misread or refuse, or cannot decompress.

These are colour with 16 bits per channel, 64-bit, half-precision or multi-channel floats, signed
bytes, unsigned 32-bit integers and channels beyond colour: common in science, rare elsewhere.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from samadapt.data.pixels import check_size, damaged, upright
from samadapt.errors import ImageError

_WIDTH, _LENGTH, _BITS, _SAMPLES, _ORIENTATION, _FORMAT = 256, 257, 258, 277, 274, 339
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_PHOTOMETRIC, _COMPRESSION, _DESCRIPTION = 262, 259, 270
_LONGEST_HEAD = 1 << 12
"""Characters of a description that are looked at."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _INKS = 0, 1, 5
_ALPHA = 2
_TAGS = {
    _WIDTH: 0,
    _LENGTH: 0,
    _BITS: 1,
    _SAMPLES: 1,
    _ORIENTATION: 1,
    _FORMAT: _UNSIGNED,
    _PHOTOMETRIC: _BLACK_IS_ZERO,
    _COMPRESSION: 1,
}
"""The tags of a page's size and type, with their defaults."""


_PILLOWS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
"""Compressions that every Pillow reads: none, CCITT, LZW, JPEG, Deflate, PackBits, LZMA, Zstd."""


def deep_tiff_size(path: Path) -> tuple[int, int] | None:
    """(height, width) as displayed; None if `path` is no TIFF, or one that Pillow can read."""
    tags = _first_tags(path)
    if tags is None or not _beyond_pillow(tags):
        return None
    height, width = max(tags[_LENGTH]), max(tags[_WIDTH])
    check_size((height, width), str(path))
    return (width, height) if max(tags[_ORIENTATION]) >= 5 else (height, width)


def may_have_slices(path: Path) -> bool:
    """Whether a TIFF has a second page, or tells of several planes in one; opens nothing else."""
    directory = _first_directory(path)
    if directory is None:
        return False
    described = str(directory.get(_DESCRIPTION, ""))[:_LONGEST_HEAD]
    return bool(directory.next) or "ImageJ=" in described


def deep_tiff_bytes(path: Path) -> int:
    """Size in bytes of the result of `read_deep_tiff`, from the file's header."""
    tags = _first_tags(path)
    if tags is None or not _beyond_pillow(tags):
        return 0
    pixels = max(tags[_LENGTH]) * max(tags[_WIDTH])
    return pixels * max(tags[_SAMPLES]) * ((max(tags[_BITS]) + 7) // 8)


def read_deep_tiff(path: Path, *, shown: bool = False) -> NDArray[Any]:
    """Values of the first page, upright: (H, W) or (H, W, channels) as stored.

    Args:
        path: the file.
        shown: return only the visible channels: grey, RGB or, if the file declares its fourth
            channel as unassociated alpha, RGBA. Other channels after the third (near infrared) are
            not visible.

    Raises:
        ImageError: damaged or truncated, more than one plane, or a compression that needs the
            package imagecodecs.
    """
    from tifffile import TiffFile

    try:
        with tifffile_messages(), TiffFile(path) as file:
            page: Any = file.pages.first
            axes, orientation = str(page.axes), page.tags.get(_ORIENTATION)
            photometric = int(page.photometric)
            alpha = [int(kind) for kind in page.extrasamples] == [_ALPHA]
            # tifffile would leave missing parts black.
            if len(page.dataoffsets) < math.prod(page.chunked):
                raise ValueError("parts of the image are missing")
            array: NDArray[Any] = page.asarray()
        if array.size == 0:
            raise ValueError("no pixels")
    except Exception as error:  # tifffile raises whatever the broken bytes provoke.
        if "imagecodecs" in str(error):
            raise ImageError(
                f"{path} is a TIFF with a compression that needs another package: run "
                "'pip install samadapt[tiff]' (imagecodecs), or save the image without compression"
            ) from None
        raise damaged(str(path), error) from None
    if axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    elif axes not in ("YX", "YXS"):
        raise ImageError(f"{path} is a TIFF with axes {axes}: save one grey or RGB plane")
    if photometric == _WHITE_IS_ZERO:
        array = array.max() - array
    if shown and array.ndim == 3:
        array = seen_channels(array, photometric, alpha)
    return upright(array, 1 if orientation is None else int(orientation.value))


def seen_channels(array: NDArray[Any], photometric: int, alpha: bool) -> NDArray[Any]:
    """The visible channels of an array (H, W, channels)."""
    channels = array.shape[2]
    if photometric == _INKS and channels >= 4 and array.dtype.kind == "u":
        most = float(np.iinfo(array.dtype).max)
        inks = array[..., :4].astype(np.float64)
        seen = (most - inks[..., :3]) * ((most - inks[..., 3:]) / most)
        return seen.astype(array.dtype)
    if channels == 4 and alpha:
        return array
    return array[..., :3] if channels >= 3 else array[..., :1]


@contextmanager
def tifffile_messages() -> Iterator[list[str]]:
    """Collect what tifffile logs inside the block, instead of printing it to stderr."""
    said: list[str] = []
    logger, listener = logging.getLogger("tifffile"), _Listener(said)
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)


def ends_early(said: Sequence[str]) -> bool:
    """Return True if one of tifffile's messages about a file says that it is truncated."""
    return any("invalid page offset" in text or "corrupt" in text for text in said)


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def _first_tags(path: Path) -> dict[int, tuple[int, ...]] | None:
    """Size and type of the first page; None for files of another kind."""
    directory = _first_directory(path)
    if directory is None:
        return None
    try:
        return {tag: _whole(directory.get(tag, default)) for tag, default in _TAGS.items()}
    except Exception:  # A broken directory: Pillow shall say so.
        return None


def _first_directory(path: Path) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    """The tags of the first page; None for files of another kind, or where they are broken."""
    with path.open("rb") as file:
        header = file.read(16)
        if header[:4] not in (b"II*\0", b"MM\0*", b"II+\0"):
            return None
        try:
            directory = TiffImagePlugin.ImageFileDirectory_v2(
                header if header[2] == ord("+") else header[:8]
            )
            file.seek(directory.next)
            directory.load(file)
        except Exception:  # A broken directory: Pillow shall say so.
            return None
    return directory


def _whole(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,)
    if not values or not all(isinstance(v, int) for v in values):
        raise ValueError(f"tag of {value!r}")
    return values


def _beyond_pillow(tags: dict[int, tuple[int, ...]]) -> bool:
    if max(tags[_COMPRESSION]) not in _PILLOWS:
        return True
    bits, samples, kind = max(tags[_BITS]), max(tags[_SAMPLES]), max(tags[_FORMAT])
    if bits <= 8:
        grey = max(tags[_PHOTOMETRIC]) <= _BLACK_IS_ZERO
        return kind == _SIGNED or samples not in (1, 3, 4) or (grey and samples > 1)
    kept = {_UNSIGNED: (12, 16), _SIGNED: (16, 32), _FLOAT: (32,)}
    return samples > 1 or bits not in kept.get(kind, ())
