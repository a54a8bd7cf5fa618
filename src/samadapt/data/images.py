"""Reading of images: files, PIL images and arrays to RGB, as displayed."""

from __future__ import annotations

import errno
import os
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from samadapt.data.pixels import check_size, damaged, to_rgb, upright
from samadapt.data.stacks.kept import read_slice, slice_bytes, slice_size
from samadapt.data.tiff import deep_tiff_bytes, deep_tiff_size, read_deep_tiff
from samadapt.errors import BusyError, DataError, ImageError

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File name endings (lower case) that count as images in a folder."""

SLIDE_SUFFIXES = frozenset({".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".btf", ".tf8"})
"""Endings of slide scanners' files: TIFF, mostly larger than memory."""
ZARR_SUFFIX = ".zarr"
"""Ending of a folder that is one image."""

_RGB_BYTES = 12
"""Bytes per pixel while an image becomes RGB: four in Pillow, and up to three copies."""
_WORK_BYTES = {"I": 16, "F": 16, "I;16": 12, "I;16B": 12, "I;16L": 12}
"""Further bytes per pixel while more than 8 bits are stretched, by Pillow's mode."""
_DEEP_PNG_BYTES = 40
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_ORIENTATION = 0x0112
_WIDTH, _LENGTH, _PHOTOMETRIC = 256, 257, 262


def read_image(image: ImageLike) -> NDArray[np.uint8]:
    """Read an image as displayed: RGB, upright, 8 bits per channel.

    The EXIF (or TIFF) orientation is applied. Palettes and CMYK become RGB. Transparency is
    composited on black. More than 8 bits per channel are stretched from the 0.1th to the 99.9th
    percentile (`samadapt.data.pixels.stretch`); 8-bit images stay as they are. Of a file with
    several pages or frames the first is read.

    Args:
        image: a path, the address of a slice (`volume.tif#z=12`), a PIL image, or an array (H, W),
            (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of bool, integers or floats.

    Returns:
        (H, W, 3) uint8, a new C-contiguous array.

    Raises:
        ImageError: missing, unreadable, damaged or truncated file, no pixels, more than
            2^30 pixels (32,768 x 32,768), an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        return to_rgb(image)
    if isinstance(image, Image.Image):
        check_size((image.height, image.width), "the image")
        _load(image, "the image")
        return _shown(_array_of(image, "the image"), image, "the image")
    found = read_slice(_as_path(image))
    if found is not None:
        return found
    return np.ascontiguousarray(to_rgb(read_seen(image), str(image)))


def read_seen(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an image file as displayed, upright, at its full bit depth.

    Palettes and CMYK become RGB; values are not stretched, and alpha is kept.

    Returns:
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), bool, integer or float.

    Raises:
        ImageError: as `read_image`.
    """
    path = _path(path)
    with _opened(path) as opened:
        if isinstance(opened, tuple):
            return read_deep_tiff(path, shown=True)
        _load(opened, str(path))
        deep = _deep_png(opened, path)
        values = _array_of(opened, str(path)) if deep is None else deep
        return upright(values, _orientation(opened))


