"""Compare weights on the held-out photographs and on generated scenes, click by click.

    python -m research.nano.validate --data DIR --weights a.safetensors b.safetensors

Prints the mean IoU after some clicks and how many were needed for IoU 0.85 (all where it was never
reached). New weights are worth shipping when they win here; test files play no part in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from research.nano.data import read_photos
from research.nano.recipe import Recipe
from research.scenes.scene import generate_scene
from samadapt.data.coco import CocoDataset
from samadapt.errors import DataError
from samadapt.models.nano.model import NanoModel, load_nano
from samadapt.session.robot import ClickProtocol, annotate_object

Example = tuple[NDArray[np.uint8], NDArray[np.bool_]]

OWN = ("voc", "vocmore", "ecssd", "coco80", "clothing", "carparts", "generated")
"""Sources of training that hold out enough photographs to compare weights on, and scenes."""

CLICKS = 5
SHOWN = (1, 2, 3, 4, 5, 10, 15, 20)
GOOD = 0.85


def validation_examples(data: Path, name: str, count: int, seed: int = 0) -> Iterator[Example]:
    """Images (H, W, 3) with one object's mask (H, W) each, the same ones every time.

    Args:
        data: folder of the photographs' datasets.
        name: one of `OWN`.
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


def domain_examples(data: Path, name: str, count: int) -> Iterator[Example]:
    """The same of the training file of a domain that nano has never seen, to look at, not to learn.

    Args:
        data: folder of the datasets.
        name: one of them.
        count: at most this many objects.
    """
    dataset = CocoDataset.load(data / name / "train.json", data / name / "images")
    for ref in dataset.objects(max_objects=count, seed=11):
        yield dataset.read_image(ref.image_id), dataset.mask(ref.annotation_id)


def examples(data: Path, name: str, count: int) -> Iterator[Example]:
    """Held-out photographs or generated scenes, or, for any other name, `domain_examples`."""
    found = validation_examples if name in OWN else domain_examples
    yield from found(data, name, count)


def validate(
    model: NanoModel, data: Path, count: int, clicks: int = CLICKS
) -> dict[str, NDArray[np.float64]]:
    """IoU (objects, clicks) after every click on each source and on generated scenes."""
    protocol = ClickProtocol(max_clicks=clicks, targets=(1.0,))
    found = {}
    for name in OWN:
        curves = []
        for image, truth in validation_examples(data, name, count):
            ious = list(annotate_object(model, model.encode(image), truth, protocol).ious)
            curves.append(ious + ious[-1:] * (clicks - len(ious)))
        if curves:  # a small source may hold out nothing
            found[name] = np.array(curves)
    return found


def summary(sources: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Mean IoU after the clicks in `SHOWN`, and mean number of clicks to IoU `GOOD`, by name.

    Args:
        sources: IoUs (objects, clicks) of each source; every source counts the same.
    """
    count = min(curves.shape[1] for curves in sources.values())
    means = np.mean([curves.mean(axis=0) for curves in sources.values()], axis=0)
    needed = np.mean([_clicks_needed(curves) for curves in sources.values()])
    found = {f"iou{click}": round(float(means[click - 1]), 4) for click in SHOWN if click <= count}
    return {**found, f"NoC{count}": round(float(needed), 3)}


def describe(sources: Mapping[str, NDArray[np.float64]]) -> str:
    """`summary` as a line of text."""
    found = summary(sources)
    ((noc, needed),) = (item for item in found.items() if item[0].startswith("NoC"))
    ious = {name.removeprefix("iou"): v for name, v in found.items() if name.startswith("iou")}
    after, values = " ".join(ious), " ".join(f"{value:.3f}" for value in ious.values())
    return f"IoU after {after} clicks: {values}  {noc}@{round(100 * GOOD)}: {needed:.2f}"


def _clicks_needed(curves: NDArray[np.float64]) -> float:
    """Mean number of clicks to IoU `GOOD`; all of them where it was never reached."""
    good = curves >= GOOD
    first = good.argmax(axis=1) + 1
    return float(np.where(good.any(axis=1), first, curves.shape[1]).mean())


def main() -> None:
    """Print one line per weights file and source."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--clicks", type=int, default=CLICKS)
    arguments = parser.parse_args()
    for path in arguments.weights:
        found = validate(load_nano(path), arguments.data, arguments.count, arguments.clicks)
        for name, curves in found.items():
            print(f"{path} {name:10s} {describe({name: curves})}", flush=True)  # noqa: T201
        print(f"{path} {'mean':10s} {describe(found)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
