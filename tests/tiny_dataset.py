"""Three small pictures of a disc, a square and a bar, with a COCO file, on the disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakes import OracleModel, blobs
from samadapt.data.coco import CocoDataset
from samadapt.data.datasets import open_dataset
from samadapt.data.records import CocoCategory, CocoImage, NewObject

HEIGHT, WIDTH = 40, 56
NAMES = ("disc", "square", "bar")


@dataclass(frozen=True)
class TinyDataset:
    """Where the files are; images 1, 2, 3 hold objects 1-3, 4-6, 7-9 (disc, square, bar)."""

    images: Path
    masks: Path

    def open(self) -> CocoDataset:
        return open_dataset(self.images, self.masks)

    def truncate(self, image_id: int) -> None:
        """Cut an image file off in the middle."""
        path = self.images / f"{image_id}.png"
        path.write_bytes(path.read_bytes()[:200])

    def edit(self, change: dict[int, object]) -> None:
        """Replace the segmentation of annotations, by id."""
        content = json.loads(self.masks.read_text())
        for annotation in content["annotations"]:
            if annotation["id"] in change:
                annotation["segmentation"] = change[annotation["id"]]
        self.masks.write_text(json.dumps(content))


def make_dataset(folder: Path) -> TinyDataset:
    images = folder / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        noise = rng.integers(-8, 8, (HEIGHT, WIDTH, 3))
        pixels = (blobs(HEIGHT, WIDTH).astype(int) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    empty = CocoDataset(
        tuple(CocoImage(n, f"{n}.png", WIDTH, HEIGHT) for n in (1, 2, 3)),
        categories=tuple(CocoCategory(k, name) for k, name in enumerate(NAMES, 1)),
        folder=images,
    )
    labels = label_map()
    objects = [NewObject(n, NAMES[k], labels == k + 1) for n in (1, 2, 3) for k in range(3)]
    empty.with_objects(objects).save(folder / "test.json")
    return TinyDataset(images, folder / "test.json")


def label_map() -> NDArray[np.int_]:
    """(H, W): 0 background, 1 disc, 2 square, 3 bar."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    labels = np.zeros((HEIGHT, WIDTH), np.int_)
    labels[(rows - 12) ** 2 + (columns - 14) ** 2 < 81] = 1
    labels[22:36, 30:46] = 2
    labels[4:10, 34:52] = 3
    return labels


def oracle() -> OracleModel:
    """A model that answers every click on a tiny picture with the very object under it."""
    return OracleModel(label_map())
