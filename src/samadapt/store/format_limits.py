"""Limits of each export format, and a line about each record beyond them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from samadapt.data import voc
from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage, Id

_LONGEST_NAME = 255
"""Bytes of a file name, on all file systems in use."""
_LABEL_MAP_VALUES = 65535
LARGEST_PICTURE = 1 << 27
"""Largest number of pixels of an image for which mask pictures are written."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one format.

    Attributes:
        target: (first) file of an image, below the output folder.
        taken: files that the format writes beside those of the images.
        objects: largest number of objects of one image; None for any number.
        categories: largest number of categories; None for any number.
        details: whether the format holds attributes of objects and tags of images.
        pictures: whether masks are written as pictures of the image's size.
    """

    target: Callable[[PurePosixPath], PurePosixPath]
    taken: tuple[str, ...] = ()
    objects: Callable[[], int] | None = None
    categories: Callable[[], int] | None = None
    details: bool = False
    pictures: bool = False


LIMITS: Mapping[str, Limits] = {
    "masks": Limits(
        lambda name: name.with_suffix("") / "00001.png", ("objects.csv",), pictures=True
    ),
    "label-maps": Limits(
        lambda name: name.with_suffix(".png"),
        ("objects.csv",),
        lambda: _LABEL_MAP_VALUES,
        pictures=True,
    ),
    "yolo": Limits(lambda name: name.with_suffix(".txt")),
    "labelme": Limits(lambda name: name.with_suffix(".json"), details=True),
    "voc": Limits(
        lambda name: name.with_suffix(".xml"),
        (),
        lambda: voc.MOST,
        lambda: voc.MOST,
        pictures=True,
    ),
}
"""Limits by format; other formats (COCO) hold everything."""


def fitting(dataset: CocoDataset, format: str) -> tuple[CocoDataset, list[str]]:
    """Return the part of a dataset that a format can hold, and the reasons for the rest."""
    limits = LIMITS.get(format)
    if limits is None:
        return dataset, []
    left_out: list[str] = []
    categories = _categories(dataset, limits, left_out)
    allowed = {category.id for category in categories}
    kept = [a for a in dataset.annotations if a.category_id in allowed]
    if limits.objects is not None:
        kept = _first(dataset, kept, limits.objects(), left_out)
    images = _images(dataset, limits, left_out)
    there = {image.id for image in images}
    kept = [a for a in kept if a.image_id in there]
    if not limits.details:
        left_out += _details(images, kept)
    if not left_out:
        return dataset, []
    return (
        replace(dataset, images=images, annotations=tuple(kept), categories=categories),
        left_out,
    )


def _details(images: Iterable[CocoImage], kept: Iterable[CocoAnnotation]) -> list[str]:
    """Lines about attributes and tags that are left out."""
    counts = {
        "the attributes of {} objects": sum(
            bool(a.extra.get("attributes", {}).keys() - {"track_id"}) for a in kept
        ),
        "the tags of {} images": sum("tags" in image.extra for image in images),
    }
    reason = "the format cannot hold them, use COCO or labelme"
    return [f"{text.format(count)}: {reason}" for text, count in counts.items() if count]


def _categories(
    dataset: CocoDataset, limits: Limits, left_out: list[str]
) -> tuple[CocoCategory, ...]:
    """Categories that the format can number; the most used ones if there are too many."""
    most = None if limits.categories is None else limits.categories()
    if most is None or len(dataset.categories) <= most:
        return dataset.categories
    uses = Counter(annotation.category_id for annotation in dataset.annotations)
    order = sorted(dataset.categories, key=lambda category: -uses[category.id])
    kept = {category.id for category in order[:most]}
    for category in order[most:]:
        if uses[category.id]:
            left_out.append(
                f"{uses[category.id]} objects of the class {category.name!r}: the format can "
                f"number {most} classes"
            )
    return tuple(category for category in dataset.categories if category.id in kept)


def _first(
    dataset: CocoDataset, annotations: Iterable[CocoAnnotation], most: int, left_out: list[str]
) -> list[CocoAnnotation]:
    """The first objects of every image, as many as the format can number."""
    seen: Counter[Id] = Counter()
    kept = []
    for annotation in annotations:
        seen[annotation.image_id] += 1
        if seen[annotation.image_id] <= most:
            kept.append(annotation)
    for image_id, count in seen.items():
        if count > most:
            left_out.append(
                f"{dataset.image(image_id).file_name}: {count - most} of its {count} objects, the "
                f"format can number {most}"
            )
    return kept


def _images(dataset: CocoDataset, limits: Limits, left_out: list[str]) -> tuple[CocoImage, ...]:
    """Images whose file can be written; of two with the same file, the one with objects."""
    files: dict[PurePosixPath, str] = {PurePosixPath(name): name for name in limits.taken}
    folders: dict[PurePosixPath, str] = {}
    kept: set[Id] = set()
    order = sorted(dataset.images, key=lambda image: not dataset.annotations_of(image.id))
    for image in order:
        name = PurePosixPath(image.relative_path())
        target = limits.target(name)
        other = files.get(target) or folders.get(target)
        other = other or next((files[p] for p in target.parents if p in files), None)
        too_large = limits.pictures and image.height * image.width > LARGEST_PICTURE
        too_long = any(len(os.fsencode(part)) > _LONGEST_NAME for part in target.parts)
        count = len(dataset.annotations_of(image.id))
        if too_large:
            reason = "too large for a picture of its masks, export it as coco"
            left_out.append(f"{image.file_name} ({count} objects): {reason}")
            continue
        if other is None and not too_long:
            files[target] = str(name)
            folders |= dict.fromkeys(target.parents, str(name))
            kept.add(image.id)
            continue
        reason = "its name is too long" if other is None else f"it would share a file with {other}"
        left_out.append(f"{image.file_name} ({count} objects): {reason}, rename it")
    return tuple(image for image in dataset.images if image.id in kept)
