"""Unpacking of uploaded annotations: a single file, or a folder in a zip archive."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from samadapt.errors import DataError

MOST_FILES = 100_000
MOST_BYTES = 512 << 20
"""Most bytes of all files of an archive, unpacked."""
_BLOCK = 1 << 16


def unpacked(path: Path, name: str, folder: Path) -> Path:
    """Return the path to import: the file itself, or the folder of an unpacked zip archive.

    Args:
        path: the uploaded file.
        name: the file's name on the client, for errors.
        folder: new folder in which an archive is unpacked.

    Raises:
        DataError: the archive is broken or too large, or has names that lead out of it.
    """
    if not zipfile.is_zipfile(path):
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            _unpack(archive, name, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise DataError(f"{name} is a broken archive ({error}): make it anew") from None
    return _only_inside(folder)


def _unpack(archive: zipfile.ZipFile, name: str, folder: Path) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise DataError(f"{name} has {len(entries)} files: {MOST_FILES} can be imported at once")
    folder.mkdir()
    left = MOST_BYTES
    for entry in entries:
        inside = PurePosixPath(entry.filename.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
            raise DataError(f"{name} has a file {entry.filename[:100]!r} outside of it")
        if any(part.startswith((".", "__MACOSX")) for part in inside.parts):
            continue
        target = folder.joinpath(*inside.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("wb") as file:
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise DataError(
                        f"{name} has more than {MOST_BYTES >> 20} MB of files: import it in parts"
                    )
                file.write(block)


def _only_inside(folder: Path) -> Path:
    """Return the innermost folder (or only file) that holds all annotations of an archive."""
    while len(inside := list(folder.iterdir())) == 1:
        if inside[0].is_file():
            return inside[0]
        if inside[0].name == "Annotations":
            break
        folder = inside[0]
    return folder
