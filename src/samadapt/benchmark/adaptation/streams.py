"""Streams of objects that are hard for an adapter: mixed domains, mistakes and repetition.

`mixed` and `repeated` return datasets, to be visited in the order of their annotations.
`CarelessSession` simulates mistakes: it accepts a bad mask from time to time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.adapters.base import Interaction
from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage, Id, ObjectRef
from samadapt.errors import DataError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session
from samadapt.session.state import CurrentObject

Mistake: TypeAlias = Literal["shifted", "dilated", "another"]

BLOCK = 10
"""Number of objects of one dataset in a row in a mixed stream."""
TIMES = 20
"""Number of visits of the object in a repeated stream."""
ONE_IN = 5
"""One in this many accepted masks is bad: 20 %."""

_SIMILAR = 0.6


def mixed(
    datasets: Mapping[str, CocoDataset],
    seed: int,
    max_objects: int | None = None,
    block: int = BLOCK,
) -> CocoDataset:
    """Return the objects of several datasets in alternating blocks.

    Within each dataset the objects and their order are the same as in `run_interactive` with the
    same seed and number.

    Args:
        datasets: by name, at least two.
        seed: of the order.
        max_objects: largest number of each dataset; None for all.
        block: number of objects in a row from one dataset.

    Raises:
        DataError: fewer than two datasets, or a dataset without objects or images.
    """
    if len(datasets) < 2:
        raise DataError("a mixed stream needs at least two datasets: give more of them")
    folders = {name: _folder(name, dataset) for name, dataset in datasets.items()}
    root = Path(os.path.commonpath(list(folders.values())))
    chosen = {
        name: dataset.objects(max_objects=max_objects, seed=seed)
        for name, dataset in datasets.items()
    }
    merged = _Merged()
    for name, ref in _in_blocks(chosen, block):
        dataset = datasets[name]
        image, annotation = dataset.image(ref.image_id), dataset.annotation(ref.annotation_id)
        path = (folders[name] / image.relative_path()).relative_to(root).as_posix()
        merged.add(name, replace(image, file_name=path), annotation, ref.category)
    return merged.dataset(root, f"a mixed stream of {len(datasets)} datasets")


def repeated(dataset: CocoDataset, seed: int, times: int = TIMES) -> CocoDataset:
    """Return `times` copies of one object, the first one of `run_interactive` with this seed.

    Raises:
        DataError: no object, or `times` below 1.
    """
    if times < 1:
        raise DataError(f"a stream of {times} objects: ask for at least one")
    chosen = dataset.objects(max_objects=1, seed=seed)
    if not chosen:
        raise DataError(f"{dataset.source} has no object to repeat: check its annotations")
    (ref,) = chosen
    annotation = dataset.annotation(ref.annotation_id)
    return replace(
        dataset,
        images=(dataset.image(ref.image_id),),
        annotations=tuple(replace(annotation, id=number) for number in range(1, times + 1)),
        source=f"annotation {ref.annotation_id!r} of {dataset.source}, repeated",
    )


class CarelessSession(Session):
    """A session that accepts a bad mask from time to time, as careless annotators do.

    Of every `one_in` accepted masks, one at a random position is replaced just before it is
    accepted, so that the log and the adapters get the bad mask. The kind of mistake is random
    too: the mask is "shifted" by about its own size, "dilated" to a multiple of its area, or
    replaced by "another" object's mask (the one accepted before, at this image's size). If there
    is no other object, or it is too similar, the mask is shifted.
    """

    def __init__(
        self,
        model: SegmentationModel,
        adapters: Sequence[Seams] = (),
        options: SessionOptions | None = None,
        *,
        seed: int = 0,
        one_in: int = ONE_IN,
    ) -> None:
        super().__init__(model, adapters, options=options)
        self._seed = seed
        self._one_in = one_in
        self._mask_before: NDArray[np.bool_] | None = None
        self._spoilt: NDArray[np.bool_] | None = None
        self.mistakes: list[Mistake] = []
        """The mistakes so far, in order."""

    def accept(
        self, label: str | None = None, *, without: NDArray[np.bool_] | None = None
    ) -> NDArray[np.bool_]:
        """Accept the mask, or a bad one in its place, and return the accepted one."""
        mask = self._filled_mask().copy()
        group, place = divmod(self.state.last_id, self._one_in)
        rng = np.random.default_rng([self._seed, group])
        if int(rng.integers(self._one_in)) == place:
            self._spoilt = self._spoiled(mask, rng)
        self._mask_before = mask
        try:
            return super().accept(label, without=without)
        finally:
            self._spoilt = None

    def _filled_mask(self) -> NDArray[np.bool_]:
        return super()._filled_mask() if self._spoilt is None else self._spoilt

    def _interaction(self, now: CurrentObject) -> Interaction | None:
        found = super()._interaction(now)
        if found is None or self._spoilt is None:
            return found
        return replace(found, mask=self._spoilt)

    def _spoiled(self, mask: NDArray[np.bool_], rng: Generator) -> NDArray[np.bool_]:
        kinds: tuple[Mistake, ...] = get_args(Mistake)
        kind = kinds[int(rng.integers(len(kinds)))]
        found = None
        if kind == "another" and self._mask_before is not None:
            found = _at_size(self._mask_before, (mask.shape[0], mask.shape[1]))
        elif kind == "dilated":
            found = dilated(mask)
        if found is None or not found.any() or iou(found, mask) > _SIMILAR:
            kind, found = "shifted", shifted(mask, rng)
        self.mistakes.append(kind)
        return found


def shifted(mask: NDArray[np.bool_], rng: Generator) -> NDArray[np.bool_]:
    """Return the mask (H, W), not empty, moved by its own size in a random direction.

    Parts moved out of the image enter again on the other side.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    angle = rng.uniform(0, 2 * np.pi)
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    move = round(height * np.sin(angle)), round(width * np.cos(angle))
    return np.roll(mask, move, axis=(0, 1))


