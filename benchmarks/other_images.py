"""Squares around the objects of one class of a COCO file, as a test set of their own.

    python benchmarks/other_images.py --masks test.json --images DIR --category "class 19" \\
        --name hair --square 1.5 --out portraits

For `samadapt benchmark task --transfer-images portraits/images --transfer-masks
portraits/masks.json`: the class gets the name that the adapters know.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle

SMALLEST = 32
"""Objects whose box is shorter than that, in pixels, are left out."""


def window(mask: np.ndarray, factor: float) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1) in the image, `factor` times as wide as the longer side of the object."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    longer = max(bottom - top, right - left)
    if longer < SMALLEST:
        return None
    x, y, half = (left + right) / 2, (top + bottom) / 2, factor * longer / 2
    height, width = mask.shape
    return (
        max(0, round(x - half)),
        max(0, round(y - half)),
        min(width, round(x + half)),
        min(height, round(y + half)),
    )


def main() -> None:
    """Write `images` and `masks.json` into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--category", required=True, help="its name in the file")
    parser.add_argument("--name", required=True, help="its name from now on")
    parser.add_argument("--square", type=float, default=1.5, help="side, in longer sides of a box")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    data = CocoDataset.load(given.masks, given.images)
    (given.out / "images").mkdir(parents=True, exist_ok=True)
    images: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for thing in data.objects(categories=[given.category], min_area=2):
        pixels, mask = data.read_image(thing.image_id), data.mask(thing.annotation_id)
        box = window(mask, given.square)
        if box is None:
            continue
        x0, y0, x1, y1 = box
        number = len(images) + 1
        Image.fromarray(pixels[y0:y1, x0:x1]).save(given.out / "images" / f"{number}.png")
        images.append(CocoImage(number, f"{number}.png", x1 - x0, y1 - y0))
        cut = Rle.from_mask(mask[y0:y1, x0:x1])
        annotations.append(CocoAnnotation(number, number, 1, cut))
    CocoDataset(tuple(images), tuple(annotations), (CocoCategory(1, given.name),)).save(
        given.out / "masks.json"
    )
    print(f"{given.out}: {len(images)} pictures")


if __name__ == "__main__":
    main()
