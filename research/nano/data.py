"""Training samples for nano: crops of photographs and of generated scenes, at mixed scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from research.nano.augment import augment_colours
from research.nano.crops import (
    box_in,
    close_up,
    cut_image,
    cut_labels,
    cut_masks,
    detail,
    random_window,
)
from research.nano.levels import nested_levels
from research.scenes.regions import scene_from_photo
from research.scenes.scene import Scene, generate_scene
from samadapt.data.coco import CocoDataset
from samadapt.data.rle import Rle
from samadapt.errors import DataError

_MAX_REGIONS = 60
_MAX_RELATIVES = 12
_SMALLEST = 40
"""Visible area in crop pixels that an object must have."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One crop.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        masks: (M, S, S) uint8, the objects to click.
        regions: (S/8, S/8) int64 region numbers for the contrastive loss, 0 unknown background.
        levels: (M, 3, S, S) uint8, from the largest to the smallest: each object and up to two
            masks that contain it or lie in it, each within the one before.
        level_valid: (M, 3) bool, which levels there are: the first ones.
        click: (M, 2) float32 (x, y) in crop pixels, a first click inside every level; NaN for
            objects that stand alone.
        is_detail: (M,) bool, whether the crop shows part of an outline, to correct a mask there.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    regions: NDArray[np.int64]
    levels: NDArray[np.uint8]
    level_valid: NDArray[np.bool_]
    click: NDArray[np.float32]
    is_detail: NDArray[np.bool_]


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
        close_ups: share of samples that are a window around one object, as nano itself looks at
            objects a second time.
        details: share of samples that are a window on part of an object's outline, as nano
            answers corrections.
        hardest: generated scenes have difficulties between 0 and this, at most 1.
        regions: share of the photographs' samples whose objects are regions and whose look is
            another kind of image's, see `research.scenes.regions`.

    Raises:
        DataError: a photograph cannot be read.
    """

    def __init__(
        self,
        sources: Sequence[tuple[list[Photo], float]],
        generated: float,
        side: int,
        objects: int,
        seed: int,
        scales: tuple[float, float] = (0.8, 2.4),
        close_ups: float = 0.35,
        hardest: float = 1.0,
        details: float = 0.0,
        regions: float = 0.0,
    ) -> None:
        self.details = details
        self.regions = regions
        self.sources = [photos for photos, _ in sources]
        self.shares = np.array([share for _, share in sources])
        self.generated = generated
        self.side = side
        self.objects = objects
        self.seed = seed
        self.scales = scales
        self.close_ups = close_ups
        self.hardest = hardest

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
                    difficulty = rng.uniform(0, self.hardest)
                    scene = generate_scene(rng, (extent, extent), None, textures, difficulty)
                sample = self._from_scene(rng, scene) if scene is not None else None
            else:
                source = self.sources[int(rng.choice(len(self.sources), p=self._shares()))]
                sample = self._from_photo(rng, source[int(rng.integers(len(source)))], textures)
            if sample is not None:
                yield {
                    field.name: torch.from_numpy(getattr(sample, field.name))
                    for field in fields(sample)
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
        drawn = rng.permutation(len(photo.objects))[:_MAX_REGIONS]
        masks = np.stack([photo.objects[i].mask() for i in drawn]).astype(np.uint8)
        if rng.random() < self.regions:
            longest = int(self.side * rng.uniform(1.0, 1.6))
            difficulty = rng.uniform(0, self.hardest)
            scene = scene_from_photo(rng, image, list(masks), longest, difficulty)
            return self._from_scene(rng, scene)
        order = np.argsort(-masks.sum((1, 2), dtype=np.int64))
        labels = np.zeros(image.shape[:2], np.int32)
        for number, index in enumerate(order, 1):  # small objects lie on top of large ones
            labels[masks[index] > 0] = number
        low, high = self.scales
        factor = math.exp(rng.uniform(math.log(low), math.log(high)))
        scale = self.side * factor / max(image.shape[:2])
        objects = list(masks)
        return self._crop(rng, image, objects, objects, labels, scale, turn=False)

    def _from_scene(self, rng: Generator, scene: Scene) -> Sample | None:
        numbers = np.flatnonzero(np.bincount(scene.labels.ravel()))
        groups = [frozenset({int(n)}) for n in numbers if n] + list(scene.wholes)
        picked = [groups[i] for i in rng.permutation(len(groups))[: 3 * self.objects]]
        relatives = [g for g in groups if any(g < p or p < g for p in picked)][:_MAX_RELATIVES]
        masks = {g: _members(scene.labels, g) for g in {*picked, *relatives}}
        # Background is a region of its own in a generated scene.
        scale = math.exp(rng.uniform(math.log(0.7), math.log(1.6)))
        return self._crop(
            rng,
            scene.image,
            [masks[g] for g in picked],
            [masks[g] for g in dict.fromkeys([*picked, *relatives])],
            scene.labels + 1,
            scale,
            turn=True,
        )

    def _crop(
        self,
        rng: Generator,
        image: NDArray[np.uint8],
        clicked: list[NDArray[np.uint8]],
        related: list[NDArray[np.uint8]],
        labels: NDArray[np.int32],
        scale: float,
        turn: bool,
    ) -> Sample | None:
        """Cut a crop; masks may have another resolution than the image, with the same aspect.

        Args:
            rng: source of randomness.
            image: (H, W, 3) RGB.
            clicked: masks (h, w) to choose the objects from.
            related: masks (h, w) that may be levels of the chosen ones.
            labels: (H, W) region numbers.
            scale: crop pixels per image pixel, unless it becomes a close-up.
            turn: whether all orientations are equally likely.
        """
        if not clicked:
            return None
        side, size = self.side, (image.shape[0], image.shape[1])
        shown = clicked[int(rng.integers(len(clicked)))]
        kind = rng.random()
        is_detail = bool(kind < self.details and shown.any())
        if is_detail:
            window = detail(rng, size, shown, side)
        elif kind < self.details + self.close_ups and shown.any():
            window = close_up(rng, size, box_in(shown, size), side)
        else:
            window = random_window(rng, size, shown, scale, side)
        quarter = int(rng.integers(4)) if turn or rng.random() < 0.1 else 0
        every = list({id(mask): mask for mask in (*clicked, *related)}.values())
        cut = dict(zip(map(id, every), cut_masks(every, size, window, side), strict=True))
        visible = {key: np.rot90(m, quarter) for key, m in cut.items() if m.sum() >= _SMALLEST}
        good = [visible[id(mask)] for mask in clicked if id(mask) in visible]
        if not good:
            return None
        chosen = [good[i] for i in rng.permutation(len(good))[: self.objects]]
        while len(chosen) < self.objects:
            chosen.append(chosen[int(rng.integers(len(chosen)))])
        relatives = [visible[id(mask)] for mask in related if id(mask) in visible]
        levels = [nested_levels(rng, mask, relatives, _SMALLEST) for mask in chosen]
        crop = np.rot90(cut_image(image, window, side), quarter)
        return Sample(
            augment_colours(rng, np.ascontiguousarray(crop)),
            np.stack(chosen).astype(np.uint8),
            np.ascontiguousarray(np.rot90(cut_labels(labels, window, side), quarter)),
            np.stack([level.masks for level in levels]),
            np.stack([level.valid for level in levels]),
            np.stack([level.click for level in levels]),
            np.full(len(chosen), is_detail),
        )


def _members(labels: NDArray[np.int32], group: frozenset[int]) -> NDArray[np.uint8]:
    """(H, W) 1 where the label is in the group."""
    table = np.zeros(max((int(labels.max()), *group)) + 1, np.uint8)
    table[list(group)] = 1
    return table[labels]


def _stable_hash(text: str) -> int:
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value
