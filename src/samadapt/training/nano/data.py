"""Training samples for nano: crops of photographs and of generated scenes, at mixed scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from samadapt.data.coco import CocoDataset
from samadapt.data.rle import Rle
from samadapt.data.synthetic import Scene, generate_scene
from samadapt.errors import DataError
from samadapt.training.nano.augment import augment_colours

PADDING_GREY = 115
_MAX_REGIONS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One crop.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        masks: (M, S, S) uint8, the objects to click.
        regions: (S/8, S/8) int64 region numbers for the contrastive loss, 0 unknown background.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    regions: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph with its objects as compressed RLE."""

    path: Path
    objects: tuple[Rle, ...]


def read_photos(folder: Path, held_out: float, validation: bool = False) -> list[Photo]:
    """Photos of `folder/train.json` that have objects; the held-out share is the validation split.

    The split goes by a hash of the file name, so it is the same on every machine.
    """
    dataset = CocoDataset.load(folder / "train.json", folder / "images")
    photos = []
    for image in dataset.images:
        share = (_stable_hash(image.file_name) % 1000) / 1000
        objects = tuple(
            dataset.rle(annotation.id)
            for annotation in dataset.annotations_of(image.id)
            if annotation.segmentation is not None and not annotation.iscrowd
        )
        if objects and (share < held_out) == validation:
            photos.append(Photo(dataset.image_path(image.id), objects))
    return photos


class TrainingSamples(IterableDataset[dict[str, Tensor]]):
    """An endless stream of samples.

    Args:
        sources: lists of photos with the share of samples drawn from each.
        generated: share of samples drawn from generated scenes.
        side: S, height and width of the crops; a multiple of 32.
        objects: M, objects per crop.
        seed: same seed and worker count, same stream.
        scales: the photo's longer side is resampled to S times a number between these two.
    """

    def __init__(
        self,
        sources: Sequence[tuple[list[Photo], float]],
        generated: float,
        side: int,
        objects: int,
        seed: int,
        scales: tuple[float, float] = (0.8, 2.4),
    ) -> None:
        self.sources = [photos for photos, _ in sources]
        self.shares = np.array([share for _, share in sources])
        self.generated = generated
        self.side = side
        self.objects = objects
        self.seed = seed
        self.scales = scales

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        cv2.setNumThreads(1)
        textures: list[NDArray[np.uint8]] = []
        scene: Scene | None = None
        while True:
            if rng.random() < self.generated:
                fresh = scene is None or rng.random() < 0.5
                if fresh:
                    extent = int(self.side * rng.uniform(1.0, 1.4))
                    scene = generate_scene(rng, (extent, extent), photos=textures)
                sample = self._from_scene(rng, scene) if scene is not None else None
            else:
                source = self.sources[int(rng.choice(len(self.sources), p=self._shares()))]
                sample = self._from_photo(rng, source[int(rng.integers(len(source)))], textures)
            if sample is not None:
                yield {
                    "image": torch.from_numpy(sample.image),
                    "masks": torch.from_numpy(sample.masks),
                    "regions": torch.from_numpy(sample.regions),
                }

    def _shares(self) -> NDArray[np.float64]:
        return np.asarray(self.shares / self.shares.sum())

    def _from_photo(
        self, rng: Generator, photo: Photo, textures: list[NDArray[np.uint8]]
    ) -> Sample | None:
        bgr = cv2.imread(str(photo.path))
        if bgr is None:
            raise DataError(f"{photo.path} cannot be read")
        image = np.ascontiguousarray(bgr[..., ::-1])
        textures.append(image)
        del textures[:-40]
        chosen = rng.permutation(len(photo.objects))[:_MAX_REGIONS]
        masks = np.stack([photo.objects[i].mask() for i in chosen]).astype(np.uint8)
        order = np.argsort(-masks.sum((1, 2), dtype=np.int64))
        labels = np.zeros(image.shape[:2], np.int32)
        for number, index in enumerate(order, 1):  # small objects lie on top of large ones
            labels[masks[index] > 0] = number
        low, high = self.scales
        factor = math.exp(rng.uniform(math.log(low), math.log(high)))
        scale = self.side * factor / max(image.shape[:2])
        return self._crop(rng, image, list(masks), labels, scale, turn=False)

    def _from_scene(self, rng: Generator, scene: Scene) -> Sample | None:
        numbers = [n for n in np.unique(scene.labels) if n > 0]
        groups = [frozenset({int(n)}) for n in numbers] + list(scene.wholes)
        picked = rng.permutation(len(groups))[: 3 * self.objects]
        masks = [np.isin(scene.labels, list(groups[i])).astype(np.uint8) for i in picked]
        # Background is a region of its own in a generated scene.
        scale = math.exp(rng.uniform(math.log(0.7), math.log(1.6)))
        return self._crop(rng, scene.image, masks, scene.labels + 1, scale, turn=True)

    def _crop(
        self,
        rng: Generator,
        image: NDArray[np.uint8],
        masks: list[NDArray[np.uint8]],
        labels: NDArray[np.int32],
        scale: float,
        turn: bool,
    ) -> Sample | None:
        if not masks:
            return None
        side = self.side
        matrix = _crop_matrix(
            rng, image.shape[:2], masks[int(rng.integers(len(masks)))], scale, side
        )
        source, shrunk = image, 1.0
        if scale < 0.7:  # warping alone would alias
            shrunk = scale
            size = tuple(max(1, round(v * scale)) for v in image.shape[1::-1])
            source = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        crop = cv2.warpAffine(
            source,
            _between_pixels(matrix, shrunk),
            (side, side),
            flags=cv2.INTER_LINEAR,
            borderValue=(PADDING_GREY,) * 3,
        )
        matrix = _between_pixels(matrix)
        warped = [
            cv2.warpAffine(m * 255, matrix, (side, side), flags=cv2.INTER_LINEAR) > 127
            for m in masks
        ]
        good = [m for m in warped if m.sum() >= max(24, (side * 0.03) ** 2)]
        if not good:
            return None
        chosen = [good[i] for i in rng.permutation(len(good))[: self.objects]]
        while len(chosen) < self.objects:
            chosen.append(chosen[int(rng.integers(len(chosen)))])
        stack = np.stack(chosen).astype(np.uint8)
        cells = cv2.warpAffine(
            labels.astype(np.float32), matrix, (side, side), flags=cv2.INTER_NEAREST
        )[4::8, 4::8].astype(np.int64)
        quarter = int(rng.integers(4)) if turn or rng.random() < 0.1 else 0
        crop = np.ascontiguousarray(np.rot90(crop, quarter))
        stack = np.ascontiguousarray(np.rot90(stack, quarter, (1, 2)))
        cells = np.ascontiguousarray(np.rot90(cells, quarter))
        return Sample(augment_colours(rng, crop), stack, cells)


