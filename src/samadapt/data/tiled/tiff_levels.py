"""Tiled and pyramidal TIFF (OME-TIFF, SVS, NDPI and others): windows of its levels."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.import_issues import LeftOut
from samadapt.data.pixels import damaged
from samadapt.data.stacks.tiff_voxels import tiff_voxels
from samadapt.data.tiff import ends_early, seen_channels, tifffile_messages
from samadapt.errors import ImageError

_WHITE_IS_ZERO, _PALETTE, _ALPHA = 0, 3, 2
_LARGEST_PIECE = 1 << 26
"""Pixels of a tile or strip up to which a page is read in windows."""


class TiffLevels:
    """Levels of the first image of a TIFF.

    Raises:
        ImageError: damaged, or no image.
    """

    def __init__(self, path: Path) -> None:
        from tifffile import TiffFile

        self._path, self._lock = path, threading.Lock()
        self._file: Any = None
        try:
            with tifffile_messages() as said:
                self._file = TiffFile(path)
                levels = [level.keyframe for level in self._file.series[0].levels]
                self.voxel = tiff_voxels(self._file)
        except Exception as error:  # tifffile raises whatever the broken bytes provoke
            if self._file is not None:
                self._file.close()
            raise damaged(str(path), error) from None
        found, length = [], self._file.filehandle.size
        if ends_early(said):
            found.append(LeftOut(str(path), "the file ends early (truncated)", 0))
        self._pages: list[Any] = []
        for number, page in enumerate(levels):
            pieces = zip(page.dataoffsets, page.databytecounts, strict=False)
            if number and max((o + n for o, n in pieces), default=0) > length:
                found.append(LeftOut(f"{path}, level {number}", "damaged, it is left out", 0))
                continue
            self._pages.append(page)
        self.sizes = [(int(p.imagelength), int(p.imagewidth)) for p in self._pages]
        self.findings = tuple(found)

    @property
    def reads_windows(self) -> bool:
        """Whether the finest level is stored in pieces, so that a window needs few of them."""
        height, width = _piece(self._pages[0])
        return height * width <= _LARGEST_PIECE

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        """A window of a level."""
        page = self._pages[level]
        samples = int(page.samplesperpixel)
        window = np.zeros((y1 - y0, x1 - x0, samples), page.dtype)
        height, width = _piece(page)
        down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
        planes = samples if int(page.planarconfig) == 2 and samples > 1 else 1
        for plane in range(planes):
            shown = window[..., plane : plane + 1] if planes > 1 else window
            for row in range(y0 // height, -(-y1 // height)):
                for column in range(x0 // width, -(-x1 // width)):
                    index = plane * down * across + row * across + column
                    piece = self._decoded(level, page, index)
                    if piece is not None:
                        _paste(shown, piece, column * width - x0, row * height - y0)
        return self._seen(page, window)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _decoded(self, level: int, page: Any, index: int) -> NDArray[Any] | None:
        """A tile or strip (h, w, samples); None for one that a sparse file leaves out."""
        try:
            count = int(page.databytecounts[index])
            if count == 0:
                return None
            with self._lock:
                handle = page.parent.filehandle
                handle.seek(int(page.dataoffsets[index]))
                data = handle.read(count)
            if len(data) < count:
                raise ValueError("the file ends before it")
            options = {"jpegtables": page.jpegtables}
            header = getattr(page, "jpegheader", None)
            if header is not None:
                options["jpegheader"] = header
            with tifffile_messages():
                segment = page.decode(data, index, **options)[0]
        except Exception as error:  # as above
            if "imagecodecs" in str(error):
                raise ImageError(
                    f"{self._path} has a compression that needs another package: run 'pip install "
                    "samadapt[tiff]' (or 'pip install imagecodecs')"
                ) from None
            raise damaged(f"{self._path}, level {level}, tile {index}", error) from None
        return None if segment is None else np.asarray(segment[0])

    def _seen(self, page: Any, window: NDArray[Any]) -> NDArray[Any]:
        photometric = int(page.photometric)
        if window.shape[2] == 1:
            window = window[..., 0]
            if photometric == _PALETTE and page.colormap is not None and window.dtype.kind == "u":
                return np.ascontiguousarray((page.colormap >> 8).astype(np.uint8).T[window])
            if photometric == _WHITE_IS_ZERO and window.dtype.kind in "ui":
                window = np.iinfo(window.dtype).max - window
            return window
        return seen_channels(window, photometric, [int(k) for k in page.extrasamples] == [_ALPHA])


def _piece(page: Any) -> tuple[int, int]:
    """(height, width) of the tiles or strips of a page."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _paste(window: NDArray[Any], piece: NDArray[Any], x: int, y: int) -> None:
    """Copy a piece into the window with its corner at (x, y), clipped to the window."""
    shown = piece[max(0, -y) : window.shape[0] - y, max(0, -x) : window.shape[1] - x]
    height, width = shown.shape[:2]
    window[max(y, 0) : max(y, 0) + height, max(x, 0) : max(x, 0) + width] = shown
