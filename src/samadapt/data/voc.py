"""PASCAL VOC: boxes as XML, masks of objects and classes as palette images, in and out.

Annotations/NAME.xml          boxes, in the order of the objects' values
SegmentationObject/NAME.png   1, 2, ... for the objects
SegmentationClass/NAME.png    1, 2, ... for the classes, as in `labels.txt`
ImageSets/Segmentation/all.txt
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder, visible_files
from samadapt.data.images import read_values
from samadapt.data.import_issues import ImportIssues
from samadapt.data.matching import relative_name
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.data.text import read_text, read_xml
from samadapt.errors import DataError, ImageError

MOST = 254
"""Objects of one image, and classes, that an image of 8 bits can number (255 means void)."""


def save_voc(dataset: CocoDataset, folder: str | os.PathLike[str]) -> None:
    """Write a dataset as PASCAL VOC; images are named, not copied.

    Where objects overlap, the smaller one (by area) covers the larger: VOC cannot hold both.
    Crowds and objects without a mask are left out.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.

    Raises:
        DataError: more than 254 objects in an image or classes, two images that would share a
            file, a broken mask, a folder that is not empty or cannot be written.
    """
    if len(dataset.categories) > MOST:
        raise DataError(f"{len(dataset.categories)} classes: VOC can number {MOST}, use COCO")
    numbers = {category.id: k for k, category in enumerate(dataset.categories, 1)}
    with new_folder(folder) as target:
        names = [category.name for category in dataset.categories]
        _write(target / "labels.txt", "".join(f"{name}\n" for name in names))
        stems = []
        for image in dataset.images:
            stem = Path(image.relative_path()).with_suffix("").as_posix()
            if stem in stems:
                raise DataError(f"two images are called {stem}: rename {image.file_name}")
            stems.append(stem)
            _save_image(dataset, image, numbers, target, stem)
        _write(target / "ImageSets/Segmentation/all.txt", "".join(f"{s}\n" for s in stems))


def load_voc(
    folder: str | os.PathLike[str],
    images: str | os.PathLike[str],
    findings: ImportIssues | None = None,
) -> CocoDataset:
    """Read a dataset in PASCAL VOC form with object masks.

    Images of objects may be palettes, grey, or in VOC's colours. Without them there are no masks:
    boxes, and masks of classes, which do not distinguish objects, are reported and left out.

    Args:
        folder: holds `Annotations`, or the XML files themselves.
        images: the folder of their images.
        findings: receives unusable files and objects.

    Raises:
        DataError: no annotations.
    """
    folder = Path(folder)
    findings = findings or ImportIssues()
    place = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    files = visible_files(place, ".xml")
    if not files:
        raise DataError(f"no annotation (Annotations/*.xml) in {folder}: it is no VOC dataset")
    known = folder / "labels.txt"
    names = read_text(known, findings).splitlines() if known.is_file() else []
    numbers = {name: k for k, name in enumerate(names, 1) if name.strip()}
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for image_id, file in enumerate(files, 1):
        stem = file.relative_to(place).with_suffix(".png")
        read = _read(file, findings)
        if read is None:
            continue
        name, labels = read
        with findings.leaving_out(str(file), len(labels)):
            values = _values(folder, stem)
            record = CocoImage(
                image_id,
                relative_name((stem.parent / name).as_posix()),
                values.shape[1],
                values.shape[0],
            )
            records.append(record)
            for label, rle in _objects(values, labels, file, findings):
                category = numbers.setdefault(label, len(numbers) + 1)
                annotations.append(CocoAnnotation(len(annotations) + 1, image_id, category, rle))
    categories = tuple(CocoCategory(k, name) for name, k in numbers.items())
    return CocoDataset(tuple(records), tuple(annotations), categories, Path(images), str(folder))


# -- writing --------------------------------------------------------------------------------


def _save_image(
    dataset: CocoDataset, image: CocoImage, numbers: dict[Any, int], target: Path, stem: str
) -> None:
    things = [
        a
        for a in dataset.annotations_of(image.id)
        if a.segmentation is not None and not a.iscrowd and dataset.rle(a.id).area
    ]
    if len(things) > MOST:
        raise DataError(
            f"{image.file_name} has {len(things)} objects, VOC can number {MOST}: use COCO or masks"
        )
    height, width = dataset.size(image.id)
    by_object = np.zeros((height, width), np.uint8)
    by_class = np.zeros((height, width), np.uint8)
    areas = {value: dataset.rle(thing.id).area for value, thing in enumerate(things, 1)}
    for value in sorted(areas, key=lambda value: -areas[value]):
        mask = dataset.mask(things[value - 1].id)
        by_object[mask] = value
        by_class[mask] = numbers[things[value - 1].category_id]
    _write_palette(target / "SegmentationObject" / f"{stem}.png", by_object)
    _write_palette(target / "SegmentationClass" / f"{stem}.png", by_class)
    root = ElementTree.Element("annotation")
    _text(root, "filename", Path(image.relative_path()).name)
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", width), ("height", height), ("depth", 3)):
        _text(size, tag, str(value))
    _text(root, "segmented", "1")
    for thing in things:
        entry = ElementTree.SubElement(root, "object")
        _text(entry, "name", dataset.category(thing.category_id).name)
        x, y, w, h = dataset.rle(thing.id).box
        box = ElementTree.SubElement(entry, "bndbox")
        # VOC counts pixels from 1, both ends included.
        corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + w, "ymax": y + h}
        for tag, value in corners.items():
            _text(box, tag, str(value))
    path = target / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = "".join(c for c in text if c >= " " or c in "\t\n")


def _write_palette(path: Path, values: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values, "L")
    image.putpalette(_palette())
    image.save(path, "PNG")


def _palette() -> list[int]:
    """VOC's colours: the bits of a number, spread over red, green and blue from the top."""
    colours = []
    for number in range(256):
        for channel in range(3):
            bits = [(number >> (3 * k + channel)) & 1 for k in range(8)]
            colours.append(sum(bit << (7 - k) for k, bit in enumerate(bits)))
    return colours


