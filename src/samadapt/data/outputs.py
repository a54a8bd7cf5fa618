"""Checks that an output file replaces nothing of value.

Every file that samadapt writes goes through `check_output`: `samadapt.data.files` calls it at the
moment of writing, the command line before long work begins.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from samadapt.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_SOFTWARE_TAG = 0x0131
_SOFTWARE = "samadapt"
_DATABASE = b"SQLite format 3\0"
_DATABASE_LOGS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_DATABASE_NAME = ".sqlite"
_DATABASE_PARTS = ("-wal", "-shm", "-journal", ".receipt")
_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)


def check_output(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str] | None] = ()
) -> Path:
    """Check that a file may be written at `path`; returns the path with links resolved.

    Args:
        path: an output.
        inputs: files and folders that are read.

    Raises:
        DataError: it is no regular file, an input, (part of) a database such as a project, or an
            image that samadapt did not write.
    """
    path = Path(path)
    try:
        target = path.resolve()
        mode = target.stat().st_mode if os.path.lexists(target) else None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be accessed ({reason}): give another name") from None
    for is_kind, text in _KINDS:
        if mode is not None and is_kind(mode):
            raise DataError(f"{path} {text}: give the name of a file")
    if is_database_part(target):
        raise DataError(f"{path} is, or would be, part of a project: give another name")
    if mode is None:
        return target
    for given in inputs:
        if given is not None and _is_or_holds(Path(given), target):
            raise DataError(f"{path} would overwrite an input: choose another file")
    if _is_foreign_image(target):
        raise DataError(f"{path} is an image that samadapt did not write: give another name")
    return target


def is_database_part(path: Path) -> bool:
    """Whether a file is a database (a project), or belongs to one by its name or content."""
    name = path.name
    if _DATABASE_NAME in name.lower():
        return True
    for part in _DATABASE_PARTS:
        if name.endswith(part) and path.with_name(name[: -len(part)]).is_file():
            return True
    try:
        with path.open("rb") as file:
            start = file.read(len(_DATABASE))
    except OSError:
        return False
    return start == _DATABASE or start[:4] in _DATABASE_LOGS


def own_mark() -> Image.Exif:
    """EXIF that marks a picture as samadapt's own, which may be replaced by another."""
    from PIL import Image

    exif = Image.Exif()
    exif[_SOFTWARE_TAG] = _SOFTWARE
    return exif


def _is_or_holds(given: Path, target: Path) -> bool:
    try:
        if given.is_dir():
            return target.is_relative_to(given.resolve())
        return given.exists() and given.samefile(target)
    except (OSError, RuntimeError):
        return False


def _is_foreign_image(path: Path) -> bool:
    from PIL import Image

    from samadapt.data.images import IMAGE_SUFFIXES

    if not path.stat().st_size:
        return False
    try:
        with Image.open(path) as image:
            return image.getexif().get(_SOFTWARE_TAG) != _SOFTWARE
    except Exception:  # whatever Pillow says of a damaged file
        return path.suffix.lower() in IMAGE_SUFFIXES
