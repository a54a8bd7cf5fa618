"""`TaskEvaluator`: measures predictions for points, boxes and without prompts on test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.results import ObjectRow, Overlaps, identify, plain_overlaps
from samadapt.benchmark.task.average_precision import Detection, Detections, match
from samadapt.benchmark.task.options import KINDS, ORACLE, TaskOptions
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.proposals.grid import propose
from samadapt.store.dataset_encoder import DatasetEncoder
from samadapt.training.prompt_sampling import PromptSampler, object_generator


@dataclass(frozen=True, slots=True)
class TaskObject(ObjectRow):
    """One object's predictions in one row, by kind of prompt."""

    answers: Mapping[str, Overlaps]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**self.identity(), **plain_overlaps(self.answers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskObject:
        """Read values that `to_dict` returned."""
        return cls(
            values["image"],
            values["image_id"],
            values["annotation_id"],
            {
                kind: Overlaps(tuple(ious), tuple(values["biou"][kind]))
                for kind, ious in values["iou"].items()
            },
        )


@dataclass(slots=True)
class TaskRow:
    """One row on one category: its adapters, and its predictions so far."""

    method: str
    adapters: tuple[Seams, ...] = ()
    objects: list[TaskObject] = field(default_factory=list)
    images: list[tuple[Id, Detections]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the predictions as plain JSON values."""
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
        """Read values that `to_dict` returned, without the adapters."""
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


class TaskEvaluator:
    """Measures rows on the test objects of one category, and on images searched without prompts.

    Args:
        dataset: the test data.
        category: its name.
        options: selection of objects, images and prompts.

    Raises:
        DataError: an unknown category, no object of it, or a missing image.
    """

    def __init__(self, dataset: CocoDataset, category: str, options: TaskOptions) -> None:
        self.dataset, self.category, self._options = dataset, category, options
        self.objects = replace(options, categories=(category,)).objects(dataset)
        self._place = {a.id: index for index, a in enumerate(dataset.annotations)}
        self.searched = self._searched()
        for image_id in self.images:
            dataset.image_path(image_id)

    @property
    def images(self) -> tuple[Id, ...]:
        """Return all images that are needed."""
        wanted = {ref.image_id for ref in self.objects} | set(self.searched)
        return tuple(image.id for image in self.dataset.images if image.id in wanted)

    def _searched(self) -> tuple[Id, ...]:
        """Return images with objects and without, in their proportion in the dataset."""
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
        """Return the objects and images as plain JSON values."""
        return {
            "category": self.category,
            "objects": [ref.annotation_id for ref in self.objects],
            "searched": list(self.searched),
        }

    def measure(
        self,
        model: SegmentationModel,
        rows: Sequence[TaskRow],
        encode: DatasetEncoder,
        progress: Callable[[], None],
    ) -> None:
        """Measure all rows at once, so that they share embeddings and close-ups.

        Raises:
            DataError, ImageError: an image or a mask cannot be used.
        """
        by_image: dict[Id, list[ObjectRef]] = {}
        for ref in self.objects:
            by_image.setdefault(ref.image_id, []).append(ref)
        for image_id in self.images:
            embedding = encode(self.dataset, image_id)
            for ref in by_image.get(image_id, ()):
                self._prompted(ref, embedding, model, rows)
            if image_id in self.searched:
                self._search(image_id, embedding, model, rows)
            progress()

    # -- private --------------------------------------------------------------------------

    def _prompted(
        self,
        ref: ObjectRef,
        embedding: ImageEmbedding,
        model: SegmentationModel,
        rows: Sequence[TaskRow],
    ) -> None:
        truth = self.dataset.mask(ref.annotation_id)
        sampler = PromptSampler(truth)
        answers: list[dict[str, Overlaps]] = [{} for _ in rows]
        for kind in KINDS:
            place = self._place[ref.annotation_id]
            rng = object_generator(self._options.seed, place, f"task {kind}")
            prompts = [sampler.draw(kind, rng) for _ in range(self._options.draws)]
            masks = [[_answer(model, embedding, p, row, truth) for row in rows] for p in prompts]
            for found, own in zip(answers, zip(*masks, strict=True), strict=True):
                found[kind.name] = Overlaps.of(own, truth)
        for row, found in zip(rows, answers, strict=True):
            row.objects.append(TaskObject(*identify(self.dataset, ref), found))

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
    """Return the single mask; of three candidates for a point, the oracle takes the best."""
    several = row.method == ORACLE and bool(prompt.points)
    answer = model.predict(embedding, prompt, several, row.adapters)
    ious = [iou(mask, truth) for mask in answer.masks] if several else [1.0]
    best: NDArray[np.bool_] = answer.masks[int(np.argmax(ious))]
    return best
