"""Annotations of any known kind: what is in a file or folder is found out by looking."""

from __future__ import annotations

from pathlib import Path

from samadapt.data.coco import CocoDataset
from samadapt.data.datasets import open_dataset
from samadapt.data.labelme import load_labelme
from samadapt.data.voc import load_voc
from samadapt.data.yolo import LABELS, NAMES, load_yolo
from samadapt.errors import DataError


def read_annotations(path: Path, images: Path) -> CocoDataset:
    """Read a COCO file, or a folder of VOC, YOLO, labelme or mask images.

    Args:
        path: the file or folder.
        images: the folder of images that it belongs to.

    Raises:
        DataError: missing, or none of these.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: give a COCO file or a folder of annotations")
    if path.is_file():
        return CocoDataset.load(path, images)
    if (path / "Annotations").is_dir():
        return load_voc(path)
    if (path / NAMES).is_file() or (path / "classes.txt").is_file() or (path / LABELS).is_dir():
        return load_yolo(path, images)
    if any(path.rglob("*.json")):
        return load_labelme(path)
    return open_dataset(images, path)
