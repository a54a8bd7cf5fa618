"""Write sample pictures of coins with their masks, for the tutorials: no download is needed.

    python examples/sample_images.py samples

The pictures are two halves of one that scikit-image installs. `samples/images` holds them,
`samples/train.json` the masks of the coins in the upper half and `samples/test.json` those in the
lower half, as COCO files.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samadapt.benchmark.demo import demo_dataset
from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoImage, NewObject


def main(folder: Path) -> None:
    """Write the pictures and the two COCO files."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    demo = demo_dataset()
    masks = [demo.mask(coin.annotation_id) for coin in demo.objects(categories=["coin"])]
    pixels = demo.read_image(demo.objects(categories=["coin"])[0].image_id)
    middle = gap_between(masks, pixels.shape[0] // 2)
    halves = {"upper": ("train", slice(middle)), "lower": ("test", slice(middle, None))}
    for name, (split, rows) in halves.items():
        half = pixels[rows]
        Image.fromarray(half).save(folder / "images" / f"{name}.png")
        image = CocoImage(1, f"{name}.png", half.shape[1], half.shape[0])
        coins = [NewObject(1, "coin", part) for mask in masks if (part := mask[rows]).any()]
        CocoDataset((image,), folder=folder / "images").with_objects(coins).save(
            folder / f"{split}.json"
        )
        print(f"{folder}/images/{name}.png: {len(coins)} coins, masks in {folder}/{split}.json")


def gap_between(masks: Sequence[NDArray[np.bool_]], near: int) -> int:
    """Return the row nearest to `near` at which no object is cut."""
    free = np.flatnonzero(~np.any(masks, axis=(0, 2)))
    return int(free[np.argmin(np.abs(free - near))])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "samples"))
