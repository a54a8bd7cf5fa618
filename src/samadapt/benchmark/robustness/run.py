"""The run of the robustness benchmark: all rows answer prompts of every quality."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.readings import readings
from samadapt.benchmark.adapters import describe_adapter, seeded_adapter
from samadapt.benchmark.elsewhere import (
    Elsewhere,
    Part,
    evaluate_elsewhere,
    in_order,
    specs_of,
)
from samadapt.benchmark.environment import describe_dataset, describe_environment
from samadapt.benchmark.images import ImageEncoder, ObjectVisits
from samadapt.benchmark.options import Progress, Selection, by_image
from samadapt.benchmark.results import identify
from samadapt.benchmark.robustness.result import (
    Answers,
    RobustnessResult,
    RobustnessRow,
    RobustObject,
    changes,
    intervals,
    summarise,
)
from samadapt.data.coco import CocoDataset
from samadapt.data.records import ObjectRef
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.metrics import segmentation_stability
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Prompt
from samadapt.store.embeddings import EmbeddingStore
from samadapt.training.prompt_sampling import (
    QUALITIES,
    PromptKind,
    PromptSampler,
    object_generator,
)

FROZEN = "frozen"
DRAWS = 20
_SINGLE = ("box", "1p")
"""Kinds of prompts that are also decoded one at a time, for the time per click."""


@dataclass(frozen=True, kw_only=True)
class RobustnessOptions(Selection):
    """A selection of objects and the prompts for them.

    Attributes:
        kinds: of prompts.
        draws: number of prompts of each kind per object (the exact box is always the same: once).

    Raises:
        DataError: an invalid value.
    """

    kinds: tuple[PromptKind, ...] = QUALITIES
    draws: int = DRAWS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise DataError("name every kind of prompts once, at least one of them")
        if self.draws < 1:
            raise DataError(f"draws {self.draws}: draw at least one prompt of each kind")

    def count(self, kind: PromptKind) -> int:
        """Return the number of prompts of this kind per object."""
        return 1 if kind.is_exact else self.draws

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        prompts = {"prompts": [kind.name for kind in self.kinds], "draws": self.draws}
        return prompts | super().to_dict()


def run_robustness(
    dataset: CocoDataset,
    model: SegmentationModel,
    adapters: Sequence[str] | Mapping[str, Sequence[Seams]] = (),
    options: RobustnessOptions | None = None,
    *,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    store: EmbeddingStore | None = None,
    elsewhere: Elsewhere | None = None,
) -> RobustnessResult:
    """Prompt for the objects of `dataset` in every quality and measure the masks.

    All rows of the table answer the same prompts, object by object in turn, so that a busy machine
    slows them equally. An object's prompts depend only on the seed and its place in the file. An
    image that cannot be read, or does not fit its masks, is skipped.

    Adapters that learn in sessions do not learn here, because there is no session.

    Args:
        dataset: images and reference masks.
        model: answers the prompts.
        adapters: arguments of `create_adapter`, one row each; "a+b" is one row with both. Or
            adapters by the names of their rows.
        options: objects, kinds of prompts, draws and seed.
        progress: called after every object.
        command: recorded as the command line; `sys.argv` when left out.
        store: embeddings on the disk; None encodes every image again.
        elsewhere: workers that evaluate the objects.

    Raises:
        DataError: no object, a missing image file, a broken mask, or no object could be evaluated.
        AdapterError: an unknown adapter, or one made for another model.
    """
    chosen = options or RobustnessOptions()
    objects = chosen.objects(dataset)
    rows = _rows(adapters, model, chosen)
    order = by_image(objects)
    if elsewhere is None:
        part = _evaluated(dataset, model, rows, chosen, store, order, progress)
    else:
        work = RobustnessWork(elsewhere.model, dataset, specs_of(adapters), chosen, store)
        part = evaluate_elsewhere(elsewhere.engine, work, order, progress)
    evaluated = list(zip(*in_order(objects, part), strict=True))
    done = [
        RobustnessRow(
            row.name,
            tuple(_described(spec, adapter) for spec, adapter in row.named),
            summarise(things),
            intervals(things, chosen.seed),
            changes(evaluated[0], things, chosen.seed) if row.adapters else {},
            things,
        )
        for row, things in zip(rows, evaluated, strict=True)
    ]
    main = next((row for row in rows if row.adapters), rows[0])
    return RobustnessResult(
        environment=describe_environment(model, main.named, command),
        protocol={**chosen.to_dict(), "dataset": describe_dataset(dataset)},
        rows=tuple(done),
        skipped=part.skipped,
        timing=part.timing,
    )


@dataclass(frozen=True, slots=True)
class RobustnessWork:
    """All rows of the table in a worker, for objects of one image at a time."""

    model: WorkerModel
    dataset: CocoDataset
    adapters: tuple[str, ...]
    options: RobustnessOptions
    store: EmbeddingStore | None

    def start(self) -> Callable[[Sequence[ObjectRef]], Part[tuple[RobustObject, ...]]]:
        """Load the model and the adapters.

        Raises:
            AdapterError, ModelError: they cannot be loaded.
        """
        model = self.model.load()
        rows = _rows(self.adapters, model, self.options)
        return partial(_evaluated, self.dataset, model, rows, self.options, self.store)


def _evaluated(
    dataset: CocoDataset,
    model: SegmentationModel,
    rows: Sequence[_Row],
    options: RobustnessOptions,
    store: EmbeddingStore | None,
    objects: Sequence[ObjectRef],
    progress: Progress | None = None,
) -> Part[tuple[RobustObject, ...]]:
    """Return the results of all rows, by object."""
    encoder = ImageEncoder(dataset, model, [row.adapters for row in rows], store=store)
    visits = ObjectVisits(dataset, objects, encoder)
    run = _Run(dataset, model, rows, options)
    found = {
        ref.annotation_id: run.evaluate(ref, embedding, visits.index(ref))
        for ref, embedding in visits.visit(objects, progress)
    }
    return Part(found, visits.skipped, encoder.timing())


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table: its name and its adapters by name."""

    name: str
    named: tuple[tuple[str, Seams], ...]

    @property
    def adapters(self) -> tuple[Seams, ...]:
        return tuple(adapter for _, adapter in self.named)