def read_values(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the stored numbers of an image file, upright, without any scaling or conversion.

    Palette images give their indices, so this is the way to read label maps.

    Returns:
        (H, W) or (H, W, channels), bool, integer or float.

    Raises:
        ImageError: as `read_image`.
    """
    path = _path(path)
    with _opened(path) as opened:
        if isinstance(opened, tuple):
            return read_deep_tiff(path)
        _load(opened, str(path))
        return upright(np.array(opened), _orientation(opened))


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of an image file as displayed, from its header alone.

    Raises:
        ImageError: missing file, or not an image.
    """
    size = slice_size(_as_path(path))
    if size is not None:
        return size
    path = _path(path)
    with _opened(path) as opened:
        if isinstance(opened, tuple):
            return opened
        # Whether Pillow reports the size of a TIFF turned or as stored depends on its version.
        tags = getattr(opened, "tag_v2", {})
        width, height = tags.get(_WIDTH, opened.width), tags.get(_LENGTH, opened.height)
        return (width, height) if _orientation(opened) >= 5 else (height, width)


def decoding_bytes(path: str | os.PathLike[str]) -> int:
    """Most bytes of memory that `read_image` takes for a file, from its header alone.

    Raises:
        ImageError: as `image_size`.
    """
    size = slice_size(_as_path(path))
    if size is not None:
        return slice_bytes(size)
    path = _path(path)
    with _opened(path) as opened:
        if isinstance(opened, tuple):
            return deep_tiff_bytes(path) * 6 + opened[0] * opened[1] * _RGB_BYTES
        pixels = opened.width * opened.height
        more = _DEEP_PNG_BYTES if _is_deep_png(opened, path) else _WORK_BYTES.get(opened.mode, 0)
        return pixels * (_RGB_BYTES + more)


def list_images(
    folder: str | os.PathLike[str],
    recursive: bool = False,
    large: bool = False,
    more: Collection[str] = (),
    on_error: Callable[[OSError], None] | None = None,
) -> list[Path]:
    """The image files of a folder, in natural order (img2 before img10).

    Hidden files and folders (names that start with a dot) are left out.

    Args:
        folder: where to look.
        recursive: look into subfolders as well.
        large: include slide scanners' files and zarr stores, which are read in windows.
        more: further endings (lower case) of files to include.
        on_error: called for each subfolder that cannot be read and is left out, named by the
            error's `filename`; without it, such a folder is a warning.

    Raises:
        DataError: not a folder, one that cannot be read, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give the folder that holds the images")
    found = []
    suffixes = IMAGE_SUFFIXES | SLIDE_SUFFIXES if large else IMAGE_SUFFIXES
    endings = tuple(more)

    def tell(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DataError(f"{folder} cannot be read ({error.strerror}): check its permissions")
        if on_error is not None:
            on_error(error)
        else:
            left = f"{error.filename} cannot be read ({error.strerror}): its images are left out"
            warnings.warn(left, RuntimeWarning, stacklevel=2)

    for root, folders, names in os.walk(folder, onerror=tell):
        seen = [name for name in folders if not name.startswith(".")]
        stores = [name for name in seen if name.lower().endswith(ZARR_SUFFIX)]
        folders[:] = [name for name in seen if recursive and name not in stores]
        if large:
            found += [Path(root, name) for name in stores]
        for name in names:
            is_wanted = Path(name).suffix.lower() in suffixes or name.lower().endswith(endings)
            if is_wanted and not name.startswith("."):
                found.append(Path(root, name))
    if not found:
        raise DataError(
            f"no image in {folder}: it should hold files that end in "
            + ", ".join(sorted(IMAGE_SUFFIXES))
        )
    return sorted(found, key=lambda path: natural_key(str(path.relative_to(folder))))


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort key under which numbers inside a text compare as numbers."""
    parts = re.split(r"([0-9]+)", text.casefold())
    numbered = ((int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts))
    return (*numbered, (-2, text))


# -- opening ------------------------------------------------------------------------------


def _as_path(image: str | os.PathLike[str]) -> Path:
    try:
        return Path(image)
    except TypeError:
        raise ImageError(
            f"an image of type {type(image).__name__} cannot be read: give a path, a PIL image "
            "or a NumPy array"
        ) from None


def _path(image: str | os.PathLike[str]) -> Path:
    path = _as_path(image)
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder: give one image file")
        if path.exists():
            return path
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{str(path)!r} is not the path of a file ({error})") from None
    raise ImageError(f"{path} does not exist: check the path of the image")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image | tuple[int, int]]:
    """Open with Pillow, or give just the size (H, W) of a TIFF that Pillow would not keep whole."""
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is an empty file (0 bytes): copy or export the image again")
        size = deep_tiff_size(path)
        if size is not None:
            yield size
            return
        # From an open file rather than a name: Pillow maps named files into memory, and then turns
        # raw TIFFs with an orientation wrongly.
        with path.open("rb") as file, _open_pillow(file, path) as image:
            check_size((image.height, image.width), str(path))
            yield image
    except PermissionError:
        raise ImageError(f"{path} cannot be read: permission denied") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path} is not an image that can be read, or is damaged: save it as PNG, JPEG or TIFF"
        ) from None
    except OSError as error:
        if error.errno in _SHORT:
            raise BusyError(
                f"{path} cannot be opened at the moment ({error.strerror}): this is not the "
                "file's fault, try again"
            ) from None
        raise damaged(str(path), error) from None
    except MemoryError:
        raise ImageError(f"{path} does not fit into memory: cut it into tiles") from None


def _open_pillow(file: BinaryIO, path: Path) -> Image.Image:
    try:
        with _PILLOW:
            return Image.open(file)
    except UnidentifiedImageError:
        raise
    except Exception as error:
        raise damaged(str(path), error) from None


def _load(image: Image.Image, name: str) -> None:
    """Decode all pixels, or raise, so that a truncated file is never read as half grey."""
    try:
        with _PILLOW:
            image.load()
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes provoke.
        raise damaged(name, error) from None


class _Pillow:
    """Sets Pillow's process-wide switches for our readers, as long as one of them is active.

    Its limit on pixels is too low for microscopy (`check_size` has another one), and other
    packages switch on its tolerance for truncated files.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._before: tuple[int | None, bool] = (None, False)

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_PILLOW = _Pillow()


# -- pixels -------------------------------------------------------------------------------


def _shown(values: NDArray[Any], image: Image.Image, name: str) -> NDArray[np.uint8]:
    return np.ascontiguousarray(upright(to_rgb(values, name), _orientation(image)))


def _array_of(image: Image.Image, name: str) -> NDArray[Any]:
    """The values of a loaded PIL image as grey, RGB or RGBA."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        array = np.asarray(image)
        white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        return array.max() - array if white_is_zero else array
    if image.mode in ("RGB", "RGBA", "L", "1") and "transparency" not in image.info:
        return np.asarray(image)
    see_through = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    try:
        return np.asarray(image.convert("RGBA" if see_through else "RGB"))
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{name} has colour mode {image.mode}, which cannot be turned into RGB ({error}): "
            "save it as RGB"
        ) from None


def _deep_png(image: Image.Image, path: Path) -> NDArray[Any] | None:
    """RGB(A) of 16 bits from a PNG file, of which Pillow keeps only 8; None for all others."""
    if not _is_deep_png(image, path):
        return None
    import cv2

    values = cv2.imdecode(
        np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise damaged(str(path), ValueError("16-bit PNG"))
    order = [2, 1, 0, 3][: values.shape[2]]
    return np.asarray(values[:, :, order])


def _is_deep_png(image: Image.Image, path: Path) -> bool:
    if image.format != "PNG":
        return False
    with path.open("rb") as file:
        header = file.read(26)
    depth, color = header[24], header[25]
    return depth == 16 and color in (2, 6)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or the EXIF data is broken."""
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Broken EXIF data raises anything from SyntaxError to struct.error.
        return 1
    return value if 1 <= value <= 8 else 1
