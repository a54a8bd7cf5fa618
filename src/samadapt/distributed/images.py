"""`ImageList`: the images of a folder, a text file or a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from samadapt.data.images import list_images, natural_key
from samadapt.data.stacks.finding import FoundStack, tiff_stack
from samadapt.data.stacks.opening import is_zarr
from samadapt.errors import DataError

_LISTS = (".txt", ".lst", ".list")


@dataclass(frozen=True, slots=True)
class ImageList:
    """Images by name below a folder, each once, in natural order of their names.

    Attributes:
        root: the folder.
        names: paths below it, with forward slashes.
        failed: names of subfolders that could not be read, each with the reason.
    """

    root: Path
    names: tuple[str, ...]
    failed: tuple[tuple[str, str], ...] = ()

    def path(self, name: str) -> Path:
        """The file of an image."""
        return self.root / name

    def with_slices(self, stack_of: Callable[[Path], FoundStack | None] = tiff_stack) -> ImageList:
        """Return the images with the slices of stacks in the place of their files.

        Args:
            stack_of: the stack that a file holds, None for one image.
        """
        names: list[str] = []
        for name in self.names:
            stack = stack_of(self.path(name))
            names += [name] if stack is None else stack.addresses(name)
        return replace(self, names=tuple(names))

    @classmethod
    def find(cls, given: str) -> ImageList:
        """The images of a folder and its subfolders, of a text file, or of a pattern.

        A text file (.txt) names one image per line, relative to the file's folder; empty lines and
        lines that begin with # are ignored. Missing files are reported when they are read.

        Raises:
            DataError: no such folder or file, or no image in it.
        """
        place = Path(given)
        if is_zarr(place):
            return cls._of([place])
        if place.is_dir():
            failed: list[tuple[str, str]] = []

            def keep(error: OSError) -> None:
                name = Path(error.filename).relative_to(place).as_posix()
                failed.append((name, f"cannot be read ({error.strerror}): check its permissions"))

            files = list_images(place, recursive=True, large=True, on_error=keep)
            return replace(cls._of(files, place), failed=tuple(failed))
        if place.is_file() and place.suffix.lower() in _LISTS:
            return cls._of(_listed(place))
        if place.is_file():
            return cls._of([place])
        if glob.has_magic(given):
            files = [path for path in _fitting(given) if path.is_file() or is_zarr(path)]
            if not files:
                raise DataError(f"no file fits {given}: put the pattern in quotes, and check it")
            return cls._of(files)
        raise DataError(
            f"{given} does not exist: give a folder of images, a text file (.txt) that lists them, "
            "or a pattern in quotes such as 'scans/*.tif'"
        )

    @classmethod
    def _of(cls, paths: list[Path], root: Path | None = None) -> ImageList:
        # Symbolic links are not followed; only . and .. are resolved.
        whole = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100
        folder = Path(os.path.abspath(root)) if root else _common(whole)  # noqa: PTH100
        names = {path.relative_to(folder).as_posix() for path in whole}
        return cls(folder, tuple(sorted(names, key=lambda name: (natural_key(name), name))))


def _fitting(pattern: str) -> list[Path]:
    """Return the files and folders that match a glob pattern, hidden ones left out.

    `**` does not follow symbolic links, so that a link to a parent folder cannot cause a loop.
    """
    place = Path(pattern)
    parts = place.relative_to(place.anchor).parts
    if parts[-1] == "**":
        parts = (*parts, "*")
    try:
        found = list(Path(place.anchor).glob("/".join(parts)))
    except ValueError as error:
        raise DataError(f"{pattern} is no pattern of files ({error})") from None
    if any(part.startswith(".") and glob.has_magic(part) for part in parts):
        return found
    return [
        path
        for path in found
        if not any(part.startswith(".") and part not in parts for part in path.parts)
    ]


def _listed(file: Path) -> list[Path]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is no list of images ({error}): save it as UTF-8 text") from None
    lines = [line.strip() for line in text.splitlines()]
    named = [file.parent / line for line in lines if line and not line.startswith("#")]
    if not named:
        raise DataError(f"{file} names no image: write one path a line")
    return named


def _common(paths: list[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))
