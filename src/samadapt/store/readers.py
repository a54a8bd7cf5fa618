"""Reading of annotations in any known format, which is detected from the content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import is_zipfile

from samadapt.data.coco import CocoDataset
from samadapt.data.coco_import import load_any_coco
from samadapt.data.files import visible_files
from samadapt.data.import_issues import ImportIssues
from samadapt.data.labelme import load_labelme
from samadapt.data.masks import load_mask_folder
from samadapt.data.text import read_json
from samadapt.data.voc import load_voc
from samadapt.data.yolo import LABELS, NAME_LISTS, load_yolo
from samadapt.errors import DataError

Reader = Callable[[Path, Path, ImportIssues], CocoDataset]


def read_annotations(path: Path, images: Path) -> CocoDataset:
    """Read a COCO file, or a folder of VOC, YOLO, labelme or mask images.

    Unusable records are reported in the dataset's `left_out`; the others are read.

    Args:
        path: the file or folder.
        images: the folder of its images.

    Raises:
        DataError: the path does not exist, or has none of these formats.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: give a COCO file or a folder of annotations")
    findings = ImportIssues()
    dataset = _reader_of(path)(path, images, findings)
    return replace(dataset, left_out=findings.left_out)


def _reader_of(path: Path) -> Reader:
    if path.is_file():
        if path.suffix.lower() in (".yaml", ".yml"):
            return lambda file, images, findings: load_yolo(file.parent, images, findings)
        if is_zipfile(path):
            raise DataError(
                f"{path} is a zip archive: unpack it, and give the folder or file in it"
            )
        if path.suffix.lower() in (".xml", ".txt"):
            raise DataError(f"{path} is one file of many: give the folder that holds them")
        return load_any_coco
    if (path / "Annotations").is_dir():
        return load_voc
    texts = visible_files(path, ".txt")
    if any((path / name).is_file() for name in NAME_LISTS) or any(
        LABELS in file.relative_to(path).parts for file in texts
    ):
        return load_yolo
    if documents := visible_files(path, ".json"):
        return _load_coco_folder if _is_coco(documents[0]) else load_labelme
    if visible_files(path, ".xml"):
        return load_voc
    return load_yolo if texts else _load_masks


def _load_coco_folder(path: Path, images: Path, findings: ImportIssues) -> CocoDataset:
    files = visible_files(path, ".json")
    if len(files) > 1:
        raise DataError(
            f"{path} has {len(files)} files of COCO annotations: give one of them, such as "
            f"{files[0]}"
        )
    return load_any_coco(files[0], images, findings)


def _load_masks(path: Path, images: Path, findings: ImportIssues) -> CocoDataset:
    return load_mask_folder(images, path, findings=findings)


def _is_coco(file: Path) -> bool:
    try:
        document = read_json(file)
    except DataError:
        return False
    return isinstance(document, dict) and isinstance(document.get("annotations"), list)
