"""Images for the page: the file itself if a browser shows it as the model sees it, else a PNG."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

from samadapt.data.stacks.address import file_of
from samadapt.errors import ImageError
from samadapt.server.decoding import Decoder
from samadapt.store.errors import MissingError

THUMBNAIL_SIDE = 96

_SAFE = {
    "JPEG": ("image/jpeg", ("RGB", "L")),
    "PNG": ("image/png", ("RGB", "L", "P", "1")),
    "WEBP": ("image/webp", ("RGB",)),
}
_ORIENTATION = 0x0112
_PNG_DEPTH = 24


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in `folder`, after checking that it is inside.

    Raises:
        MissingError: the name or a symbolic link leads out of the folder, or links form a loop.
    """
    path = folder / name
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # RuntimeError: a loop, in Python 3.11 and 3.12
        raise MissingError(
            f"{name} is a link that leads nowhere: replace it by the image"
        ) from None
    if not is_inside:
        raise MissingError(f"{name} leads out of the folder {folder}: copy the image into it")
    return path


class Pictures:
    """Encodes images for the page, with a cache of the last ones.

    Args:
        limit: most bytes in the cache.
        decoder: decodes image files.
    """

    def __init__(self, limit: int = 1 << 28, decoder: Decoder | None = None) -> None:
        self._decoder = decoder or Decoder()
        self._limit = limit
        self._kept: OrderedDict[tuple[str, int, str], tuple[bytes, str]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def picture(self, path: Path) -> tuple[bytes, str]:
        """Return the whole image as an encoded file without loss, and its media type.

        Raises:
            ImageError: the image cannot be read.
        """
        return self._get(path, "full")

    def decoded(self, path: Path) -> tuple[bytes, str]:
        """Return the whole image as a PNG of the pixels that the model sees, and its media type.

        Raises:
            ImageError: the image cannot be read.
        """
        return self._get(path, "decoded")

    def thumbnail(self, path: Path) -> tuple[bytes, str]:
        """Return a small JPEG of the image, and its media type.

        Raises:
            ImageError: the image cannot be read.
        """
        return self._get(path, "small")

    def _get(self, path: Path, kind: str) -> tuple[bytes, str]:
        try:
            state = file_of(path).stat()
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror})") from None
        key = str(path), state.st_mtime_ns, kind
        with self._lock:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known
        made = self._thumbnail(path) if kind == "small" else self._picture(path, kind == "decoded")
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made[0])
            while self._bytes > self._limit and len(self._kept) > 1:
                _, (dropped, _) = self._kept.popitem(last=False)
                self._bytes -= len(dropped)
        return made

    def _picture(self, path: Path, is_decoded: bool) -> tuple[bytes, str]:
        kind = None if is_decoded else _safe_kind(path)
        if kind is not None:
            return path.read_bytes(), kind
        import cv2

        with self._decoder.reading(path) as pixels:
            level = [cv2.IMWRITE_PNG_COMPRESSION, 1]
            done, encoded = cv2.imencode(".png", pixels[:, :, ::-1], level)
        if not done:
            raise ImageError(f"{path} cannot be shown: save it as PNG or JPEG")
        return np.asarray(encoded).tobytes(), "image/png"

    def _thumbnail(self, path: Path) -> tuple[bytes, str]:
        side, image = 2 * THUMBNAIL_SIDE, None
        if _safe_kind(path) == "image/jpeg":
            with Image.open(path) as opened:
                opened.draft("RGB", (side, side))
                try:
                    image = opened.convert("RGB")
                except (OSError, ValueError):
                    image = None
        if image is None:
            with self._decoder.reading(path) as pixels:
                step = max(1, min(pixels.shape[:2]) // side)
                image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]))
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        return buffer.getvalue(), "image/jpeg"


def _safe_kind(path: Path) -> str | None:
    """Return the media type if browsers show a file exactly as `read_image` reads it, else None."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
            file.seek(0)
            with Image.open(file) as image:
                kind, modes = _SAFE.get(image.format or "", ("", ()))
                is_deep = image.format == "PNG" and head[_PNG_DEPTH] > 8
                is_plain = (
                    image.mode in modes
                    and not is_deep
                    and "transparency" not in image.info
                    and getattr(image, "n_frames", 1) == 1
                    and image.getexif().get(_ORIENTATION, 1) == 1
                )
                return kind if is_plain else None
    except Exception:  # broken headers raise anything; read_image says what is wrong
        return None
