"""Encode training photographs once: `python -m research.sam_shaped.cache`.

Each image becomes one safetensors file with the frozen pyramid's features (float16) and the
masks of its objects on the decoder's grid (packed bits). Files are written in a random order over
all sets, so that training may begin while the rest is encoded, and those that exist are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from research.nano.data import Photo, read_photos
from research.sam_shaped.preprocessing import square_preprocessing
from samadapt.data.files import replacing
from samadapt.data.images import read_image
from samadapt.models.nano.model import load_nano

SETS = (
    "voc", "vocmore", "ecssd", "coco80", "clothing", "carparts", "camvid", "pedestrians",
    "butterflies", "flowers", "horses", "wildlife", "food",
)  # fmt: skip
"""Sets of natural photographs that may be trained on."""
HELD_OUT = 0.04
"""Share of the images that validate, by a hash of the file's name."""
_MOST = 8
"""Most objects that are kept per image."""
_SMALLEST = 0.002
"""Share of the input that an object must cover."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedImage:
    """One encoded photograph.

    Attributes:
        features: (F, h, w) float16.
        masks: (M, 4h, 4w) uint8, 0 or 1.
        extent: share (height, width) of the input that is image.
    """

    features: Tensor
    masks: NDArray[np.uint8]
    extent: tuple[float, float]


def read_cached(path: Path) -> CachedImage:
    """Read a file that `encode` wrote."""
    tensors = load_file(path)
    packed = tensors["masks"].numpy()
    side = 4 * tensors["features"].shape[-1]
    bits = np.unpackbits(packed, axis=1).reshape(len(packed), side, side)
    height, width = tensors["extent"].tolist()
    return CachedImage(tensors["features"], bits, (height, width))


class Encoder:
    """nano's frozen encoder, as a square input wants it.

    Args:
        encode: normalised pixels (1, 3, side, side) to features (1, F, h, w).
        side: of the input.
    """

    def __init__(self, encode: Any, side: int) -> None:
        self.encode = encode
        self.preprocessing = square_preprocessing(side)

    def write(self, photo: Photo, path: Path, rng: Generator) -> bool:
        """Encode one photograph into `path`; False if it has no object that is large enough."""
        pixels = read_image(photo.path)
        geometry = self.preprocessing.geometry((pixels.shape[0], pixels.shape[1]))
        masks = grid_masks(photo, geometry.resized, geometry.padded, rng)
        if not len(masks):
            return False
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            features = self.encode(self.preprocessing.apply(pixels, geometry))
        extent = [a / b for a, b in zip(geometry.resized, geometry.padded, strict=True)]
        tensors = {
            "features": features[0].half().contiguous(),
            "masks": torch.from_numpy(np.packbits(masks.reshape(len(masks), -1), axis=1)),
            "extent": torch.tensor(extent),
        }
        with replacing(path) as file:
            file.write(save(tensors))
        return True


def grid_masks(
    photo: Photo, resized: tuple[int, int], padded: tuple[int, int], rng: Generator
) -> NDArray[np.uint8]:
    """Masks (M, h, w) of objects on the decoder's grid, at half the input's resolution."""
    height, width = (round(v / 2) for v in resized)
    found: list[NDArray[np.uint8]] = []
    for index in rng.permutation(len(photo.objects)):
        mask = photo.objects[index].mask().astype(np.float32)
        shrunk = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) > 0.5
        if shrunk.mean() < _SMALLEST or shrunk.mean() > 0.98:
            continue
        whole = np.zeros((padded[0] // 2, padded[1] // 2), np.uint8)
        whole[:height, :width] = shrunk
        found.append(whole)
        if len(found) == _MOST:
            break
    return np.stack(found) if found else np.zeros((0, 1, 1), np.uint8)


def encode_sets(data: Path, names: Sequence[str], out: Path, limit: int, validation: bool) -> None:
    """Encode the images of some sets into `out`, as `SET-NAME.safetensors`."""
    from research.sam_shaped.network import NanoVisionEncoder

    rng = np.random.default_rng(0)
    photos = [
        (name, photo) for name in names for photo in read_photos(data / name, HELD_OUT, validation)
    ]
    shipped: Any = load_nano(encoder_dtype=torch.float32)
    encoder = NanoVisionEncoder(shipped.config, 256)
    encoder.pyramid = shipped._network.encoder
    encoder.eval().requires_grad_(False)
    writer = Encoder(encoder.features, shipped.config.input_side)
    out.mkdir(parents=True, exist_ok=True)
    for number in rng.permutation(len(photos))[:limit]:
        name, photo = photos[number]
        path = out / f"{name}-{photo.path.stem}.safetensors"
        if not path.exists():
            writer.write(photo, path, np.random.default_rng(int(number)))


def main() -> None:
    """Encode the training images, or the validation images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--limit", type=int, default=100_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for folder, limit, validation in (
        ("valid", 100, True),
        ("train", arguments.limit, False),
    ):
        where = arguments.out / folder
        encode_sets(arguments.data, arguments.sets, where, limit, validation)


if __name__ == "__main__":
    main()
