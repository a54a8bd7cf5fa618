"""labelme: one JSON file per image, in and out.

Every part of an object is a separate shape; parts of one object share a `group_id`. Holes are
joined to the outline by cuts of zero width, as in `samadapt.data.polygons`.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import posixpath
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder, visible_files
from samadapt.data.image_folder import ImageFolder
from samadapt.data.import_issues import ImportIssues
from samadapt.data.matching import relative_name
from samadapt.data.outlines import Outlines
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.data.text import read_json
from samadapt.errors import DataError

_VERSION = "5.5.0"
_CIRCLE_POINTS = 64
_CORNERS = 2
"""Points of a rectangle and of a circle as labelme writes them."""
_BROKEN = (LookupError, TypeError, ArithmeticError, ValueError, OSError, AttributeError)
"""Errors of incomplete or invalid shapes."""
_OUTLINES = ("polygon", "rectangle", "rotation", "quadrilateral")
"""Shapes whose points are their outline; rectangles of X-AnyLabeling have four."""


def save_labelme(
    dataset: CocoDataset, folder: str | os.PathLike[str], outlines: Outlines | None = None
) -> None:
    """Write `NAME.json` for every image; the images are named in it, not copied.

    Crowds and objects without a mask are left out.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.
        outlines: where polygons come from; exact ones when left out.

    Raises:
        DataError: two images that would share a file, a broken mask, a folder that is not empty
            or cannot be written.
    """
    outlines = outlines or Outlines(dataset)
    with new_folder(folder) as target:
        for image in dataset.images:
            path = (target / image.relative_path()).with_suffix(".json")
            if path.exists():
                raise DataError(f"two images would share {path.name}: rename {image.file_name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            height, width = dataset.size(image.id)
            document: dict[str, Any] = {
                "version": _VERSION,
                "flags": dict.fromkeys(image.extra.get("tags", ()), True),
                "shapes": _shapes(dataset, image, outlines),
                "imagePath": Path(image.relative_path()).name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def load_labelme(
    folder: str | os.PathLike[str],
    images: str | os.PathLike[str],
    findings: ImportIssues | None = None,
) -> CocoDataset:
    """Read a folder of labelme files, subfolders included; also as X-AnyLabeling writes them.

    Polygons, rectangles (including rotated ones), circles and masks are objects; lines and points
    are not, and are reported. Shapes of the same label and group are one object.

    Args:
        folder: of the files.
        images: the folder of images, for sizes that a file does not state.
        findings: receives unusable files and shapes.

    Raises:
        DataError: no such file, or a folder without images.
    """
    folder, place = Path(folder), ImageFolder(images)
    findings = findings or ImportIssues()
    files = visible_files(folder, ".json")
    if not files:
        raise DataError(f"no labelme file (.json) in {folder}")
    numbers: dict[str, int] = {}
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for image_id, file in enumerate(files, 1):
        document = _read(file, findings)
        if document is None:
            continue
        shapes = document["shapes"]
        with findings.leaving_out(str(file), len(shapes)):
            name = _image_name(document, file.relative_to(folder))
            size = _size(document) or place.size(name)
            if size is None:
                raise DataError("it states no size of its image, and the image is not there")
            flags = _said(document.get("flags"))
            tags = [tag for tag, is_set in flags.items() if is_set is True]
            extra = {"tags": tags} if tags else {}
            records.append(CocoImage(image_id, name, size[1], size[0], extra))
            for label, rle, said in _objects(shapes, size, file, findings):
                category = numbers.setdefault(label, len(numbers) + 1)
                more = {"attributes": said} if said else {}
                number = len(annotations) + 1
                annotations.append(CocoAnnotation(number, image_id, category, rle, extra=more))
    categories = tuple(CocoCategory(number, name) for name, number in numbers.items())
    return CocoDataset(tuple(records), tuple(annotations), categories, place.folder, str(folder))


def _shapes(dataset: CocoDataset, image: CocoImage, outlines: Outlines) -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = []
    for annotation in dataset.annotations_of(image.id):
        if annotation.segmentation is None or annotation.iscrowd:
            continue
        said = annotation.extra.get("attributes", {})
        for polygon in outlines.polygons(annotation.id):
            shapes.append(
                {
                    "label": dataset.category(annotation.category_id).name,
                    "points": [
                        list(pair) for pair in zip(polygon[::2], polygon[1::2], strict=True)
                    ],
                    "group_id": annotation.id,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {name: v for name, v in said.items() if isinstance(v, bool)},
                    "attributes": {k: v for k, v in said.items() if not isinstance(v, bool)},
                    "mask": None,
                }
            )
    return shapes


def _read(file: Path, findings: ImportIssues) -> dict[str, Any] | None:
    """The content of a file; None if it is no labelme file."""
    with findings.leaving_out(str(file), 0):
        document = read_json(file, findings)
        if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
            raise DataError(
                "it is a COCO file: give the file itself"
                if isinstance(document, dict) and isinstance(document.get("annotations"), list)
                else "it is no labelme file: it has no list 'shapes'"
            )
        return document
    return None


def _image_name(document: dict[str, Any], file: Path) -> str:
    """The path of a file's image below the folder of files."""
    given = document.get("imagePath")
    if not isinstance(given, str) or not relative_name(given):
        return file.with_suffix("").as_posix()
    path = given.replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":":
        path = path.rpartition("/")[2]  # of the machine it was made on
    return relative_name(posixpath.normpath(f"{file.parent.as_posix()}/{path}"))


