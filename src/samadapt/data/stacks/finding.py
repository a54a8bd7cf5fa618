"""Stacks in a folder of images: which files are several slices, and which folders are frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from samadapt.data.images import IMAGE_SUFFIXES, list_images, natural_key
from samadapt.data.stacks.address import slice_name, split_name
from samadapt.data.stacks.kept import OpenStacks, file_state
from samadapt.data.stacks.opening import VIDEO_SUFFIXES, VOLUME_SUFFIXES
from samadapt.data.stacks.source import Axis
from samadapt.data.text import is_text
from samadapt.data.tiff import may_have_slices
from samadapt.data.tiled.image import is_huge
from samadapt.errors import ImageError

ALWAYS = tuple(end for end in (*VIDEO_SUFFIXES, *VOLUME_SUFFIXES) if end not in IMAGE_SUFFIXES)
"""Endings of files that are stacks and nothing else."""
_TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class FoundStack:
    """A stack in a folder of images; each of its slices is an image with a name.

    Attributes:
        name: of the file or folder, below the folder that was searched.
        path: what `Stack.open` takes.
        axis: "z" for a volume, "t" for frames.
        slices: names of the images, in order.
        problems: why slices cannot be used, by index.
        remarks: about the stack as a whole.
        is_frames: whether each slice is a file of its own.
    """

    name: str
    path: Path
    axis: Axis
    slices: tuple[str, ...]
    problems: Mapping[int, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    is_frames: bool = False

    def addresses(self, file: str) -> list[str]:
        """Addresses of all slices, from the name or path of the stack's file."""
        return [slice_name(file, self.axis, index) for index in range(len(self.slices))]


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file or folder turned out to be; no slices for a single image."""

    axis: Axis = "z"
    names: tuple[str, ...] = ()
    problems: Mapping[int, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    error: str = ""


@dataclass(slots=True)
class FolderContent:
    """The images of a folder.

    Attributes:
        names: of all images, slices among them, below the folder, with forward slashes.
        stacks: those among them that hold several.
    """

    names: list[str]
    stacks: tuple[FoundStack, ...]


class StackFinder:
    """Finds the stacks of folders; what it found in a file is known until that changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, object], _Header] = {}

    def look(
        self, folder: Path, known: Collection[str] = (), frames: bool = False
    ) -> FolderContent:
        """Find the images of a folder and its subfolders.

        Args:
            folder: where to look.
            known: names of images that were found before. Where a file was one image then, its
                first slice keeps the file's name; slices of a file that cannot be opened any more
                keep their places.
            frames: whether the image files of each folder are the frames of one stack.

        Raises:
            DataError: not a folder, or no image in it.
        """
        paths = [
            path
            for path in list_images(folder, True, True, ALWAYS)
            if is_text(path.relative_to(folder).as_posix())
        ]
        earlier = _by_file(known)
        stacks: list[FoundStack] = []
        single: list[Path] = []
        frame_files: dict[Path, list[Path]] = {}
        for path in paths:
            is_frame = frames and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            if is_frame:
                frame_files.setdefault(path.parent, []).append(path)
            elif (found := self._file(path, folder, earlier)) is not None:
                stacks.append(found)
            else:
                single.append(path)
        for place, files in frame_files.items():
            if len(files) > 1 and (found := self._frames(place, folder)) is not None:
                stacks.append(found)
            else:
                single += files
        names = [path.relative_to(folder).as_posix() for path in single]
        names += [name for stack in stacks for name in stack.slices]
        return FolderContent(names, tuple(sorted(stacks, key=lambda one: natural_key(one.name))))

    def _file(
        self, path: Path, folder: Path, earlier: Mapping[str, list[str]]
    ) -> FoundStack | None:
        name = path.relative_to(folder).as_posix()
        is_always = path.name.lower().endswith(ALWAYS)
        if not (is_always or path.suffix.lower() in _TIFF_SUFFIXES) or not path.is_file():
            return None
        header = self._header(path, is_always)
        before = earlier.get(name, [])
        slices = [slice_name(name, header.axis, index) for index in range(len(header.names))]
        problems = dict(header.problems)
        if header.error:
            if before in ([], [name]) and not is_always:
                return None  # what reads it as an image says why
            slices = before or [slice_name(name, "t", 0)]
            problems = dict.fromkeys(range(len(slices)), header.error)
        elif not slices:
            return None
        elif name in before and slices[0] not in before:
            slices[0] = name
        return FoundStack(name, path, header.axis, tuple(slices), problems, header.remarks)

    def _frames(self, place: Path, folder: Path) -> FoundStack | None:
        header = self._header(place, True)
        if header.error:
            return None
        below = place.relative_to(folder)
        slices = tuple((below / name).as_posix() for name in header.names)
        name = folder.name if place == folder else below.as_posix()
        remarks = header.remarks
        return FoundStack(name, place, header.axis, slices, header.problems, remarks, True)

    def _header(self, path: Path, is_always: bool) -> _Header:
        try:
            key = path, file_state(path)
            found = self._known.get(key)
            if found is None:
                if not is_always and (not may_have_slices(path) or is_huge(path)):
                    found = _Header()
                else:
                    found = _opened(path, is_always)
                self._known[key] = found
        except ImageError:
            return _Header()  # what reads it as an image says why
        return found


def tiff_stack(path: Path) -> FoundStack | None:
    """The stack in a TIFF; None for other files, and for TIFFs of one image."""
    if path.suffix.lower() not in _TIFF_SUFFIXES:
        return None
    return StackFinder()._file(path, path.parent, {})


def _opened(path: Path, is_always: bool) -> _Header:
    try:
        with OpenStacks(0).using(path) as stack:
            if not is_always and len(stack.usable) < 2:
                return _Header()
            return _Header(stack.axis, stack.names, stack.problems, tuple(map(str, stack.remarks)))
    except ImageError as error:
        return _Header(error=str(error))


def _by_file(known: Iterable[str]) -> dict[str, list[str]]:
    """Names of images by the files that they are in, in the order of the slices."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in known:
        file, index = split_name(name)
        found.setdefault(file, []).append((0 if index is None else index, name))
    # A name twice at one place: the file's own, as one image, comes first.
    return {
        file: [name for _, name in sorted(some, key=lambda pair: (pair[0], len(pair[1])))]
        for file, some in found.items()
    }
