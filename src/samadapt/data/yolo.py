"""YOLO segmentation: one text file per image, one line per object, in and out.

A line is the class's number and the corners of one polygon, in shares of the image's width and
height. One closed line can hold only one part, so the parts of an object are joined by bridges of
no width, walked there and back; holes are joined to the outline in the same way. Corners are
written with nine digits: reading them gives back the very same masks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder
from samadapt.data.images import image_size, list_images
from samadapt.data.polygons import mask_to_polygons
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.errors import DataError

NAMES = "data.yaml"
LABELS = "labels"


def save_yolo(dataset: CocoDataset, folder: str | os.PathLike[str]) -> None:
    """Write `data.yaml` (names of classes) and `labels/NAME.txt` for every image.

    Classes are numbered from 0 in the order of the dataset's categories. Crowds and objects
    without a mask are left out. Images are not copied.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.

    Raises:
        DataError: two images that would share a file, a broken mask, a folder that is not empty
            or cannot be written.
    """
    numbers = {category.id: k for k, category in enumerate(dataset.categories)}
    with new_folder(folder) as target:
        # JSON is YAML, and quotes every name safely.
        names = {k: category.name for k, category in enumerate(dataset.categories)}
        images = "" if dataset.folder is None else str(dataset.folder.absolute())
        lines = [f"path: {json.dumps(images)}", "train: .", "val: .", "names:"]
        lines += [f"  {k}: {json.dumps(name, ensure_ascii=False)}" for k, name in names.items()]
        (target / NAMES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for image in dataset.images:
            path = (target / LABELS / image.relative_path()).with_suffix(".txt")
            if path.exists():
                raise DataError(f"two images would share {path.name}: rename {image.file_name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                _line(numbers[a.category_id], dataset.rle(a.id))
                for a in dataset.annotations_of(image.id)
                if a.segmentation is not None and not a.iscrowd and dataset.rle(a.id).area
            ]
            path.write_text("".join(rows), encoding="ascii")


def load_yolo(folder: str | os.PathLike[str], images: str | os.PathLike[str]) -> CocoDataset:
    """Read what `save_yolo` and other tools write: `labels/NAME.txt` beside a list of names.

    Args:
        folder: holds `data.yaml` (or `classes.txt`) and `labels`, or the text files themselves.
        images: the folder of images, for their sizes.

    Raises:
        DataError: missing files, or lines that are no polygons.
    """
    folder, images = Path(folder), Path(images)
    names = _names(folder)
    labels = folder / LABELS if (folder / LABELS).is_dir() else folder
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    highest = len(names) - 1
    for image_id, path in enumerate(list_images(images, recursive=True), 1):
        height, width = image_size(path)
        name = path.relative_to(images)
        records.append(CocoImage(image_id, name.as_posix(), width, height))
        file = (labels / name).with_suffix(".txt")
        if not file.is_file():
            continue
        for row, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if text.strip():
                number, polygon = _parsed(text, (height, width), f"{file}, line {row}")
                highest = max(highest, number)
                rle = Rle.from_polygons([polygon], (height, width))
                identity = len(annotations) + 1
                annotations.append(CocoAnnotation(identity, image_id, number + 1, rle))
    categories = [
        CocoCategory(k + 1, names[k] if k < len(names) else f"class {k}")
        for k in range(highest + 1)
    ]
    return CocoDataset(tuple(records), tuple(annotations), tuple(categories), images, str(folder))


def _line(number: int, rle: Rle) -> str:
    points = joined(mask_to_polygons(rle.mask()))
    height, width = rle.size
    shares = (
        f"{value / (height if index % 2 else width):.9g}" for index, value in enumerate(points)
    )
    return f"{number} {' '.join(shares)}\n"


def joined(polygons: list[list[int]]) -> list[int]:
    """One closed line around all polygons [x0, y0, x1, y1, ...]; bridges enclose nothing."""
    points = list(polygons[0])
    home = points[:2]
    for polygon in polygons[1:]:
        points += [*home, *polygon, *polygon[:2]]
    return points if len(polygons) == 1 else [*points, *home]


def _parsed(text: str, size: tuple[int, int], where: str) -> tuple[int, list[float]]:
    height, width = size
    try:
        parts = text.split()
        number = int(parts[0])
        shares = [float(part) for part in parts[1:]]
    except (ValueError, IndexError):
        raise DataError(f"{where} is not a class and numbers: {text[:60]!r}") from None
    if number < 0 or number > 10_000:
        raise DataError(f"{where} has the class {number}: use 0, 1, 2, ...")
    if len(shares) == 4:  # a box: its centre and size
        x, y, w, h = shares
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        shares = [left, top, right, top, right, bottom, left, bottom]
    if len(shares) < 6 or len(shares) % 2:
        raise DataError(f"{where} has {len(shares)} numbers: a polygon needs 3 points or more")
    # Shares of nine digits come back as the whole numbers they were.
    scaled = [v * (height if index % 2 else width) for index, v in enumerate(shares)]
    return number, [round(v) if abs(v - round(v)) < 1e-4 else v for v in scaled]


def _names(folder: Path) -> list[str]:
    classes = folder / "classes.txt"
    if classes.is_file():
        return [line for line in classes.read_text(encoding="utf-8").splitlines() if line]
    file = folder / NAMES
    if not file.is_file():
        raise DataError(f"{folder} has no {NAMES} and no classes.txt: they name the classes")
    import yaml

    text = file.read_text(encoding="utf-8")
    try:
        # A few aliases of aliases make texts of gigabytes; YOLO's own files have none.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise DataError(f"{file} has aliases (*name): write the names of the classes out")
        document: Any = yaml.safe_load(text)
        names = document["names"]
        if isinstance(names, dict):
            names = [names[k] for k in range(len(names))]
        return [str(name) for name in names]
    except (yaml.YAMLError, KeyError, TypeError):
        raise DataError(f"{file} lists no names of classes (names:)") from None
