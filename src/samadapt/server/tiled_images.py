"""`TiledImages`: images of a project that are larger than memory, open and ready for windows."""

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
"""Pixels of a tile of the page along each side."""
OVERVIEW = 1024
"""Pixels of the whole image as one picture, along its longer side."""
_MOST_OPEN = 8
_QUALITY = 90
_PATIENCE = 1.5
"""Seconds that a request waits for an image to be opened."""

Key = tuple[str, int, int]


class PreparingError(SamadaptError):
    """An image that is being opened, or whose tiles are being made: it is there in a while."""


class TiledImages:
    """Large images, each opened once whoever asks; those used last stay open.

    Tiles that a file does not have are made by a thread, one image at a time.

    Args:
        model: encodes windows.
        decoder: lets whole files be decoded when there is room.
    """

    def __init__(self, model: SegmentationModel, decoder: Decoder) -> None:
        self._model, self._decoder = model, decoder
        self._lock, self._working = threading.Lock(), threading.Lock()
        self._kinds: OrderedDict[Key, bool] = OrderedDict()
        self._open: OrderedDict[Key, ImageWindows] = OrderedDict()
        self._failed: dict[Key, ImageError] = {}
        self._under_way: dict[Key, threading.Event] = {}

    def is_tiled(self, path: Path) -> bool:
        """Whether an image is read in windows.

        Raises:
            ImageError: no image that can be read.
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
        """An image, open.

        Args:
            path: its file.
            patience: seconds to wait while it is being opened.

        Raises:
            PreparingError: it takes longer.
            ImageError: it cannot be read.
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
        """A tile of the page as JPEG: every `step`-th pixel of the image.

        Raises:
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
        """A small JPEG of an image; none is worth making tiles for.

        Raises:
            PreparingError: it has to be opened before.
            ImageError: it cannot be read.
        """
        with self._lock:
            is_open = _key(path) in self._open
        if not is_open and makes_tiles(path):
            raise PreparingError(f"{path.name} has no small picture before it is opened")
        return self.overview(path, longest)

    def overview(self, path: Path, longest: int = OVERVIEW) -> bytes:
        """The whole image as a small JPEG.

        Raises:
            ImageError: it cannot be read.
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
                weakref.finalize(found, found.image.close)  # when no session has it any more
                while len(self._open) > _MOST_OPEN:
                    self._open.popitem(last=False)
            self._under_way.pop(key, None)
        done.set()

    def _room(self, path: Path) -> AbstractContextManager[None]:
        return self._decoder.room_for(path) if is_decoded_whole(path) else nullcontext()


def _why_it_waits(path: Path) -> str:
    """What is done with an image that takes long to be opened."""
    with suppress(ImageError):  # which is told as soon as opening it has failed
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
