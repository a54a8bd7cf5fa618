"""Large tiled images that take no time: of all tiles only those that show something have bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile

TILE = 512
RED = (220, 40, 40)

Disc = tuple[int, int, int]
"""x and y of the centre, and the radius, in pixels."""


def write_slide(path: Path, side: int, discs: Sequence[Disc], levels: int = 0) -> Path:
    """A square pyramidal TIFF, black with red discs; tiles of black alone are left out."""
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level in range(levels + 1):
            own = -(-side // 2**level)
            count = -(-own // TILE)
            writer.write(
                _tiles(count, 2**level, discs),
                shape=(own, own, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="zlib",
                **({"subfiletype": 1} if level else {"subifds": levels}),
            )
    return path


def _tiles(count: int, step: int, discs: Sequence[Disc]) -> Iterator[bytes]:
    side = TILE * step
    for row in range(count):
        for column in range(count):
            middle = np.array([column + 0.5, row + 0.5]) * side
            near = [d for d in discs if abs(middle - d[:2]).max() < d[2] + side]
            yield _tile(row, column, step, near) if near else b""


def _tile(row: int, column: int, step: int, discs: Sequence[Disc]) -> bytes:
    y, x = (np.ogrid[:TILE, :TILE][k] * step + step // 2 + 0.5 for k in (0, 1))
    y, x = y + row * TILE * step, x + column * TILE * step
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    for cx, cy, radius in discs:
        tile[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = RED
    return zlib.compress(tile.tobytes(), 1) if tile.any() else b""
