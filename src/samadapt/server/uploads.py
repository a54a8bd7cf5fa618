"""Upload of images: a new file in the folder is complete, or not there at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from samadapt.data.images import IMAGE_SUFFIXES, read_image
from samadapt.errors import DataError, ImageError
from samadapt.server.workspace import Workspace
from samadapt.store.errors import ConflictError
from samadapt.store.records import StoredImage

_LONGEST_NAME = 200


def check_name(name: str) -> str:
    """Check the file name of an uploaded image, and return it.

    Raises:
        DataError: it is no plain file name, or has no suffix of an image.
    """
    plain = Path(name).name == name and "\\" not in name and name.isprintable()
    if not plain or name.startswith(".") or len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        raise DataError(
            f"{name[:_LONGEST_NAME]!r} is no name for an image: use a plain file name of at most "
            f"{_LONGEST_NAME} bytes, without folders"
        )
    if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"{name} is no name for an image: let it end in .png or .tif")
    return name


@contextmanager
def receiving(here: Workspace) -> Iterator[Path]:
    """Yield the path of a hidden temporary file in the folder of images; removed at the end."""
    place = here.folder / f".upload-{uuid.uuid4().hex}.part"
    try:
        yield place
    except OSError as error:
        raise DataError(
            f"{here.folder} cannot be written to ({error.strerror or error}): no image was added"
        ) from None
    finally:
        place.unlink(missing_ok=True)


def add_image(here: Workspace, received: Path, name: str) -> StoredImage:
    """Add a received file to the folder as an image, unless it is there already; return it.

    Args:
        here: the workspace.
        received: the file, in the folder of images.
        name: file name of the image; see `check_name`.

    Raises:
        ConflictError: an image with other pixels has this name, or it was removed meanwhile.
        ImageError: the file cannot be read as an image.
    """
    target = here.folder / name
    try:
        with here.decoder.reading(received) as pixels:
            try:
                os.link(received, target)  # never over a file that is there
            except FileExistsError:
                if not np.array_equal(pixels, read_image(target)):
                    raise ConflictError(
                        f"there is another picture called {name}: give this one another name"
                    ) from None
    except ImageError as error:
        raise ImageError(str(error).replace(str(received), name)) from None
    here.gallery.scan()
    found = here.project.images.named(name)
    if found is None:
        raise ConflictError(f"{name} was removed at this moment: upload it again")
    return found
