"""`ImageFolder`: the images of annotation files, found by name, with their sizes."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from samadapt.data.images import list_images
from samadapt.data.matching import ImageNames
from samadapt.data.tiled.image import shown_size
from samadapt.errors import ImageError


class ImageFolder:
    """The images of a folder and its subfolders; files are opened only to read their size.

    Args:
        folder: of the images.
        ignored: names of folders that do not count in paths.

    Raises:
        DataError: not a folder, or no image in it.

    Attributes:
        folder: where they are.
        files: the images by their path below the folder, in natural order.
        names: the same paths, for finding what records mean.
    """

    def __init__(self, folder: str | os.PathLike[str], ignored: Collection[str] = ()) -> None:
        self.folder = Path(folder)
        self.files = {
            path.relative_to(self.folder).as_posix(): path
            for path in list_images(self.folder, recursive=True, large=True)
        }
        self.names = ImageNames(self.files, self.folder, ignored)

    def size(self, record: str) -> tuple[int, int] | None:
        """(height, width), as displayed, of the image of a record; None if not known."""
        name = self.names.find(record)
        if name is None:
            return None
        try:
            return shown_size(self.files[name])
        except ImageError:
            return None
