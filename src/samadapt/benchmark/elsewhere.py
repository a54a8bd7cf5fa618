"""Evaluation of a benchmark's objects by the workers of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from samadapt.benchmark.options import Progress
from samadapt.benchmark.results import SkippedImage
from samadapt.data.records import Id, ObjectRef
from samadapt.distributed.engine import Engine, Work
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.models.seams import Seams

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Workers, and the model that each of them loads."""

    engine: Engine
    model: WorkerModel


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """Results for some of the objects."""

    rows: Mapping[Id, R] = field(default_factory=dict)
    skipped: tuple[SkippedImage, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)


def evaluate_elsewhere(
    engine: Engine,
    work: Work[ObjectRef, Part[R]],
    objects: Sequence[ObjectRef],
    progress: Progress | None = None,
    *,
    together: bool = False,
) -> Part[R]:
    """Evaluate objects with workers, image by image.

    Args:
        engine: the workers.
        work: evaluates objects of one image, or all of them.
        objects: in the order of visits.
        progress: called after every image.
        together: give all objects to one worker, because their order matters.
    """
    groups: dict[Id, list[ObjectRef]] = {}
    for ref in objects:
        groups.setdefault(ref.image_id, []).append(ref)
    batches: list[Sequence[ObjectRef]] = [objects] if together else list(groups.values())
    rows: dict[Id, R] = {}
    skipped: dict[Id, SkippedImage] = {}
    timing: dict[str, float] = {}
    for part in engine.run(work, batches):
        rows |= part.rows
        skipped |= {image.image_id: image for image in part.skipped}
        for name, value in part.timing.items():
            timing[name] = round(timing.get(name, 0) + value, 3)
        if progress is not None:
            gone = sum(len(image.annotation_ids) for image in skipped.values())
            progress(len(rows) + gone, len(objects))
    return Part(rows, tuple(skipped[key] for key in groups if key in skipped), timing)


def in_order(objects: Sequence[ObjectRef], part: Part[R]) -> tuple[R, ...]:
    """Return the rows of all evaluated objects in the order of visits.

    Raises:
        DataError: no object could be evaluated; the message gives the first reason.
    """
    if not part.rows:
        reason = part.skipped[0].reason
        raise DataError(f"none of the {len(objects)} objects could be evaluated: {reason}")
    return tuple(part.rows[ref.annotation_id] for ref in objects if ref.annotation_id in part.rows)


def specs_of(adapters: Iterable[str | Seams] | Mapping[str, Any]) -> tuple[str, ...]:
    """Names of adapters, as workers load them.

    Raises:
        DataError: an adapter given as an object, which cannot be sent to workers.
    """
    specs = list(adapters)
    named = [spec for spec in specs if isinstance(spec, str)]
    if len(named) < len(specs) or isinstance(adapters, Mapping):
        raise DataError("workers load adapters by name: give names or folders of adapters")
    return tuple(named)
