"""`TiledImages`: opens images that are larger than memory, to be read in windows."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import cv2
import numpy as np

from samadapt.data.stacks.address import file_of
from samadapt.data.tiled import TiledImage
from samadapt.data.tiled.image import is_decoded_whole, is_huge, makes_tiles
from samadapt.errors import ImageError, SamadaptError
from samadapt.models.base import SegmentationModel
from samadapt.server.decoding import Decoder
from samadapt.session.windows import ImageWindows

_LOG = logging.getLogger("samadapt.server")
TILE = 512
"""Side of a tile of the page in pixels."""
OVERVIEW = 1024
"""Longer side in pixels of the overview, which shows the whole image."""
_MOST_OPEN = 8
_QUALITY = 90
_PATIENCE = 1.5
"""Most seconds that a request waits for an image to be opened."""

Key = tuple[str, int, int]


class PreparingError(SamadaptError):
    """An image is not available yet: it is being opened, or its tiles are being made."""


class TiledImages:
    """Opens large images, once for all clients, and keeps the ones used last open.

    If a file has no tiles inside, a thread makes them, for one image at a time.

    Args:
        model: encodes windows.
        decoder: reserves memory for files that have to be decoded as a whole.
    """

    def __init__(self, model: SegmentationModel, decoder: Decoder) -> None:
        self._model, self._decoder = model, decoder
        self._lock, self._working = threading.Lock(), threading.Lock()
        self._kinds: OrderedDict[Key, bool] = OrderedDict()
        self._open: OrderedDict[Key, ImageWindows] = OrderedDict()
        self._failed: dict[Key, ImageError] = {}
        self._under_way: dict[Key, threading.Event] = {}

    def is_tiled(self, path: Path) -> bool:
        """Return True if an image is so large that it is read in windows.

        Raises:
            ImageError: the image cannot be read.
        """
        key = _key(path)
        with self._lock:
            known = self._kinds.get(key)
        if known is None:
            known = is_huge(path)
            with self._lock:
                self._kinds[key] = known
                while len(self._kinds) > 100_000:
                    self._kinds.popitem(last=False)
        return known

    def get(self, path: Path, patience: float = _PATIENCE) -> ImageWindows:
        """Return an image, opened if necessary.

        Args:
            path: the image's file.
            patience: most seconds to wait while it is being opened.

        Raises:
            PreparingError: opening it takes longer.
            ImageError: the image cannot be read.
        """
        key = _key(path)
        with self._lock:
            if (found := self._open.get(key)) is not None:
                self._open.move_to_end(key)
                return found
            if (error := self._failed.pop(key, None)) is not None:
                raise error
            done = self._under_way.get(key)
            if done is None:
                done = self._under_way[key] = threading.Event()
                work = threading.Thread(
                    target=self._prepare, args=(path, key, done), name="samadapt-tiles", daemon=True
                )
                work.start()
        if done.wait(patience):
            return self.get(path, patience)
        raise PreparingError(_why_it_waits(path))

    def tile(self, path: Path, step: int, column: int, row: int) -> bytes:
        """Return a tile of the page as JPEG, with every `step`-th pixel of the image.

        Raises:
            PreparingError: the image is being opened.
            ImageError: there is no such tile, or it is damaged.
        """
        windows = self.get(path)  # keeps the file open
        image = windows.image
        height, width = image.size
        side = TILE * step
        x, y = column * side, row * side
        if not (1 <= step <= max(width, height) and 0 <= x < width and 0 <= y < height):
            raise ImageError(f"{path.name} has no tile {column}, {row} at step {step}")
        window = x, y, min(x + side, width), min(y + side, height)
        return _jpeg(image.view(window, -(-max(window[2] - x, window[3] - y) // step)))

    def thumbnail(self, path: Path, longest: int) -> bytes:
        """Return a small JPEG of an image, but do not make tiles for it.

        Raises:
            PreparingError: the image has no tiles yet, or is being opened.
            ImageError: the image cannot be read.
        """
        with self._lock:
            is_open = _key(path) in self._open
        if not is_open and makes_tiles(path):
            raise PreparingError(f"{path.name} has no small picture before it is opened")
        return self.overview(path, longest)

    def overview(self, path: Path, longest: int = OVERVIEW) -> bytes:
        """Return the whole image as a JPEG, at most `longest` pixels along its longer side.

        Raises:
            PreparingError: the image is being opened.
            ImageError: the image cannot be read.
        """
        windows = self.get(path)  # keeps the file open
        image = windows.image
        height, width = image.size
        return _jpeg(image.view((0, 0, width, height), longest))

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for one in self._open.values():
                one.image.close()
            self._open.clear()

    def _prepare(self, path: Path, key: Key, done: threading.Event) -> None:
        found, error = None, ImageError(f"{path.name} cannot be read")
        try:
            with self._working, self._room(path):
                found = ImageWindows(self._model, TiledImage.open(path))
        except SamadaptError as problem:
            error = ImageError(str(problem))
        except (OSError, MemoryError) as problem:
            error = ImageError(f"{path.name} cannot be read ({problem})")
        except Exception as problem:
            _LOG.exception("unexpected error while %s was opened", path.name)
            error = ImageError(f"{path.name} cannot be read ({problem})")
        with self._lock:
            if found is None:
                self._failed[key] = error
            else:
                self._open[key] = found
                weakref.finalize(found, found.image.close)  # as soon as no session uses it
                while len(self._open) > _MOST_OPEN:
                    self._open.popitem(last=False)
            self._under_way.pop(key, None)
        done.set()

    def _room(self, path: Path) -> AbstractContextManager[None]:
        return self._decoder.room_for(path) if is_decoded_whole(path) else nullcontext()


def _why_it_waits(path: Path) -> str:
    """Return the message of `PreparingError` for an image that takes long to open."""
    with suppress(ImageError):  # it is raised again when opening fails
        if makes_tiles(path):
            return f"{path.name} is being cut into tiles, once: it opens as soon as that is done"
    return f"{path.name} is being opened: it is shown as soon as that is done"


def _key(path: Path) -> Key:
    try:
        state = file_of(path).stat()
    except OSError:
        raise ImageError(f"{path.name} is no longer in {path.parent}: put it back") from None
    return str(path), state.st_size, state.st_mtime_ns


def _jpeg(pixels: np.ndarray) -> bytes:
    done, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ImageError("a tile cannot be shown: save the image anew")
    return np.asarray(encoded).tobytes()
