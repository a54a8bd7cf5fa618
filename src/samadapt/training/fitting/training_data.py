"""`TrainingData`: the objects to train on, and the order in which a run visits them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id
from samadapt.data.selection import why_no_object
from samadapt.errors import DataError
from samadapt.training.fitting.recipe import FitRecipe

_HELD_OUT = 1_000_003  # seed of the held-out images, unlike that of any epoch
_SAMPLE = 1_000_033  # seed of the images for later phases, unlike both
_MOST_HELD_OUT = 40  # images, and objects of each; more would only take time


@dataclass(frozen=True, slots=True)
class TrainingObject:
    """One object.

    Attributes:
        annotation_id: its id in the dataset.
        place: index among all annotations of all datasets, part of the seed of its prompts.
    """

    annotation_id: Id
    place: int


@dataclass(frozen=True, slots=True)
class ImageSample:
    """One visit of an image, with the objects to train on.

    Attributes:
        dataset: index of the dataset.
        image_id: its id in the dataset.
        objects: at least one.
        epoch: number of this visit of the image, from 0.
    """

    dataset: int
    image_id: Id
    objects: tuple[TrainingObject, ...]
    epoch: int


class TrainingData:
    """The objects of one or several datasets, image by image.

    Args:
        datasets: with their images.
        recipe: selects the objects and sets the number per step.

    Raises:
        DataError: nothing to train on, an image file that is missing, a broken mask.
    """

    def __init__(self, datasets: Sequence[CocoDataset], recipe: FitRecipe) -> None:
        if not datasets:
            raise DataError("no dataset: nothing would be trained; give at least one")
        self.datasets = tuple(datasets)
        self._recipe = recipe
        self._images: dict[tuple[int, Id], list[TrainingObject]] = {}
        first = 0
        for number, dataset in enumerate(self.datasets):
            places = {a.id: first + i for i, a in enumerate(dataset.annotations)}
            for ref in dataset.objects(min_area=recipe.min_area):
                thing = TrainingObject(ref.annotation_id, places[ref.annotation_id])
                self._images.setdefault((number, ref.image_id), []).append(thing)
            first += len(dataset.annotations)
        if not self._images:
            raise DataError(self._why_nothing())
        self._limit(recipe.max_objects)
        for number, image_id in self._images:
            self.datasets[number].image_path(image_id)
        self.held_out = self._hold_out()
        """Visits of the held-out images, one for each."""

    @property
    def object_count(self) -> int:
        """Number of objects to train on."""
        return sum(len(things) for things in self._images.values())

    @property
    def image_count(self) -> int:
        """Number of images to train on."""
        return len(self._images)

    @property
    def position_spread(self) -> float:
        """Spread of the objects' positions in their images; 0 if they lie in the same place.

        It is the root mean square distance of their boxes' centres from the mean of these
        centres, in images with sides of length 1: 0.41 for uniform positions.
        """
        rles = [
            self.datasets[number].rle(thing.annotation_id)
            for (number, _), things in self._images.items()
            for thing in things
        ]
        boxes = np.array([rle.box for rle in rles], dtype=np.float64)
        sides = np.array([rle.size[::-1] for rle in rles])
        centres = (boxes[:, :2] + boxes[:, 2:] / 2) / sides
        return float(np.sqrt(centres.var(axis=0).sum()))

    def steps(self) -> list[tuple[ImageSample, ...]]:
        """Return the images of each step; the same recipe gives the same steps.

        With a fixed number of steps a step may cross the end of an epoch, so that a single image
        is visited several times in each step.
        """
        size = self._recipe.images_per_step
        found: list[tuple[ImageSample, ...]] = []
        if self._recipe.steps is not None:
            stream = chain.from_iterable(self._epoch(epoch) for epoch in count())
            return [tuple(islice(stream, size)) for _ in range(self._recipe.steps)]
        for epoch in range(self._recipe.epochs):
            visits = self._epoch(epoch)
            found += [tuple(visits[i : i + size]) for i in range(0, len(visits), size)]
        return found

    def sample(self, most: int) -> list[ImageSample]:
        """Up to `most` images, including held-out ones, with all their objects, in random order."""
        visits = [ImageSample(*key, tuple(things), 0) for key, things in self._images.items()]
        visits += self.held_out
        rng = np.random.default_rng([self._recipe.seed, _SAMPLE])
        return [visits[index] for index in rng.permutation(len(visits))[:most]]

    def describe(self) -> list[dict[str, Any]]:
        """The datasets as plain JSON values: file name, hash, counts."""
        found = []
        for number, dataset in enumerate(self.datasets):
            images = [image_id for index, image_id in self._images if index == number]
            path = Path(dataset.source)
            found.append(
                {
                    "masks": "/".join(path.parts[-2:]),
                    "sha256": _digest(dataset, path),
                    "images": len(images),
                    "objects": sum(len(self._images[number, i]) for i in images),
                    "held_out": sum(visit.dataset == number for visit in self.held_out),
                }
            )
        return found

    # -- private ------------------------------------------------------------------------------

    def _epoch(self, epoch: int) -> list[ImageSample]:
        rng = np.random.default_rng([self._recipe.seed, epoch])
        keys = list(self._images)
        visits = []
        for index in rng.permutation(len(keys)):
            number, image_id = keys[index]
            things = self._images[number, image_id]
            most = self._recipe.objects_per_image or len(things)
            chosen = rng.permutation(len(things))[:most]
            objects = tuple(things[i] for i in sorted(chosen))
            visits.append(ImageSample(number, image_id, objects, epoch))
        return visits

    def _hold_out(self) -> tuple[ImageSample, ...]:
        """Hold out a random share of the images, if there are enough objects."""
        keys = list(self._images)
        size = round(self._recipe.held_out * len(keys))
        if not size or size == len(keys) or self.object_count < self._recipe.least:
            return ()
        rng = np.random.default_rng([self._recipe.seed, _HELD_OUT])
        found = []
        for index in sorted(rng.permutation(len(keys))[:size]):
            number, image_id = keys[index]
            things = self._images.pop((number, image_id))
            found.append(ImageSample(number, image_id, tuple(things[:_MOST_HELD_OUT]), 0))
        return tuple(found[:_MOST_HELD_OUT])

    def _limit(self, most: int | None) -> None:
        """Keep a random choice of `most` objects."""
        if most is None or self.object_count <= most:
            return
        rng = np.random.default_rng(self._recipe.seed)
        everything = [(key, thing) for key, things in self._images.items() for thing in things]
        kept = sorted(rng.permutation(len(everything))[:most])
        self._images = {}
        for index in kept:
            key, thing = everything[index]
            self._images.setdefault(key, []).append(thing)

    def _why_nothing(self) -> str:
        names = ", ".join(dataset.source for dataset in self.datasets)
        annotations = [a for dataset in self.datasets for a in dataset.annotations]
        usable = [a for a in annotations if a.segmentation is not None and not a.iscrowd]
        if usable and self._recipe.min_area > 1:
            reason = f"no mask has {self._recipe.min_area} pixels or more"
        else:
            reason = why_no_object(annotations)
        return f"{names}: {reason}, so nothing would be trained; give masks of objects"


def _digest(dataset: CocoDataset, path: Path) -> str:
    """Hash of the annotation file, or of the masks themselves where there is no file."""
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
    else:
        for annotation in dataset.annotations:
            if annotation.segmentation is not None:
                digest.update(repr((annotation.id, dataset.rle(annotation.id).counts)).encode())
    return digest.hexdigest()
