"""Opening of any dataset: a folder of images, and their masks in any supported form."""

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

    Even a large COCO file opens quickly, because its masks are decoded one by one when they are
    used. A folder of mask images has to be read once as a whole; save the result with
    `CocoDataset.save` to avoid that the next time.

    Args:
        images: the folder of images.
        masks: a COCO JSON file, or a folder of mask images (see `samadapt.data.masks`).
        crowds: treat crowd masks as objects; CVAT marks all brush masks as crowds.

    Raises:
        DataError: a folder or file that is missing or unusable.
    """
    path = Path(masks)
    if path.is_dir():
        return load_mask_folder(images, path)
    if not path.exists():
        raise DataError(f"{path} does not exist: give a COCO JSON file or a folder of masks")
    dataset = CocoDataset.load(path, images)
    return with_crowds(dataset) if crowds else dataset
