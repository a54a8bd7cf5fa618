"""The robustness benchmark: many prompts of every quality for the same objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.readings import readings
from samadapt.benchmark.encoding import ImageSource
from samadapt.benchmark.environment import describe_environment
from samadapt.benchmark.interactive import (
    Progress,
    checked_objects,
    describe_dataset,
    seeded_adapter,
)
from samadapt.benchmark.results import SkippedImage
from samadapt.benchmark.robustness_summary import (
    Answers,
    RobustnessResult,
    RobustnessRow,
    RobustObject,
    changes,
    intervals,
    summarise,
)
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.errors import DataError, ImageError
from samadapt.metrics import boundary_iou, iou, segmentation_stability
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Prompt
from samadapt.training.prompt_sampling import (
    QUALITIES,
    PromptKind,
    PromptSampler,
    object_generator,
)

FROZEN = "frozen"
DRAWS = 20
_SINGLE = ("box", "1p")
"""Kinds of prompts that are also answered one at a time, for the time per click."""


@dataclass(frozen=True, slots=True)
class RobustnessOptions:
    """How the benchmark is done.

    Attributes:
        kinds: of prompts.
        draws: prompts of each kind per object (the exact box is always the same: once).
        max_objects: at most this many, the first ones in the order of visits; None for all.
        seed: of the order of objects, of the prompts, and of new adapters.
        categories: names of those to evaluate; None for all. Crowds never are.
        min_area: smallest number of pixels of an object.
        frozen: whether the model without adapters is a row of its own.

    Raises:
        DataError: a value that makes no sense.
    """

    kinds: tuple[PromptKind, ...] = QUALITIES
    draws: int = DRAWS
    max_objects: int | None = None
    seed: int = 0
    categories: tuple[str, ...] | None = None
    min_area: int = 1
    frozen: bool = True

    def __post_init__(self) -> None:
        if not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise DataError("name every kind of prompts once, at least one of them")
        if self.draws < 1:
            raise DataError(f"draws {self.draws}: draw at least one prompt of each kind")
        if self.max_objects is not None and self.max_objects < 1:
            raise DataError(f"max_objects {self.max_objects}: ask for at least one object")
        if self.seed < 0:
            raise DataError(f"seed {self.seed}: use 0 or more")
        if self.min_area < 1:
            raise DataError(f"min_area {self.min_area}: an object has at least one pixel")

    def count(self, kind: PromptKind) -> int:
        """Prompts of this kind per object."""
        return 1 if kind.is_exact else self.draws

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "prompts": [kind.name for kind in self.kinds],
            "draws": self.draws,
            "max_objects": self.max_objects,
            "seed": self.seed,
            "filters": {
                "categories": None if self.categories is None else list(self.categories),
                "min_area": self.min_area,
                "crowd": False,
            },
        }


def run_robustness(
    dataset: CocoDataset,
    model: SegmentationModel,
    adapters: Sequence[str] | Mapping[str, Sequence[Seams]] = (),
    options: RobustnessOptions | None = None,
    *,
    progress: Progress | None = None,
    on_skip: Callable[[SkippedImage], None] | None = None,
    command: Sequence[str] | None = None,
) -> RobustnessResult:
    """Prompt for the objects of `dataset` in every quality and report how the masks do.

    All rows of the table answer the very same prompts, object after object in turn, so that a
    busy machine slows them all alike. An object's prompts depend on the seed and its place in the
    file only. An image that turns out to be unreadable, or not to fit its masks, is skipped.

    Adapters that learn during use do not learn here: there is no session.

    Args:
        dataset: images and reference masks.
        model: answers the prompts.
        adapters: one row each, named as `create_adapter` takes them; "a+b" is one row with both.
            Or rows by name with adapters as they are.
        options: kinds of prompts, draws, seed, which objects.
        progress: told after every object.
        on_skip: told of every image that is skipped.
        command: what to record as the command line; `sys.argv` when left out.

    Raises:
        DataError: no object, a missing image file, a broken mask, or nothing could be evaluated.
        AdapterError: an unknown adapter, or one made for another model.
    """
    chosen = options or RobustnessOptions()
    started = time.perf_counter()
    objects = _objects(dataset, chosen)
    rows = _rows(adapters, model, chosen)
    run = _Run(dataset, model, rows, chosen)
    run.evaluate(objects, progress, on_skip)
    run.source.check_any(rows[0].objects, len(objects))
    order = {ref.annotation_id: index for index, ref in enumerate(objects)}
    for row in rows:
        row.objects.sort(key=lambda thing: order[thing.annotation_id])
    done = tuple(_finished(row, rows[0], chosen.seed) for row in rows)
    main = next((row for row in rows if row.adapters), rows[0])
    return RobustnessResult(
        environment=describe_environment(model, main.named, command),
        protocol={**chosen.to_dict(), "dataset": describe_dataset(dataset)},
        rows=done,
        skipped=tuple(run.source.failures.values()),
        timing=run.source.report(started),
    )


@dataclass(slots=True)
class _Row:
    """A row of the table while it is filled."""

    name: str
    named: tuple[tuple[str, Seams], ...]
    objects: list[RobustObject] = field(default_factory=list)

    @property
    def adapters(self) -> tuple[Seams, ...]:
        return tuple(adapter for _, adapter in self.named)


class _Run:
    """All rows at work on one dataset, image after image."""

    def __init__(
        self,
        dataset: CocoDataset,
        model: SegmentationModel,
        rows: Sequence[_Row],
        options: RobustnessOptions,
    ) -> None:
        self._dataset, self._model, self._rows, self._options = dataset, model, rows, options
        self._place = {a.id: index for index, a in enumerate(dataset.annotations)}
        self.source = ImageSource(dataset, model, [row.adapters for row in rows])

    def evaluate(
        self,
        objects: Sequence[ObjectRef],
        progress: Progress | None,
        on_skip: Callable[[SkippedImage], None] | None,
    ) -> None:
        """Fill the rows, all objects of an image together, so that it is encoded once."""
        images: dict[Id, list[ObjectRef]] = {}
        for ref in objects:
            images.setdefault(ref.image_id, []).append(ref)
        done = 0
        for image_id, refs in images.items():
            try:
                embedding = self.source.encode(image_id)
            except (ImageError, DataError) as error:
                skipped = self.source.skip(image_id, refs, str(error))
                if on_skip is not None:
                    on_skip(skipped)
                done += len(refs)
                if progress is not None:
                    progress(done, len(objects))
                continue
            for ref in refs:
                self._evaluate(ref, embedding)
                done += 1
                if progress is not None:
                    progress(done, len(objects))

    def _evaluate(self, ref: ObjectRef, embedding: ImageEmbedding) -> None:
        truth = self._dataset.mask(ref.annotation_id)
        sampler = PromptSampler(truth)
        answers: list[dict[str, Answers]] = [{} for _ in self._rows]
        singles: list[Prompt] = []
        for kind in self._options.kinds:
            rng = object_generator(
                self._options.seed, self._place[ref.annotation_id], f"robustness {kind}"
            )
            prompts = [sampler.draw(kind, rng) for _ in range(self._options.count(kind))]
            if kind.name in _SINGLE:
                singles.append(prompts[0])
            self._answer(kind.name, embedding, prompts, (truth, sampler.box), answers)
        seconds = self._time_singles(embedding, singles)
        for row, found, took in zip(self._rows, answers, seconds, strict=True):
            name = self._dataset.image(ref.image_id).file_name
            row.objects.append(
                RobustObject(name, ref.image_id, ref.annotation_id, ref.category, found, took)
            )

    def _answer(
        self,
        kind: str,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        truth: tuple[NDArray[np.bool_], Box],
        answers: Sequence[dict[str, Answers]],
    ) -> None:
        """Let every row answer these prompts."""
        mask, exact = truth
        quality = tuple(_box_iou(p.box, exact) for p in prompts if isinstance(p.box, Box))
        # Boxes go one by one, which lets all rows share a box's view; clicks share one anyway.
        batches = [[prompt] for prompt in prompts] if quality else [list(prompts)]
        masks: list[list[NDArray[np.bool_]]] = [[] for _ in self._rows]
        alphas: list[list[tuple[float, float]]] = [[] for _ in self._rows]
        for batch in batches:
            for index, row in enumerate(self._rows):
                with readings() as said:
                    found = self._model.predict(embedding, batch, adapters=row.adapters)
                masks[index] += [prediction.masks[0] for prediction in found]
                alphas[index] += [
                    (one, two) for call in said.get("alphas", ()) for one, two in call.tolist()
                ]
        for index, into in enumerate(answers):
            into[kind] = Answers(
                tuple(iou(one, mask) for one in masks[index]),
                tuple(boundary_iou(one, mask) for one in masks[index]),
                segmentation_stability(masks[index]),
                quality,
                tuple(alphas[index]),
            )

    def _time_singles(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt]
    ) -> list[tuple[float, ...]]:
        """Seconds per row and prompt, close-ups included; rows take turns in going first."""
        seconds: list[list[float]] = [[] for _ in self._rows]
        first = len(self._rows[0].objects)
        for prompt in prompts:
            for turn in range(len(self._rows)):
                index = (first + turn) % len(self._rows)
                fresh = replace(embedding)  # for which no close-up is kept
                start = time.perf_counter()
                self._model.predict(fresh, prompt, adapters=self._rows[index].adapters)
                seconds[index].append(time.perf_counter() - start)
        return [tuple(values) for values in seconds]


def _objects(dataset: CocoDataset, options: RobustnessOptions) -> tuple[ObjectRef, ...]:
    found = dataset.objects(
        categories=options.categories,
        min_area=options.min_area,
        max_objects=options.max_objects,
        seed=options.seed,
    )
    return checked_objects(dataset, found)


def _rows(
    adapters: Sequence[str] | Mapping[str, Sequence[Seams]],
    model: SegmentationModel,
    options: RobustnessOptions,
) -> list[_Row]:
    rows = [_Row(FROZEN, ())] if options.frozen or not adapters else []
    if isinstance(adapters, Mapping):
        for name, seams in adapters.items():
            for seam in seams:
                seam.check_model(model)
            named = tuple((s.title, s) for s in seams)
            rows.append(_Row(name, named))
        return rows
    for spec in adapters:
        parts = spec.split("+")
        named = tuple((part, seeded_adapter(part, model, options.seed)) for part in parts)
        short = "+".join(Path(part).name or part for part in parts)
        taken = {row.name for row in rows}
        name = short if short not in taken else spec
        if name in taken:
            raise DataError(f"adapter {spec!r} is given twice: name each row once")
        rows.append(_Row(name, named))
    return rows


def _finished(row: _Row, first: _Row, seed: int) -> RobustnessRow:
    is_compared = first.name == FROZEN and row is not first
    described = [_described(spec, adapter) for spec, adapter in row.named]
    return RobustnessRow(
        row.name,
        tuple(described),
        summarise(row.objects),
        intervals(row.objects, seed),
        changes(first.objects, row.objects, seed) if is_compared else {},
        tuple(row.objects),
    )


def _described(spec: str, adapter: Seams) -> dict[str, Any]:
    """What an adapter is, in a few words: the environment holds the main row's in full."""
    values = adapter.describe()
    kept = ("method", "base_model", "parameters", "training_data")
    return {"spec": spec, **{name: values[name] for name in kept if name in values}}


def _box_iou(given: Box, exact: Box) -> float:
    width = min(given.x1, exact.x1) - max(given.x0, exact.x0)
    height = min(given.y1, exact.y1) - max(given.y0, exact.y0)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (_area(given) + _area(exact) - shared)


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
