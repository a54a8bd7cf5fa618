"""The run of the interactive benchmark: the robot annotates the objects of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from samadapt.benchmark.adapters import attach, close
from samadapt.benchmark.elsewhere import (
    Elsewhere,
    Part,
    evaluate_elsewhere,
    in_order,
    specs_of,
)
from samadapt.benchmark.environment import (
    describe_dataset,
    describe_environment,
    describe_protocol,
)
from samadapt.benchmark.images import ImageEncoder, ObjectVisits
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.options import Progress, Selection, by_image
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.distributed.worker_model import WorkerModel
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.options import SessionOptions
from samadapt.session.robot import ClickProtocol, annotate_object
from samadapt.session.session import Session
from samadapt.store.embeddings import EmbeddingStore

SessionMaker: TypeAlias = Callable[[SegmentationModel, Sequence[Seams], SessionOptions], Session]
"""Creates the robot's session."""

PROTOCOL = ClickProtocol(max_clicks=30, targets=(0.85, 0.90))
"""30 clicks and a stop at IoU 0.90: one such run gives all measures of the summary."""


def plain_session(
    model: SegmentationModel, adapters: Sequence[Seams], options: SessionOptions
) -> Session:
    """Create the session that people use."""
    return Session(model, adapters, options=options)


def run_interactive(
    dataset: CocoDataset,
    model: SegmentationModel,
    protocol: ClickProtocol = PROTOCOL,
    adapters: Sequence[str | Seams] = (),
    selection: Selection | None = None,
    *,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    cache_bytes: int = 1 << 30,
    store: EmbeddingStore | None = None,
    make_session: SessionMaker = plain_session,
    elsewhere: Elsewhere | None = None,
) -> InteractiveResult:
    """Annotate the objects of `dataset` with the robot and report clicks, failures and overlap.

    Adapters given by name are new at the start, and seeded. Adapters that learn in sessions learn
    during the whole run, object after object in the order of visits. Without learning the order
    cannot change a result, so objects are visited image by image and every image is encoded once;
    the rows keep the order of the selection in both cases.

    The robot's random choices for an object depend only on the seed and the object's place in the
    file, so a run of fewer objects is a part of the run of all. An image that cannot be read, or
    does not fit its masks, is skipped and reported.

    Args:
        dataset: images and reference masks.
        model: answers the clicks.
        protocol: of the robot's clicks.
        adapters: arguments of `create_adapter`, or adapters.
        selection: objects, their order and the seed; defaults to all objects.
        progress: called after every object.
        command: recorded as the command line; `sys.argv` when left out.
        cache_bytes: memory for embeddings of images that are visited again while adapters learn.
        store: embeddings on the disk; None encodes every image again.
        make_session: creates the session between the robot and the model.
        elsewhere: workers that evaluate the objects; if adapters learn, one worker evaluates all.

    Raises:
        DataError: no object, a missing image file, a broken mask, or no object could be evaluated.
        AdapterError: an unknown adapter, or one made for another model.
    """
    chosen = selection or Selection()
    objects = chosen.objects(dataset)
    attached = attach(adapters, model, chosen.seed)
    is_learning = any(seam.learns_in_session for _, seam in attached)
    memory = cache_bytes if is_learning else 0
    order = objects if is_learning else tuple(by_image(objects))
    try:
        if elsewhere is None:
            part = _annotated(
                dataset,
                order,
                make_session(model, [seam for _, seam in attached], protocol.session_options),
                protocol,
                chosen.seed,
                ImageEncoder(dataset, model, cache_bytes=memory, store=store),
                progress,
            )
        else:
            work = InteractiveWork(
                elsewhere.model,
                dataset,
                specs_of(adapters),
                protocol,
                chosen.seed,
                memory,
                store,
            )
            part = evaluate_elsewhere(elsewhere.engine, work, order, progress, together=is_learning)
    finally:
        close(s for (_, s), given in zip(attached, adapters, strict=True) if s is not given)
    return InteractiveResult.of(
        in_order(objects, part),
        protocol,
        chosen.seed,
        environment=describe_environment(model, attached, command),
        protocol={
            **describe_protocol(protocol),
            **chosen.to_dict(),
            "dataset": describe_dataset(dataset),
        },
        skipped=part.skipped,
        timing=part.timing,
    )


@dataclass(frozen=True, slots=True)
class InteractiveWork:
    """The robot in a worker, which annotates objects in the given order."""

    model: WorkerModel
    dataset: CocoDataset
    adapters: tuple[str, ...]
    protocol: ClickProtocol
    seed: int
    cache_bytes: int
    store: EmbeddingStore | None

    def start(self) -> Callable[[Sequence[ObjectRef]], Part[ObjectResult]]:
        """Load the model and the adapters.

        Raises:
            AdapterError, ModelError: they cannot be loaded.
        """
        model = self.model.load()
        seams = [seam for _, seam in attach(self.adapters, model, self.seed)]
        session = plain_session(model, seams, self.protocol.session_options)

        def annotate(objects: Sequence[ObjectRef]) -> Part[ObjectResult]:
            encoder = ImageEncoder(
                self.dataset, model, cache_bytes=self.cache_bytes, store=self.store
            )
            return _annotated(self.dataset, objects, session, self.protocol, self.seed, encoder)

        return annotate


def _annotated(
    dataset: CocoDataset,
    objects: Sequence[ObjectRef],
    session: Session,
    protocol: ClickProtocol,
    seed: int,
    encoder: ImageEncoder,
    progress: Progress | None = None,
) -> Part[ObjectResult]:
    """Let the robot annotate objects one after the other."""
    visits = ObjectVisits(dataset, objects, encoder)
    rows: dict[Id, ObjectResult] = {}
    for ref, embedding in visits.visit(objects, progress):
        trace = annotate_object(
            session,
            embedding,
            dataset.mask(ref.annotation_id),
            protocol,
            np.random.default_rng([seed, visits.index(ref)]),
            label=ref.category,
        )
        rows[ref.annotation_id] = ObjectResult.of(dataset, ref, trace)
    return Part(rows, visits.skipped, encoder.timing())
