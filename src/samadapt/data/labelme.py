"""labelme: one JSON file per image, in and out.

Every part of an object is a shape of its own; parts of one object share a `group_id`. Holes are
joined to the outline by cuts of no width, as in `samadapt.data.polygons`.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder
from samadapt.data.polygons import mask_to_polygons
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.errors import DataError

_VERSION = "5.5.0"
_CIRCLE_POINTS = 64


def save_labelme(dataset: CocoDataset, folder: str | os.PathLike[str]) -> None:
    """Write `NAME.json` for every image; the images are named in it, not copied.

    Crowds and objects without a mask are left out.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.

    Raises:
        DataError: two images that would share a file, a broken mask, a folder that is not empty
            or cannot be written.
    """
    with new_folder(folder) as target:
        for image in dataset.images:
            path = (target / image.relative_path()).with_suffix(".json")
            if path.exists():
                raise DataError(f"two images would share {path.name}: rename {image.file_name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            height, width = dataset.size(image.id)
            document: dict[str, Any] = {
                "version": _VERSION,
                "flags": {},
                "shapes": _shapes(dataset, image),
                "imagePath": Path(image.relative_path()).name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def load_labelme(folder: str | os.PathLike[str]) -> CocoDataset:
    """Read a folder of labelme files, subfolders included.

    Polygons, rectangles, circles and masks are objects; lines and points are left aside. Shapes
    of the same label and group are one object.

    Raises:
        DataError: no such file, or a damaged one.
    """
    folder = Path(folder)
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise DataError(f"no labelme file (.json) in {folder}")
    numbers: dict[str, int] = {}
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for image_id, file in enumerate(files, 1):
        document = _read(file)
        size = int(document["imageHeight"]), int(document["imageWidth"])
        base = Path(str(document["imagePath"]).replace("\\", "/")).name
        name = (file.parent.relative_to(folder) / base).as_posix()
        records.append(CocoImage(image_id, name, size[1], size[0]))
        for label, rle in _objects(document["shapes"], size, file):
            category = numbers.setdefault(label, len(numbers) + 1)
            annotations.append(CocoAnnotation(len(annotations) + 1, image_id, category, rle))
    categories = tuple(CocoCategory(number, name) for name, number in numbers.items())
    return CocoDataset(tuple(records), tuple(annotations), categories, folder, str(folder))


def _shapes(dataset: CocoDataset, image: CocoImage) -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = []
    for annotation in dataset.annotations_of(image.id):
        if annotation.segmentation is None or annotation.iscrowd:
            continue
        for polygon in mask_to_polygons(dataset.mask(annotation.id)):
            shapes.append(
                {
                    "label": dataset.category(annotation.category_id).name,
                    "points": [
                        list(pair) for pair in zip(polygon[::2], polygon[1::2], strict=True)
                    ],
                    "group_id": annotation.id,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return shapes


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        for key in ("imageHeight", "imageWidth", "imagePath", "shapes"):
            if document.get(key) is None:
                raise DataError(f"{file} has no {key!r}: it is no labelme file")
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is no labelme file ({error})") from None
    return dict(document)


def _objects(shapes: Any, size: tuple[int, int], file: Path) -> list[tuple[str, Rle]]:
    """(label, mask) of every object."""
    groups: dict[Any, list[Rle]] = {}
    for index, shape in enumerate(shapes):
        try:
            label, group = str(shape["label"]), shape.get("group_id")
            part = _mask(shape, size)
        except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
            raise DataError(f"{file}, shape {index + 1}: {error}") from None
        if part is not None:
            groups.setdefault((label, index if group is None else f"g{group}"), []).append(part)
    return [(label, _union(parts)) for (label, _), parts in groups.items()]


def _union(parts: list[Rle]) -> Rle:
    if len(parts) == 1:
        return parts[0]
    return Rle.from_mask(np.logical_or.reduce([part.mask() for part in parts]))


def _mask(shape: dict[str, Any], size: tuple[int, int]) -> Rle | None:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points[0], points[-1]
        points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    elif kind == "circle":
        (x0, y0), edge = points
        radius = math.dist((x0, y0), edge)
        turns = (2 * math.pi * k / _CIRCLE_POINTS for k in range(_CIRCLE_POINTS))
        points = [(x0 + radius * math.cos(t), y0 + radius * math.sin(t)) for t in turns]
    elif kind == "mask":
        return _pasted(shape["mask"], points[0], size)
    elif kind != "polygon":
        return None
    return Rle.from_polygons([[v for pair in points for v in pair]], size)


def _pasted(encoded: str, corner: tuple[float, float], size: tuple[int, int]) -> Rle:
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        small = np.asarray(image.convert("L")) > 0
    left, top = (round(v) for v in corner)
    full = np.zeros(size, np.bool_)
    part = full[max(top, 0) : top + small.shape[0], max(left, 0) : left + small.shape[1]]
    part[:] = small[: part.shape[0], : part.shape[1]]
    return Rle.from_mask(full)
