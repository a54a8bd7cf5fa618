"""What the rows of the task benchmark make of test images: with a point, a box, and no prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.average_precision import Detection, Detections, match
from samadapt.benchmark.task_options import KINDS, ORACLE, TaskOptions
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.errors import DataError, ImageError
from samadapt.metrics import boundary_iou, iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.proposals.grid import propose
from samadapt.training.fitting.embedding_store import EmbeddingStore
from samadapt.training.prompt_sampling import PromptSampler, object_generator


@dataclass(frozen=True, slots=True)
class TaskObject:
    """One object's answers in one row: IoU and boundary IoU per draw, by kind of prompt."""

    image: str
    image_id: Id
    annotation_id: Id
    ious: Mapping[str, tuple[float, ...]]
    boundary_ious: Mapping[str, tuple[float, ...]]

    def value(self, metric: str, kind: str) -> float:
        """Mean over draws of "miou" or "mbiou"."""
        values = (self.ious if metric == "miou" else self.boundary_ious)[kind]
        return math.fsum(values) / len(values)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "annotation_id": self.annotation_id,
            "iou": {kind: [round(v, 5) for v in values] for kind, values in self.ious.items()},
            "biou": {
                kind: [round(v, 5) for v in values] for kind, values in self.boundary_ious.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskObject:
        """Read what `to_dict` wrote."""
        return cls(
            values["image"],
            values["image_id"],
            values["annotation_id"],
            {kind: tuple(row) for kind, row in values["iou"].items()},
            {kind: tuple(row) for kind, row in values["biou"].items()},
        )


@dataclass(slots=True)
class TaskRow:
    """One row on one category: its adapters, and its answers while they come in."""

    method: str
    adapters: tuple[Seams, ...] = ()
    objects: list[TaskObject] = field(default_factory=list)
    images: list[tuple[Id, Detections]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The answers as plain JSON values."""
        return {
            "method": self.method,
            "objects": [thing.to_dict() for thing in self.objects],
            "images": [
                {
                    "image_id": image_id,
                    "objects": image.objects,
                    "found": [[round(one.score, 6), one.hits] for one in image.found],
                }
                for image_id, image in self.images
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskRow:
        """Read what `to_dict` wrote; the adapters are gone."""
        return cls(
            values["method"],
            (),
            [TaskObject.from_dict(row) for row in values["objects"]],
            [
                (
                    row["image_id"],
                    Detections(
                        tuple(Detection(score, hits) for score, hits in row["found"]),
                        row["objects"],
                    ),
                )
                for row in values["images"]
            ],
        )


class Examination:
    """The test objects of one category of one dataset, and the images to be searched.

    Args:
        dataset: the test data.
        category: its name.
        options: which objects, images and prompts.

    Raises:
        DataError: an unknown category, no object of it, or a missing image.
    """

    def __init__(self, dataset: CocoDataset, category: str, options: TaskOptions) -> None:
        self.dataset, self.category, self._options = dataset, category, options
        self.objects = dataset.objects(
            categories=[category],
            min_area=options.min_area,
            max_objects=options.max_objects,
            seed=options.seed,
        )
        if not self.objects:
            raise DataError(f"{dataset.source} has no object of {category!r} to measure on")
        self._place = {a.id: index for index, a in enumerate(dataset.annotations)}
        self.searched = self._searched()
        for image_id in self.images:
            dataset.image_path(image_id)

    @property
    def images(self) -> tuple[Id, ...]:
        """All images that are needed."""
        wanted = {ref.image_id for ref in self.objects} | set(self.searched)
        return tuple(image.id for image in self.dataset.images if image.id in wanted)

    def _searched(self) -> tuple[Id, ...]:
        """Images to search: those of the objects, and of the others in the same proportion."""
        most = self._options.max_images
        if most == 0:
            return ()
        everywhere = {
            a.image_id
            for a in self.dataset.annotations
            if self.dataset.category(a.category_id).name == self.category
        }
        shown = list(dict.fromkeys(ref.image_id for ref in self.objects))
        others = [image.id for image in self.dataset.images if image.id not in everywhere]
        share = len(shown) / max(1, len(everywhere))
        rng = np.random.default_rng(self._options.seed)
        count = round(share * len(others))
        added = [others[i] for i in sorted(rng.permutation(len(others))[:count])]
        everything = shown + added
        if most is None or len(everything) <= most:
            return tuple(everything)
        return tuple(everything[i] for i in sorted(rng.permutation(len(everything))[:most]))

    def describe(self) -> dict[str, Any]:
        """What was measured on, as plain JSON values."""
        return {
            "category": self.category,
            "objects": [ref.annotation_id for ref in self.objects],
            "searched": list(self.searched),
        }

    def measure(
        self,
        model: SegmentationModel,
        rows: Sequence[TaskRow],
        store: EmbeddingStore,
        progress: Callable[[], None],
    ) -> None:
        """Fill all rows at once, so that they share images and close-ups.

        Raises:
            DataError, ImageError: an image or a mask that cannot be used.
        """
        by_image: dict[Id, list[ObjectRef]] = {}
        for ref in self.objects:
            by_image.setdefault(ref.image_id, []).append(ref)
        for image_id in self.images:
            embedding = self._embedding(image_id, model, store)
            for ref in by_image.get(image_id, ()):
                self._prompted(ref, embedding, model, rows)
            if image_id in self.searched:
                self._search(image_id, embedding, model, rows)
            progress()

    # -- private --------------------------------------------------------------------------

    def _embedding(
        self, image_id: Id, model: SegmentationModel, store: EmbeddingStore
    ) -> ImageEmbedding:
        path = self.dataset.image_path(image_id)
        try:
            contents = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror or error})") from None
        found = store.get(contents, lambda: model.encode(self.dataset.read_image(image_id)))
        if found.original_size != self.dataset.size(image_id):
            self.dataset.read_image(image_id)  # says in which way the sizes differ
        return found

    def _prompted(
        self,
        ref: ObjectRef,
        embedding: ImageEmbedding,
        model: SegmentationModel,
        rows: Sequence[TaskRow],
    ) -> None:
        truth = self.dataset.mask(ref.annotation_id)
        sampler = PromptSampler(truth)
        overlaps: list[dict[str, tuple[float, ...]]] = [{} for _ in rows]
        edges: list[dict[str, tuple[float, ...]]] = [{} for _ in rows]
        for kind in KINDS:
            place = self._place[ref.annotation_id]
            rng = object_generator(self._options.seed, place, f"task {kind}")
            pairs: list[list[tuple[float, float]]] = [[] for _ in rows]
            for _ in range(self._options.draws):
                prompt = sampler.draw(kind, rng)
                for found, row in zip(pairs, rows, strict=True):
                    mask = _answer(model, embedding, prompt, row, truth)
                    found.append((iou(mask, truth), boundary_iou(mask, truth)))
            for index, found in enumerate(pairs):
                overlaps[index][kind.name] = tuple(pair[0] for pair in found)
                edges[index][kind.name] = tuple(pair[1] for pair in found)
        name = self.dataset.image(ref.image_id).file_name
        for index, row in enumerate(rows):
            thing = TaskObject(name, ref.image_id, ref.annotation_id, overlaps[index], edges[index])
            row.objects.append(thing)

    def _search(
        self,
        image_id: Id,
        embedding: ImageEmbedding,
        model: SegmentationModel,
        rows: Sequence[TaskRow],
    ) -> None:
        truths = [
            (self.dataset.rle(a.id), a.iscrowd)
            for a in self.dataset.annotations_of(image_id)
            if self.dataset.category(a.category_id).name == self.category
            and a.segmentation is not None
        ]
        truths = [(rle, crowd) for rle, crowd in truths if rle.area >= self._options.min_area]
        for row in rows:
            found = propose(model, embedding, row.adapters, self._options.proposals(row.method))
            matched = match(
                [one.rle for one in found],
                [one.score for one in found],
                [rle for rle, _ in truths],
                [crowd for _, crowd in truths],
            )
            row.images.append((image_id, matched))


def _answer(
    model: SegmentationModel,
    embedding: ImageEmbedding,
    prompt: Prompt,
    row: TaskRow,
    truth: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The single mask; of three candidates for a point, the oracle takes the best."""
    several = row.method == ORACLE and bool(prompt.points)
    answer = model.predict(embedding, prompt, several, row.adapters)
    ious = [iou(mask, truth) for mask in answer.masks] if several else [1.0]
    best: NDArray[np.bool_] = answer.masks[int(np.argmax(ious))]
    return best
