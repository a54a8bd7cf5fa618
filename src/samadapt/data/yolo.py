"""YOLO segmentation: one text file per image, one line per object, in and out.

A line is the class's number and the corners of one polygon, in shares of the image's width and
height. One closed line can hold only one part, so the parts of an object are joined by bridges of
zero width, which are passed in both directions; holes are joined to the outline in the same way.
Corners are written with nine digits, which preserves masks exactly.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, TypeAlias

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder, visible_files
from samadapt.data.image_folder import ImageFolder
from samadapt.data.images import image_size
from samadapt.data.import_issues import ImportIssues
from samadapt.data.outlines import Outlines
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.data.text import read_text
from samadapt.errors import DataError

NAMES = "data.yaml"
LABELS = "labels"
IMAGES = "images"

Line: TypeAlias = tuple[str, str]
"""A line of a label file: its place for messages, and its text."""

_LISTS = ("classes.txt", "obj.names")
_YAML = (NAMES, "data.yml", "dataset.yaml")
NAME_LISTS = (*_LISTS, *_YAML)
"""Files that name the classes."""
_NO_LABELS = ("classes.txt", "train.txt", "val.txt", "test.txt", "requirements.txt")
_LEVELS_ABOVE = 3
_BOX = 4
_FEWEST = 6
_HIGHEST = 10_000


def save_yolo(
    dataset: CocoDataset, folder: str | os.PathLike[str], outlines: Outlines | None = None
) -> None:
    """Write `data.yaml` (names of classes) and `labels/NAME.txt` for every image.

    Classes are numbered from 0 in the order of the dataset's categories. Crowds and objects
    without a mask are left out. Images are not copied.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.
        outlines: source of the polygons; exact ones when left out.

    Raises:
        DataError: two images that would share a file, a broken mask, a folder that is not empty
            or cannot be written.
    """
    outlines = outlines or Outlines(dataset)
    numbers = {category.id: k for k, category in enumerate(dataset.categories)}
    with new_folder(folder) as target:
        # JSON is YAML, and quotes every name safely.
        names = {k: category.name for k, category in enumerate(dataset.categories)}
        lines = ["path: .  # put the folder of your images here", "train: .", "val: .", "names:"]
        lines += [f"  {k}: {json.dumps(name, ensure_ascii=False)}" for k, name in names.items()]
        (target / NAMES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for image in dataset.images:
            path = (target / LABELS / image.relative_path()).with_suffix(".txt")
            if path.exists():
                raise DataError(f"two images would share {path.name}: rename {image.file_name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                _line(numbers[a.category_id], outlines.polygons(a.id), dataset.size(image.id))
                for a in dataset.annotations_of(image.id)
                if a.segmentation is not None and not a.iscrowd and dataset.rle(a.id).area
            ]
            path.write_text("".join(rows), encoding="ascii")


def load_yolo(
    folder: str | os.PathLike[str],
    images: str | os.PathLike[str],
    findings: ImportIssues | None = None,
) -> CocoDataset:
    """Read a dataset in YOLO form: `labels/NAME.txt` beside a list of names.

    A label file belongs to the image of the same path, whether folders called "images" and
    "labels" lie above the parts of a dataset or inside them. Lines of four numbers are boxes, read
    as rectangles; a confidence at the end of a line is ignored.

    Args:
        folder: holds `data.yaml` (or `classes.txt`) and `labels`, or the text files themselves.
        images: the folder of images, for their names and sizes.
        findings: receives unusable files and lines.

    Raises:
        DataError: no image, no label file, or none that matches an image.
    """
    folder, place = Path(folder), ImageFolder(images, ignored=(IMAGES, LABELS))
    findings = findings or ImportIssues()
    names = read_names(folder, findings)
    files = [file for file in visible_files(folder, ".txt") if file.name.lower() not in _NO_LABELS]
    stems = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    above = str(folder.resolve())
    matched = place.names.match(stems, above)
    if not files:
        raise DataError(f"no label file (.txt) in {folder}: it is no YOLO dataset")
    if not any(matched):
        raise DataError(
            f"no label file in {folder} fits an image in {place.folder}: {files[0].name} would be "
            f"the labels of an image called {files[0].stem}"
        )
    given: dict[str, list[Line]] = {}
    for file, stem, name in zip(files, stems, matched, strict=True):
        lines = _lines(file, findings)
        if name is None and not any(_is_sound(text) for _, text in lines):
            findings.remark(str(file), "it is no label file of an image here")
        elif name is None:
            findings.leave_out(str(file), place.names.why_not(stem, above), len(lines))
        elif name in given:
            findings.leave_out(str(file), f"{name} has a label file already", len(lines))
        else:
            given[name] = lines
    return _dataset(given, names, place, folder, findings)


def _dataset(
    given: dict[str, list[Line]],
    names: dict[int, str],
    place: ImageFolder,
    folder: Path,
    findings: ImportIssues,
) -> CocoDataset:
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    used: set[int] = set()
    boxes = 0
    labelled = [name for name in place.files if name in given]
    for image_id, name in enumerate(labelled, 1):
        lines = given[name]
        with findings.leaving_out(name, len(lines)):
            size = image_size(place.files[name])
            records.append(CocoImage(image_id, name, size[1], size[0]))
            for where, text in lines:
                with findings.leaving_out(where):
                    number, shares = parsed(text)
                    boxes += len(shares) == _BOX
                    rle = Rle.from_polygons([_corners(shares, size)], size)
                    identity = len(annotations) + 1
                    annotations.append(CocoAnnotation(identity, image_id, number + 1, rle))
                    used.add(number)
    if boxes:
        findings.remark(str(folder), f"{boxes} lines are boxes: taken as rectangles")
    if nameless := sorted(used - set(names)):
        classes = ", ".join(map(str, nameless[:10]))
        findings.remark(str(folder), f"no name for the classes {classes}: they get their numbers")
    categories = tuple(
        CocoCategory(k + 1, names.get(k, f"class {k}")) for k in sorted(used | set(names))
    )
    return CocoDataset(tuple(records), tuple(annotations), categories, place.folder, str(folder))


def _lines(file: Path, findings: ImportIssues) -> list[Line]:
    """The lines of a label file that are not empty, each with its place."""
    with findings.leaving_out(str(file)):
        text = read_text(file)
        return [
            (f"{file}, line {row}", line)
            for row, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    return []


def _line(number: int, polygons: list[list[int]], size: tuple[int, int]) -> str:
    points = joined(polygons)
    height, width = size
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


def parsed(text: str) -> tuple[int, list[float]]:
    """The class of a line, and the numbers of its polygon or (four of them) its box.

    Raises:
        DataError: something else.
    """
    try:
        first, *rest = (float(part) for part in text.split())
    except ValueError:
        raise DataError(f"it is not a class and numbers: {text[:60]!r}") from None
    if not all(map(math.isfinite, (first, *rest))):
        raise DataError(f"it has a number that is none: {text[:60]!r}")
    if first != int(first) or not 0 <= first <= _HIGHEST:
        raise DataError(f"it has the class {first:g}: use 0, 1, 2, ...")
    if len(rest) > _BOX and len(rest) % 2 and 0 <= rest[-1] <= 1:
        rest = rest[:-1]  # a confidence
    if len(rest) != _BOX and (len(rest) < _FEWEST or len(rest) % 2):
        raise DataError(f"it has {len(rest)} numbers: a polygon needs 3 points or more")
    return int(first), rest


def _is_sound(text: str) -> bool:
    try:
        parsed(text)
    except DataError:
        return False
    return True


def _corners(shares: list[float], size: tuple[int, int]) -> list[float]:
    """Corners x0, y0, x1, y1, ... in pixels."""
    height, width = size
    if len(shares) == _BOX:
        x, y, w, h = shares
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        shares = [left, top, right, top, right, bottom, left, bottom]
    # Shares of nine digits come back as the whole numbers they were.
    scaled = [v * (height if index % 2 else width) for index, v in enumerate(shares)]
    return [round(v) if abs(v - round(v)) < 1e-4 else v for v in scaled]


def read_names(folder: Path, findings: ImportIssues) -> dict[int, str]:
    """Names of classes by number, from the nearest list of them in a folder or above it."""
    for place in (folder, folder / LABELS, *folder.absolute().parents[:_LEVELS_ABOVE]):
        for name in _LISTS:
            file = place / name
            if file.is_file():
                lines = read_text(file, findings).splitlines()
                return {number: line for number, line in enumerate(lines) if line.strip()}
        for name in _YAML:
            file = place / name
            if file.is_file():
                return _names_in(file, findings)
    findings.remark(str(folder), f"no {NAMES} and no classes.txt names the classes")
    return {}


def _names_in(file: Path, findings: ImportIssues) -> dict[int, str]:
    import yaml

    text = read_text(file, findings)
    try:
        # A few aliases of aliases make texts of gigabytes; YOLO's own files have none.
        has_aliases = any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
    except (yaml.YAMLError, RecursionError):
        has_aliases = False  # what cannot be scanned cannot be loaded either
    if has_aliases:
        raise DataError(f"{file} has aliases (*name): write the names of the classes out")
    try:
        # Words stay words: "no" is a name, not a falsehood.
        document: Any = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
        names = document["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        found = {int(number): name for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        raise DataError(f"{file} lists no names of classes (names:)") from None
    if isinstance(names, str) or not all(isinstance(name, str) for name in found.values()):
        raise DataError(f"{file} lists no names of classes (names:)")
    return found
