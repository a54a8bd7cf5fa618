"""One way to open any dataset: a folder of images and whatever holds their masks."""

from __future__ import annotations

import os
from pathlib import Path

from samadapt.data.coco import CocoDataset
from samadapt.data.masks import load_mask_folder
from samadapt.data.records import ObjectRef
from samadapt.data.selection import with_crowds
from samadapt.errors import DataError

__all__ = ["CocoDataset", "ObjectRef", "open_dataset"]


def open_dataset(
    images: str | os.PathLike[str], masks: str | os.PathLike[str], *, crowds: bool = False
) -> CocoDataset:
    """Open images with their masks.

    A COCO file opens quickly however large it is, because its masks are decoded one by one when
    they are asked for. A folder of mask images has to be read once as a whole; saving the result
    with `CocoDataset.save` spares that the next time.

    Args:
        images: the folder of images.
        masks: a COCO JSON file, or a folder of mask images (see `samadapt.data.masks`).
        crowds: take masks that are marked as crowds as objects, as CVAT marks all brush masks.

    Raises:
        DataError: a folder or file that is missing or cannot be used.
    """
    path = Path(masks)
    if path.is_dir():
        return load_mask_folder(images, path)
    if not path.exists():
        raise DataError(f"{path} does not exist: give a COCO JSON file or a folder of masks")
    dataset = CocoDataset.load(path, images)
    return with_crowds(dataset) if crowds else dataset
