"""Compare weights on the held-out photographs and on generated scenes, click by click.

    python -m samadapt.training.nano.validate --data DIR --weights a.safetensors b.safetensors

New weights are worth shipping when they win here; test files play no part in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.synthetic import generate_scene
from samadapt.errors import DataError
from samadapt.models.nano.model import NanoModel, load_nano
from samadapt.session.robot import ClickProtocol, annotate_object
from samadapt.training.nano.data import read_photos
from samadapt.training.nano.train import SOURCES, Recipe

Example = tuple[NDArray[np.uint8], NDArray[np.bool_]]

CLICKS = 5


def validation_examples(data: Path, name: str, count: int, seed: int = 0) -> Iterator[Example]:
    """Images (H, W, 3) with one object's mask (H, W) each, the same ones every time.

    Args:
        data: folder of the photographs' datasets.
        name: one of `SOURCES`, or "generated".
        count: at most this many examples, each from another image.
        seed: of the choice.
    """
    rng = np.random.default_rng([seed, 17])
    if name == "generated":
        for number in range(count):
            scene = generate_scene(np.random.default_rng([seed, 17, number]), (256, 320))
            masks = scene.masks(min_area=100)
            if masks:
                yield scene.image, masks[int(rng.integers(len(masks)))]
        return
    photos = read_photos(data / name, Recipe(data="", out="").held_out, validation=True)
    for index in rng.permutation(len(photos))[:count]:
        photo = photos[index]
        bgr = cv2.imread(str(photo.path))
        if bgr is None:
            raise DataError(f"{photo.path} cannot be read")
        masks = [rle.mask() for rle in photo.objects if rle.area >= 100]
        if masks:
            image = np.asarray(bgr[..., ::-1], np.uint8).copy()
            yield image, masks[int(rng.integers(len(masks)))]


def validate(model: NanoModel, data: Path, count: int) -> dict[str, NDArray[np.float64]]:
    """Mean IoU (5,) after 1 to 5 clicks on each source and on generated scenes."""
    protocol = ClickProtocol(max_clicks=CLICKS, targets=(1.0,))
    found = {}
    for name in (*SOURCES, "generated"):
        curves = []
        for image, truth in validation_examples(data, name, count):
            ious = list(annotate_object(model, model.encode(image), truth, protocol).ious)
            curves.append(ious + ious[-1:] * (CLICKS - len(ious)))
        found[name] = np.mean(curves, axis=0)
    return found


def main() -> None:
    """Print one line per weights file and source."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=50)
    arguments = parser.parse_args()
    for path in arguments.weights:
        means = validate(load_nano(path), arguments.data, arguments.count)
        means["mean"] = np.mean(list(means.values()), axis=0)
        for name, ious in means.items():
            text = " ".join(f"{iou:.3f}" for iou in ious)
            print(f"{path} {name:10s} IoU after 1 to {CLICKS} clicks: {text}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
