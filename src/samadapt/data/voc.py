"""PASCAL VOC: boxes as XML, masks of objects and classes as palette images, in and out.

Annotations/NAME.xml          boxes, in the order of the objects' values
SegmentationObject/NAME.png   1, 2, ... for the objects
SegmentationClass/NAME.png    1, 2, ... for the classes, as in `labels.txt`
ImageSets/Segmentation/all.txt
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder
from samadapt.data.images import read_values
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
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


def load_voc(folder: str | os.PathLike[str]) -> CocoDataset:
    """Read what `save_voc` writes, or VOC itself: objects with their masks.

    Raises:
        DataError: no annotations, or damaged ones.
    """
    folder = Path(folder)
    files = sorted((folder / "Annotations").rglob("*.xml"))
    if not files:
        raise DataError(f"no annotation (Annotations/*.xml) in {folder}: it is no VOC dataset")
    known = folder / "labels.txt"
    names = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    numbers = {name: k for k, name in enumerate(names, 1)}
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for image_id, file in enumerate(files, 1):
        name, size, labels = _read(file)
        stem = file.relative_to(folder / "Annotations").with_suffix(".png")
        file_name = (stem.parent / name).as_posix()
        records.append(CocoImage(image_id, file_name, size[1], size[0]))
        masks = folder / "SegmentationObject" / stem
        if not masks.is_file():
            continue
        values = _values(masks, size)
        for value, label in enumerate(labels, 1):
            category = numbers.setdefault(label, len(numbers) + 1)
            rle = Rle.from_mask(values == value)
            annotations.append(CocoAnnotation(len(annotations) + 1, image_id, category, rle))
    categories = tuple(CocoCategory(k, name) for name, k in numbers.items())
    return CocoDataset(tuple(records), tuple(annotations), categories, None, str(folder))


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


def _read(file: Path) -> tuple[str, tuple[int, int], list[str]]:
    """File name, (height, width) and the labels of the objects, in order."""
    try:
        text = file.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError(f"{file} has a document type: remove it, annotations need none")
        root = ElementTree.fromstring(text)  # noqa: S314
        size = root.find("size")
        if size is None:
            raise DataError(f"{file} states no size")
        height, width = int(size.findtext("height", "0")), int(size.findtext("width", "0"))
        labels = [entry.findtext("name", "object") for entry in root.iter("object")]
        return root.findtext("filename", file.stem), (height, width), labels
    except (OSError, ValueError, ElementTree.ParseError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is no VOC annotation ({error})") from None


def _values(file: Path, size: tuple[int, int]) -> NDArray[Any]:
    try:
        values = read_values(file)
    except ImageError as error:
        raise DataError(f"the masks {error}") from None
    if values.shape != size:
        raise DataError(
            f"{file} is {values.shape[1]} x {values.shape[0]} pixels, its annotation says "
            f"{size[1]} x {size[0]}"
        )
    return values