class _Run:
    """Evaluates all rows on one dataset."""

    def __init__(
        self,
        dataset: CocoDataset,
        model: SegmentationModel,
        rows: Sequence[_Row],
        options: RobustnessOptions,
    ) -> None:
        self._dataset, self._model, self._rows, self._options = dataset, model, rows, options
        self._count = 0

    def evaluate(
        self, ref: ObjectRef, embedding: ImageEmbedding, index: int
    ) -> tuple[RobustObject, ...]:
        """Let every row answer the prompts for an object, the one at `index` of the file."""
        truth = self._dataset.mask(ref.annotation_id)
        sampler = PromptSampler(truth)
        answers: list[dict[str, Answers]] = [{} for _ in self._rows]
        singles: list[Prompt] = []
        for kind in self._options.kinds:
            rng = object_generator(self._options.seed, index, f"robustness {kind}")
            prompts = [sampler.draw(kind, rng) for _ in range(self._options.count(kind))]
            if kind.name in _SINGLE:
                singles.append(prompts[0])
            self._answer(kind.name, embedding, prompts, (truth, sampler.box), answers)
        seconds = self._time_singles(embedding, singles)
        self._count += 1
        return tuple(
            RobustObject(*identify(self._dataset, ref), ref.category, found, took)
            for found, took in zip(answers, seconds, strict=True)
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
        # Boxes go one by one, so that all rows share a close-up; clicks share the view anyway.
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
            stability = segmentation_stability(masks[index])
            into[kind] = Answers.of(masks[index], mask, stability, quality, tuple(alphas[index]))

    def _time_singles(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt]
    ) -> list[tuple[float, ...]]:
        """Return seconds per row and prompt, including close-ups; rows take turns in order."""
        seconds: list[list[float]] = [[] for _ in self._rows]
        for prompt in prompts:
            for turn in range(len(self._rows)):
                index = (self._count + turn) % len(self._rows)
                fresh = replace(embedding)  # for which no close-up is kept
                start = time.perf_counter()
                self._model.predict(fresh, prompt, adapters=self._rows[index].adapters)
                seconds[index].append(time.perf_counter() - start)
        return [tuple(values) for values in seconds]


def _rows(
    adapters: Sequence[str] | Mapping[str, Sequence[Seams]],
    model: SegmentationModel,
    options: RobustnessOptions,
) -> list[_Row]:
    rows = [_Row(FROZEN, ())]
    if isinstance(adapters, Mapping):
        for name, seams in adapters.items():
            for seam in seams:
                seam.check_model(model)
            rows.append(_Row(name, tuple((seam.title, seam) for seam in seams)))
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


def _described(spec: str, adapter: Seams) -> dict[str, Any]:
    """Describe an adapter briefly; the environment describes the main row's in full."""
    config = describe_adapter(spec, adapter)["config"]
    kept = ("method", "base_model", "parameters", "training_data")
    return {"spec": spec, **{name: config[name] for name in kept if name in config}}


def _box_iou(given: Box, exact: Box) -> float:
    width = min(given.x1, exact.x1) - max(given.x0, exact.x0)
    height = min(given.y1, exact.y1) - max(given.y0, exact.y0)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (_area(given) + _area(exact) - shared)


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
