"""Cache of tiles and coarser levels that a file lacks, computed once and kept in a folder."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.errors import ImageError

TILE = 512
COARSE_ENOUGH = 2048
"""No coarser level is computed below this longer side of a level."""
_VERSION = "1"

Read = Callable[[int, int, int, int], NDArray[Any]]


def default_cache() -> Path:
    """The folder of tiles: `tiles` in SAMADAPT_CACHE, or in the user's cache."""
    named = os.environ.get("SAMADAPT_CACHE")
    if named:
        return Path(named) / "tiles"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "samadapt" / "tiles"


def cached_level(cache: Path, path: Path, level: int) -> Path:
    """The cache file of a level of an image, which depends on the image's fingerprint."""
    about = path.stat()
    text = f"{_VERSION}\n{path.resolve()}\n{about.st_size}\n{about.st_mtime_ns}"
    return cache / hashlib.sha256(text.encode()).hexdigest()[:32] / f"level{level}.tif"


def write_tiles(target: Path, size: tuple[int, int], read: Read, halve: bool) -> None:
    """Write a tiled TIFF, whole or not at all; memory holds a row of tiles.

    Args:
        target: the file.
        size: (height, width) of the source.
        read: gives a window (x0, y0, x1, y1) of it.
        halve: write it at half the size.

    Raises:
        ImageError: the file cannot be written, or the source is damaged.
    """
    from tifffile import TiffWriter

    step = 2 if halve else 1
    height, width = -(-size[0] // step), -(-size[1] // step)
    sample = read(0, 0, 1, 1)
    channels = sample.shape[2:]

    def tiles() -> Iterator[NDArray[Any]]:
        for top in range(0, height, TILE):
            bottom = min(top + TILE, height)
            band = read(0, top * step, size[1], min(bottom * step, size[0]))
            if halve:
                band = _halved(band)
            for left in range(0, width, TILE):
                tile = np.zeros((TILE, TILE, *channels), band.dtype)
                part = band[:, left : left + TILE]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile

    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TiffWriter(part, bigtiff=True) as writer:
            writer.write(
                tiles(),
                shape=(height, width, *channels),
                dtype=sample.dtype,
                tile=(TILE, TILE),
                photometric="rgb" if channels and channels[0] >= 3 else "minisblack",
                compression="zlib",
                compressionargs={"level": 1},
                metadata=None,
                software="samadapt",
            )
        part.replace(target)
    except OSError as error:
        raise ImageError(
            f"the tiles of a large image cannot be kept in {target.parent} "
            f"({error.strerror or error}): free some space, or set SAMADAPT_CACHE to another folder"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _halved(band: NDArray[Any]) -> NDArray[Any]:
    """Half the size, rounded up, the mean of 2 x 2 pixels."""
    height, width = band.shape[:2]
    even = np.pad(
        band, ((0, height % 2), (0, width % 2), *((0, 0),) * (band.ndim - 2)), mode="edge"
    )
    if even.dtype in (np.uint8, np.uint16, np.int16, np.float32, np.float64):
        size = even.shape[1] // 2, even.shape[0] // 2
        return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    quads = [even[i::2, j::2].astype(np.float64) for i in (0, 1) for j in (0, 1)]
    mean = sum(quads) / len(quads)
    return np.asarray(mean).astype(band.dtype)
