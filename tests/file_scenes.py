"""The base scene of tests of readers: images of 64 x 48 pixels, and an object of known pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 64, 48
BOX = [20, 10, 44, 10, 44, 30, 20, 30]
"""Corners of the object."""
AREA = 480


def put_images(folder: Path, *names: str) -> Path:
    """A folder with grey images."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(path)
    return folder


def rectangle(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    """A mask (48, 64), the ends excluded."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def coco(*annotations: dict[str, object], names: tuple[str, ...] = ("a.png",)) -> dict[str, object]:
    """A document of COCO; annotations are numbered, and of image 1 and class 1 if not said."""
    return {
        "images": [
            {"id": k, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for k, name in enumerate(names, 1)
        ],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "segmentation": [BOX], **annotation}
            for k, annotation in enumerate(annotations, 1)
        ],
        "categories": [{"id": 1, "name": "cell"}],
    }
