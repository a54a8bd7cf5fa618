"""Files and folders that are either written completely or not at all."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from samadapt.data.outputs import check_output, own_mark
from samadapt.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_FULL = (errno.ENOSPC, errno.EDQUOT)


def visible_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder and its subfolders that end in `suffix` (lower case), sorted.

    Hidden files and the files that macOS adds to archives are left out.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".") and n != "__MACOSX"]
        found += [
            Path(root, name)
            for name in names
            if name.lower().endswith(suffix) and not name.startswith(".")
        ]
    return sorted(found)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file for writing that replaces `path` when the block ends without an error.

    Until then, and if the block raises, `path` does not change. A link is followed.

    Raises:
        DataError: the folder is missing or cannot be written to, or `path` is something that must
            not be replaced, see `check_output`.
    """
    path = check_output(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): "
            + _remedy(error, "give a file in an existing folder that you may write to")
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def save_image(path: Path, image: Image.Image, kind: str, quality: int = 92) -> None:
    """Write a picture that is marked as samadapt's own, so that it may be replaced later.

    Args:
        path: the file.
        image: the picture.
        kind: Pillow's name of the format: PNG, JPEG or WEBP.
        quality: for lossy formats.

    Raises:
        DataError: it cannot be written, or would replace something else.
    """
    with replacing(path) as file:
        image.save(file, kind, quality=quality, exif=own_mark())


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends without an error.

    If the block raises, the folder is removed.

    Raises:
        DataError: `path` exists and is not an empty folder, or cannot be written.
    """
    path = Path(path).absolute()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DataError(f"{path} exists and is not an empty folder: give a new one")
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): "
            + _remedy(error, "give a new folder in an existing folder that you may write to")
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Remove what `replacing` and `new_folder` left beside `path` when their process was killed.

    Only for callers who know that no other process is writing `path`.
    """
    path = Path(path).absolute()
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _remedy(error: OSError, otherwise: str) -> str:
    return "free some space" if error.errno in _FULL else otherwise