# -- reading --------------------------------------------------------------------------------


def _read(file: Path, findings: ImportIssues) -> tuple[str, list[str]] | None:
    """File name and the labels of the objects, in order; None for a file of another kind."""
    with findings.leaving_out(str(file)):
        root = read_xml(file, findings)
        if root.tag != "annotation":
            findings.remark(str(file), f"it is no VOC annotation but <{root.tag[:60]}>")
            return None
        labels = [entry.findtext("name") or "object" for entry in root.iter("object")]
        given = (root.findtext("filename") or "").replace("\\", "/").rpartition("/")[2]
        return given or file.stem, labels
    return None


def _values(folder: Path, stem: Path) -> NDArray[Any]:
    """The numbers of the objects (H, W)."""
    file = folder / "SegmentationObject" / stem
    if not file.is_file():
        if (folder / "SegmentationClass" / stem).is_file():
            raise DataError(
                "there are only masks of classes, in which objects cannot be told apart: add "
                f"{file}"
            )
        raise DataError(f"its objects have only boxes, no masks: add {file}")
    try:
        values = read_values(file)
    except ImageError as error:
        raise DataError(f"the masks {error}") from None
    if values.ndim == 3:
        values = _numbers_of(values[..., :3], file)
    if values.dtype.kind not in "bui":
        raise DataError(f"the masks {file} are no whole numbers: save them as a palette image")
    return values


def _numbers_of(colours: NDArray[Any], file: Path) -> NDArray[Any]:
    """The numbers (H, W) that colours (H, W, 3) stand for in VOC's palette."""
    if colours.shape[2] < 3 or colours.dtype != np.uint8:
        return colours[..., 0]
    weights = np.array([1 << 16, 1 << 8, 1])
    palette = np.array(_palette()).reshape(-1, 3) @ weights
    codes = colours.astype(np.int64) @ weights
    if (colours == colours[..., :1]).all() and not np.isin(codes, palette).all():
        return colours[..., 0]
    order = np.argsort(palette)
    at = np.minimum(np.searchsorted(palette[order], codes), len(palette) - 1)
    numbers: NDArray[Any] = order[at]
    if (palette[numbers] != codes).any():
        raise DataError(f"the masks {file} have other colours than VOC's: save a palette image")
    return numbers


def _objects(
    values: NDArray[Any], labels: list[str], file: Path, findings: ImportIssues
) -> Iterator[tuple[str, Rle]]:
    """(label, mask) of every object that has both."""
    for value, label in enumerate(labels, 1):
        rle = Rle.from_mask(values == value)
        if rle.area:
            yield label, rle
        else:
            findings.leave_out(f"{file}, object {value}", f"no pixel of its mask is {value}")
    void = 255
    for value in np.unique(values).tolist():
        if value > len(labels) and value != void:
            findings.leave_out(str(file), f"it has no object for the value {value} of its mask")
