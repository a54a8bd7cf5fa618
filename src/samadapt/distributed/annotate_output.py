"""Output of `annotate-all`: one COCO file, or shards of COCO and an index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder, replacing
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.distributed.annotate import FoundImage

INDEX = "index.json"
INDEX_FORMAT = "samadapt-shards-1"
SHARD_IMAGES = 10_000
"""Images per shard."""

Named: TypeAlias = tuple[str, FoundImage]


def write_coco(path: Path, labels: Sequence[str], found: Iterator[Named]) -> int:
    """Write one COCO file; returns its number of objects.

    Args:
        path: the file.
        labels: categories, in order; numbers begin with 1.
        found: images by name.
    """
    return _save(path, labels, list(found), 1, 1)


def write_shards(
    folder: Path,
    labels: Sequence[str],
    found: Iterator[Named],
    about: Mapping[str, Any],
    shard_images: int = SHARD_IMAGES,
) -> int:
    """Write a folder of COCO files and an index of them; returns their number of objects.

    Ids of images and objects continue from shard to shard. The folder appears complete or not at
    all.

    Args:
        folder: new, or empty.
        labels: categories, the same in all shards.
        found: images by name, in order.
        about: more entries of the index: the run, and failed images.
        shard_images: images per shard.

    Raises:
        DataError: the folder exists and is not empty, or cannot be written.
    """
    shards: list[dict[str, Any]] = []
    image_id = object_id = 1
    with new_folder(folder) as new:
        while some := list(islice(found, shard_images)):
            path = new / f"shard-{len(shards):05d}.json"
            count = _save(path, labels, some, image_id, object_id)
            shards.append(
                {
                    "file": path.name,
                    "images": len(some),
                    "objects": count,
                    "first": some[0][0],
                    "last": some[-1][0],
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
            )
            image_id, object_id = image_id + len(some), object_id + count
        index = {
            "format": INDEX_FORMAT,
            "images": image_id - 1,
            "objects": object_id - 1,
            "categories": list(labels),
            "shards": shards,
            **about,
        }
        with replacing(new / INDEX) as file:
            file.write(json.dumps(index, indent=1).encode())
    return object_id - 1


def _save(
    path: Path, labels: Sequence[str], found: Sequence[Named], first_image: int, first_object: int
) -> int:
    images, annotations = [], list[CocoAnnotation]()
    category = {label: number for number, label in enumerate(labels, 1)}
    for image_id, (name, one) in enumerate(found, first_image):
        height, width = one.size or (0, 0)
        images.append(CocoImage(image_id, name, width, height))
        for thing in one.objects:
            number = first_object + len(annotations)
            extra = {"score": thing.score, "point": list(thing.point)}
            annotations.append(
                CocoAnnotation(number, image_id, category[thing.label], thing.rle, extra=extra)
            )
    categories = tuple(CocoCategory(number, label) for label, number in category.items())
    CocoDataset(tuple(images), tuple(annotations), categories, source=str(path)).save(path)
    return len(annotations)