def _size(document: dict[str, Any]) -> tuple[int, int] | None:
    height, width = (document.get(key) for key in ("imageHeight", "imageWidth"))
    if not all(isinstance(v, int | float) and v >= 1 and v == v // 1 for v in (height, width)):
        return None
    return int(height or 0), int(width or 0)


def _objects(
    shapes: list[Any], size: tuple[int, int], file: Path, findings: ImportIssues
) -> list[tuple[str, Rle, dict[str, Any]]]:
    """(label, mask, attributes) of every object."""
    groups: dict[Any, list[Rle]] = {}
    said: dict[Any, dict[str, Any]] = {}
    for index, shape in enumerate(shapes):
        where = f"{file}, shape {index + 1}"
        try:
            with findings.leaving_out(where):
                label, group = shape["label"], shape.get("group_id")
                if not isinstance(label, str):
                    raise DataError(f"its label is {label!r}, which is not a text")
                key = label, index if group is None else f"g{group}"
                groups.setdefault(key, []).append(_mask(shape, size))
                attributes = _said(shape.get("flags")) | _said(shape.get("attributes"))
                said.setdefault(key, {}).update(attributes)
        except (
            LookupError,
            TypeError,
            ArithmeticError,
            ValueError,
            OSError,
            AttributeError,
        ) as error:
            findings.leave_out(where, f"it is incomplete ({type(error).__name__}: {error})")
    return [(key[0], _union(parts), said.get(key, {})) for key, parts in groups.items() if parts]


def _said(values: Any) -> dict[str, Any]:
    """Attributes or flags of a shape or an image, by name; empty if the value is no JSON object."""
    return {str(name): value for name, value in values.items()} if isinstance(values, dict) else {}


def _union(parts: list[Rle]) -> Rle:
    if len(parts) == 1:
        return parts[0]
    return Rle.from_mask(np.logical_or.reduce([part.mask() for part in parts]))


def _mask(shape: dict[str, Any], size: tuple[int, int]) -> Rle:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if not all(math.isfinite(value) for point in points for value in point):
        raise DataError("its points are no numbers")
    if kind == "mask":
        return _pasted(shape["mask"], points[0], size)
    if kind == "circle" and len(points) == _CORNERS:
        (x0, y0), edge = points
        radius = math.dist((x0, y0), edge)
        turns = (2 * math.pi * k / _CIRCLE_POINTS for k in range(_CIRCLE_POINTS))
        points = [(x0 + radius * math.cos(t), y0 + radius * math.sin(t)) for t in turns]
    elif kind == "rectangle" and len(points) == _CORNERS:
        (x0, y0), (x1, y1) = points
        points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    elif kind not in _OUTLINES or (kind != "polygon" and len(points) != 2 * _CORNERS):
        raise DataError(f"it is a {kind} of {len(points)} points, which encloses nothing")
    return Rle.from_polygons([[v for pair in points for v in pair]], size)


def _pasted(encoded: str, corner: tuple[float, float], size: tuple[int, int]) -> Rle:
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            if image.height > 2 * size[0] or image.width > 2 * size[1]:
                raise ValueError("it is larger than its image")
            small = np.asarray(image.convert("L")) > 0
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes provoke.
        raise DataError(f"its mask cannot be read ({error})") from None
    left, top = (round(v) for v in corner)
    full = np.zeros(size, np.bool_)
    rows = slice(max(top, 0), max(min(top + small.shape[0], size[0]), 0))
    columns = slice(max(left, 0), max(min(left + small.shape[1], size[1]), 0))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = small[rows.start - top : rows.stop - top]
        full[rows, columns] = part[:, columns.start - left : columns.stop - left]
    return Rle.from_mask(full)