def _crop_matrix(
    rng: Generator, size: tuple[int, ...], mask: NDArray[np.uint8], scale: float, side: int
) -> NDArray[np.float64]:
    """Affine (2, 3) from image to crop, mirrored half the time, that shows part of `mask`.

    In coordinates whose origin is the top-left corner of the top-left pixel.
    """
    height, width = size[0] * scale, size[1] * scale
    ys, xs = np.nonzero(mask)
    pick = int(rng.integers(len(ys))) if len(ys) else 0
    at = (xs[pick] * scale, ys[pick] * scale) if len(ys) else (width / 2, height / 2)
    corner = []
    for extent, position in ((width, at[0]), (height, at[1])):
        if extent <= side:
            corner.append(-rng.uniform(0, side - extent) if rng.random() < 0.5 else 0.0)
        else:
            lowest, highest = max(0.0, position - side), min(extent - side, position)
            corner.append(rng.uniform(min(lowest, highest), highest))
    matrix = np.array([[scale, 0, -corner[0]], [0, scale, -corner[1]]])
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += side
    return matrix


def _between_pixels(matrix: NDArray[np.float64], shrunk: float = 1.0) -> NDArray[np.float64]:
    """The same map for OpenCV, which counts from pixel centres; from an image shrunk before."""
    linear = matrix[:, :2] / shrunk
    shift = matrix[:, 2] + linear @ (0.5, 0.5) - 0.5
    return np.column_stack([linear, shift])


def _stable_hash(text: str) -> int:
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value
