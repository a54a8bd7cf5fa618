"""`TiledImage`: an image of any size, of which only windows are read."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.images import SLIDE_SUFFIXES, image_size, read_seen
from samadapt.data.import_issues import LeftOut
from samadapt.data.pixels import Limits, contrast_limits, to_rgb
from samadapt.data.stacks.address import slice_address
from samadapt.data.stacks.opening import is_zarr
from samadapt.data.stacks.voxels import VoxelSize
from samadapt.data.tiled.cache import COARSE_ENOUGH, TILE, cached_level, default_cache, write_tiles
from samadapt.data.tiled.source import LevelSource
from samadapt.data.tiled.tiff_levels import TiffLevels
from samadapt.errors import ImageError

HUGE_PIXELS = 100_000_000
"""Number of pixels from which on an image is read in windows."""
_TIFF_SUFFIXES = frozenset({".tif", ".tiff", *SLIDE_SUFFIXES})
_BAND = 1024
_SAMPLE = 128
_SAMPLES = 8

Window = tuple[int, int, int, int]


class TiledImage:
    """An image larger than memory, of which windows are read at a suitable level.

    Coordinates are pixels of the finest level. Memory holds the tiles of one window. More than 8
    bits are stretched between the same two values everywhere.

    Args:
        sources: the source and index of each level, the finest first.
        name: for messages.
    """

    def __init__(self, sources: list[tuple[LevelSource, int]], name: str) -> None:
        self._sources, self.name = sources, name
        self._limits: tuple[Limits, ...] | None = None
        self._found = list(dict.fromkeys(one for s, _ in sources for one in s.findings))

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, cache: str | os.PathLike[str] | None = None
    ) -> Self:
        """Open an image; only its header is read if it has tiles and coarser levels.

        A file without tiles is decoded once as a whole and tiled into the cache; missing levels
        are computed there too, a row of tiles at a time.

        Args:
            path: a TIFF (OME-TIFF, SVS, NDPI as far as tifffile reads them), an OME-zarr (needs
                the extra `volumes`), or any other image file.
            cache: folder of tiles; `tiles` in SAMADAPT_CACHE, or in the user's cache, if not given.

        Raises:
            ImageError: missing, damaged, or a package that is not installed.
        """
        path = Path(path)
        if not path.exists():
            raise ImageError(f"{path} does not exist: check the path of the image")
        folder = default_cache() if cache is None else Path(cache)
        if is_zarr(path):
            from samadapt.data.tiled.zarr_levels import ZarrLevels

            source: LevelSource = ZarrLevels(path)
        else:
            source = _stored_tiles(path) or _tiled_once(path, folder)
        sources = [(source, level) for level in range(len(source.sizes))]
        return cls(_with_coarse_levels(path, sources, folder), str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every level, the finest first."""
        return tuple(source.sizes[level] for source, level in self._sources)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.sizes[0]

    @property
    def voxel(self) -> VoxelSize:
        """Distances between rows and columns."""
        return self._sources[0][0].voxel

    @property
    def findings(self) -> tuple[LeftOut, ...]:
        """Problems of single levels, one line each."""
        return tuple(self._found)

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """A window of a level, in pixels of that level: (y1 - y0, x1 - x0, 3) uint8.

        Raises:
            ImageError: a window outside the level, or a damaged tile.
        """
        height, width = self.sizes[level]
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ImageError(
                f"{self.name}, level {level} of {width} x {height} pixels has no window "
                f"{(x0, y0, x1, y1)}"
            )
        values = self._values(level, x0, y0, x1, y1)
        deep = values.dtype not in (np.uint8, np.bool_)
        return to_rgb(values, self.name, self._contrast() if deep else ())

    def view(self, window: Window, longest: int) -> NDArray[np.uint8]:
        """A window of the image, at most `longest` pixels along its longer side, never enlarged.

        Where a level's tiles are damaged, the next finer level is used.

        Args:
            window: (x0, y0, x1, y1) in pixels of the finest level.
            longest: pixels.

        Returns:
            (h, w, 3) uint8.

        Raises:
            ImageError: a window outside the image, or damaged tiles on the finest level.
        """
        x0, y0, x1, y1 = window
        height, width = self.size
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ImageError(f"{self.name}: window {window} of {width} x {height} pixels")
        scale = min(1.0, longest / max(x1 - x0, y1 - y0))
        size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
        for level in range(self._level_for(scale), -1, -1):
            try:
                return self._resampled(level, window, size)
            except ImageError as error:
                if level == 0:
                    raise
                self._found.append(LeftOut(f"{self.name}, level {level}", str(error), 0))
        raise ImageError(f"{self.name} has no level that can be read")

    def close(self) -> None:
        """Close the files."""
        for source, _ in self._sources:
            source.close()

    # -- private --------------------------------------------------------------------------

    def _values(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        source, own = self._sources[level]
        return source.read(own, x0, y0, x1, y1)

    def _level_for(self, scale: float) -> int:
        """The coarsest level with at least the required resolution."""
        full = self.size[1]
        fitting = [k for k, (_, width) in enumerate(self.sizes) if width >= full * scale * 0.999]
        return fitting[-1]

    def _resampled(self, level: int, window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A window of a level at `size` = (width, height), read in bands."""
        height, width = self.sizes[level]
        across, down = width / self.size[1], height / self.size[0]
        x0, y0 = int(window[0] * across), int(window[1] * down)
        x1 = max(x0 + 1, min(width, round(window[2] * across)))
        y1 = max(y0 + 1, min(height, round(window[3] * down)))
        if (x1 - x0, y1 - y0) == size:
            return self.read(level, x0, y0, x1, y1)
        out = np.zeros((size[1], size[0], 3), np.uint8)
        rows = max(1, round(_BAND * size[1] / (y1 - y0)))
        for top in range(0, size[1], rows):
            bottom = min(top + rows, size[1])
            first = y0 + top * (y1 - y0) // size[1]
            last = max(first + 1, y0 + bottom * (y1 - y0) // size[1])
            band = self.read(level, x0, first, x1, last)
            out[top:bottom] = cv2.resize(
                band, (size[0], bottom - top), interpolation=cv2.INTER_AREA
            )
        return out

    def _contrast(self) -> tuple[Limits, ...]:
        """Values shown as black and white, from windows all over the finest level."""
        if self._limits is None:
            height, width = self.size
            parts: list[NDArray[Any]] = []
            for y in range(0, height, max(_SAMPLE, height // _SAMPLES)):
                for x in range(0, width, max(_SAMPLE, width // _SAMPLES)):
                    end = min(x + _SAMPLE, width), min(y + _SAMPLE, height)
                    with suppress(ImageError):  # a damaged tile is told where it is shown
                        parts.append(_colours(self._values(0, x, y, *end)).ravel())
            if not parts:
                raise ImageError(f"{self.name} is damaged everywhere: copy or export it again")
            self._limits = (contrast_limits(np.concatenate(parts), self.name),)
        return self._limits


def _colours(values: NDArray[Any]) -> NDArray[Any]:
    return values[..., :3] if values.ndim > 2 else values


def is_huge(path: str | os.PathLike[str]) -> bool:
    """Whether an image is read in windows: a zarr store, a slide, or very many pixels.

    Raises:
        ImageError: missing file, or not an image.
    """
    path = Path(path)
    if slice_address(path) is not None:
        return False
    if is_zarr(path) or path.suffix.lower() in SLIDE_SUFFIXES:
        return True
    if path.suffix.lower() in _TIFF_SUFFIXES and path.is_file():
        try:
            with closing(TiffLevels(path)) as levels:
                height, width = levels.sizes[0]
        except ImageError:
            return False  # what reads it next says why
        return height * width > HUGE_PIXELS
    height, width = image_size(path)
    return height * width > HUGE_PIXELS


def shown_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of any image, larger than memory or not, from its header alone.

    Raises:
        ImageError: damaged, no image, or a package that is not installed.
    """
    path = Path(path)
    return _stored_sizes(path)[0] if is_huge(path) else image_size(path)


def makes_tiles(path: str | os.PathLike[str]) -> bool:
    """Whether `TiledImage.open` must first compute tiles or levels of an image, which takes long.

    Raises:
        ImageError: damaged, or a package that is not installed.
    """
    path = Path(path)
    if is_decoded_whole(path):
        return True
    sizes = _stored_sizes(path)
    is_coarse = max(sizes[-1]) <= COARSE_ENOUGH
    return not (is_coarse or cached_level(default_cache(), path, len(sizes)).is_file())


def _stored_sizes(path: Path) -> list[tuple[int, int]]:
    """(height, width) of every level that a file has, the finest first."""
    if is_zarr(path):
        from samadapt.data.tiled.zarr_levels import ZarrLevels

        return ZarrLevels(path).sizes
    if path.suffix.lower() in _TIFF_SUFFIXES:
        with closing(TiffLevels(path)) as levels:
            return levels.sizes
    return [image_size(path)]


def is_decoded_whole(path: str | os.PathLike[str]) -> bool:
    """Whether `TiledImage.open` must decode the whole file before windows can be read.

    Raises:
        ImageError: damaged.
    """
    path = Path(path)
    if is_zarr(path) or cached_level(default_cache(), path, 0).is_file():
        return False
    source = _stored_tiles(path)
    if source is not None:
        source.close()
    return source is None


def _stored_tiles(path: Path) -> LevelSource | None:
    """The tiles of a TIFF; None for other files, and for TIFFs with too large tiles or strips."""
    if path.suffix.lower() not in _TIFF_SUFFIXES:
        return None
    found = TiffLevels(path)
    if found.reads_windows:
        return found
    found.close()
    return None


def _tiled_once(path: Path, cache: Path) -> LevelSource:
    """The tiles of a file without tiles, from the cache or computed now."""
    target = cached_level(cache, path, 0)
    if not target.is_file():
        values = read_seen(path)
        write_tiles(
            target,
            (values.shape[0], values.shape[1]),
            lambda x0, y0, x1, y1: values[y0:y1, x0:x1],
            halve=False,
        )
    return TiffLevels(target)


def _with_coarse_levels(
    path: Path, sources: list[tuple[LevelSource, int]], cache: Path
) -> list[tuple[LevelSource, int]]:
    """Add missing coarser levels, from the cache or computed now."""
    while True:
        source, level = sources[-1]
        size = source.sizes[level]
        if max(size) <= COARSE_ENOUGH:
            return sources
        target = cached_level(cache, path, len(sources))
        if not target.is_file():
            write_tiles(target, size, _Mended(source, level).read, halve=True)
        sources.append((TiffLevels(target), 0))


class _Mended:
    """A level whose damaged tiles are read as black, for computing coarser levels."""

    def __init__(self, source: LevelSource, level: int) -> None:
        self._source, self._level = source, level

    def read(self, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        """A window of the level."""
        try:
            return self._source.read(self._level, x0, y0, x1, y1)
        except ImageError:
            if max(x1 - x0, y1 - y0) <= TILE:
                raise
        rows = []
        for top in range(y0, y1, TILE):
            row = [
                self._tile(left, top, min(left + TILE, x1), min(top + TILE, y1))
                for left in range(x0, x1, TILE)
            ]
            kind = next((part for part in row if part is not None), None)
            if kind is None:
                raise ImageError(f"level {self._level} is damaged along a whole row of tiles")
            shape, dtype = kind.shape[2:], kind.dtype
            parts = [
                np.zeros((min(TILE, y1 - top), min(TILE, x1 - left), *shape), dtype)
                if part is None
                else part
                for left, part in zip(range(x0, x1, TILE), row, strict=True)
            ]
            rows.append(np.concatenate(parts, axis=1))
        return np.concatenate(rows)

    def _tile(self, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any] | None:
        try:
            return self._source.read(self._level, x0, y0, x1, y1)
        except ImageError:
            return None
