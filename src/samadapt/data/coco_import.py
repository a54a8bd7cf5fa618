"""Import of COCO files of other tools, with corrected records, for a folder of images.

Every annotation is either kept or reported as left out: repeated ids get new numbers, classes
without a name are named by their number, missing sizes are read from the images.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.coco_file import CocoRecords, read_coco_file
from samadapt.data.image_folder import ImageFolder
from samadapt.data.import_issues import ImportIssues
from samadapt.data.matching import relative_name
from samadapt.data.pixels import MAX_PIXELS
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage, Id, next_id


def load_any_coco(
    path: str | os.PathLike[str], images: str | os.PathLike[str], findings: ImportIssues
) -> CocoDataset:
    """Read a COCO file as `CocoDataset.load` does, but leave out bad records.

    Args:
        path: the file.
        images: the folder of images that it belongs to.
        findings: receives records that are left out.

    Raises:
        DataError: missing file or folder, not JSON, not COCO.
    """
    path, folder = Path(path), ImageFolder(images)
    records = read_coco_file(path, findings, lambda entry: _usable(entry, folder))
    images_, annotations, categories, extra = _mended(records, path, findings)
    return CocoDataset(images_, annotations, categories, folder.folder, str(path), extra)


def _usable(entry: Any, folder: ImageFolder) -> Any:
    """An entry of "images" whose path is below the folder, with its image's size if it has none."""
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
        return entry
    name = relative_name(entry["file_name"]) or entry["file_name"]
    size = None
    if not _is_size(entry.get("width"), entry.get("height")):
        size = folder.size(name)
    sides = {} if size is None else {"height": size[0], "width": size[1]}
    return {**entry, "file_name": name, **sides}


def _mended(records: CocoRecords, path: Path, findings: ImportIssues) -> CocoRecords:
    """Records with unique ids whose annotations all belong to an image and a category."""
    images, unclear = _images(records.images, path, findings)
    categories, doubtful = _categories(records.categories, path, findings)
    taken: set[Id] = set()
    spare = next_id(a.id for a in records.annotations)
    annotations: list[CocoAnnotation] = []
    for annotation in records.annotations:
        where = f"{path}, annotation {annotation.id!r}"
        if annotation.image_id not in images:
            more = unclear.get(annotation.image_id, "which the file does not have")
            findings.leave_out(where, f"it belongs to image {annotation.image_id!r}, {more}")
            continue
        if annotation.category_id in doubtful:
            findings.leave_out(
                where, f"its category {annotation.category_id!r} has two names in the file"
            )
            continue
        if annotation.category_id not in categories:
            name = f"class {annotation.category_id}"
            categories[annotation.category_id] = CocoCategory(annotation.category_id, name)
            findings.remark(
                str(path),
                f"it has no name for category {annotation.category_id!r}: called {name!r}",
            )
        if annotation.id in taken:
            annotation, spare = replace(annotation, id=spare), spare + 1
        taken.add(annotation.id)
        annotations.append(annotation)
    return CocoRecords(
        tuple(images.values()), tuple(annotations), tuple(categories.values()), records.extra
    )


def _images(
    records: tuple[CocoImage, ...], path: Path, findings: ImportIssues
) -> tuple[dict[Id, CocoImage], dict[Id, str]]:
    """Images by id, and the reasons for ambiguous ids."""
    images: dict[Id, CocoImage] = {}
    unclear: dict[Id, str] = {}
    for image in records:
        other = images.setdefault(image.id, image)
        if other.relative_path() != image.relative_path():
            unclear[image.id] = f"which is {other.file_name} and {image.file_name} there"
    for image_id, names in unclear.items():
        findings.remark(str(path), f"two images have the id {image_id!r}, {names}")
        del images[image_id]
    return images, unclear


def _categories(
    records: tuple[CocoCategory, ...], path: Path, findings: ImportIssues
) -> tuple[dict[Id, CocoCategory], set[Id]]:
    """Categories by id, and the ids with two names."""
    categories: dict[Id, CocoCategory] = {}
    doubtful: set[Id] = set()
    for category in records:
        if categories.setdefault(category.id, category).name != category.name:
            doubtful.add(category.id)
    for category_id in doubtful:
        findings.remark(str(path), f"two categories have the id {category_id!r}")
        del categories[category_id]
    return categories, doubtful


def _is_size(width: Any, height: Any) -> bool:
    numbers = all(isinstance(side, int | float) and side >= 1 for side in (width, height))
    return bool(numbers and width * height <= MAX_PIXELS)