def dilated(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask (H, W) and all pixels within the radius of a disc of its area."""
    import cv2

    radius = max(1.0, float(np.sqrt(np.count_nonzero(mask) / np.pi)))
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= radius)


class _Merged:
    """Images and objects of several datasets, renumbered in the order in which they are added."""

    def __init__(self) -> None:
        self._images: dict[tuple[str, Id], CocoImage] = {}
        self._categories: dict[str, CocoCategory] = {}
        self._annotations: list[CocoAnnotation] = []

    def add(self, name: str, image: CocoImage, annotation: CocoAnnotation, category: str) -> None:
        """Add an object of the dataset `name`."""
        images, categories = self._images, self._categories
        picture = images.setdefault((name, image.id), replace(image, id=len(images) + 1))
        kind = categories.setdefault(category, CocoCategory(len(categories) + 1, category))
        number = len(self._annotations) + 1
        self._annotations.append(
            replace(annotation, id=number, image_id=picture.id, category_id=kind.id)
        )

    def dataset(self, folder: Path, source: str) -> CocoDataset:
        """Return everything that was added."""
        return CocoDataset(
            tuple(self._images.values()),
            tuple(self._annotations),
            tuple(self._categories.values()),
            folder,
            source,
        )


def _in_blocks(
    chosen: Mapping[str, Sequence[ObjectRef]], block: int
) -> list[tuple[str, ObjectRef]]:
    blocks = [
        [[(name, ref) for ref in refs[i : i + block]] for i in range(0, len(refs), block)]
        for name, refs in chosen.items()
    ]
    return [pair for turn in zip_longest(*blocks, fillvalue=[]) for part in turn for pair in part]


def _folder(name: str, dataset: CocoDataset) -> Path:
    if dataset.folder is None:
        raise DataError(f"dataset {name}: give the folder of its images")
    return dataset.folder.resolve()


def _at_size(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    import cv2

    if mask.shape == size:
        return mask
    height, width = size
    scaled = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(scaled > 0)
