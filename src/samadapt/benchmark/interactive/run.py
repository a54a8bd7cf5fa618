"""The run of the interactive benchmark: the robot annotates the objects of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from samadapt.benchmark.adapters import attach, close
from samadapt.benchmark.environment import (
    describe_dataset,
    describe_environment,
    describe_protocol,
)
from samadapt.benchmark.images import ImageEncoder, ObjectVisits
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.options import Progress, Selection, by_image
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.options import SessionOptions
from samadapt.session.robot import ClickProtocol, annotate_object
from samadapt.session.session import Session
from samadapt.store.embeddings import EmbeddingStore

SessionMaker: TypeAlias = Callable[[SegmentationModel, Sequence[Seams], SessionOptions], Session]
"""Makes the session that the robot works in."""

PROTOCOL = ClickProtocol(max_clicks=30, targets=(0.85, 0.90))
"""30 clicks and a stop at IoU 0.90: from one such run follow all numbers of the summary."""


def plain_session(
    model: SegmentationModel, adapters: Sequence[Seams], options: SessionOptions
) -> Session:
    """Make the session that people use."""
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
) -> InteractiveResult:
    """Annotate the objects of `dataset` with the robot and report clicks, failures and overlap.

    Adapters given by name are fresh at the start, and seeded. Those that learn do so through the
    whole run, object after object in the order of visits. Without learning the order cannot
    change a result, so objects are visited image by image and every image is encoded once; the
    rows keep the order of the selection either way.

    The robot's random choices for an object depend on the seed and the object's place in the
    file only, so a run of fewer objects is a part of the run of all. An image that cannot be
    read, or does not fit its masks, is skipped and reported.

    Args:
        dataset: images and reference masks.
        model: answers the clicks.
        protocol: how the robot clicks.
        adapters: names as `create_adapter` takes them, or adapters as they are.
        selection: objects, their order and the seed; all objects if left out.
        progress: told after every object.
        command: recorded as the command line; `sys.argv` when left out.
        cache_bytes: memory for embeddings while adapters learn and images come back.
        store: embeddings on the disk; None encodes every image anew.
        make_session: puts a session of another kind between the robot and the model.

    Raises:
        DataError: no object, a missing image file, a broken mask, or nothing could be evaluated.
        AdapterError: an unknown adapter, or one made for another model.
    """
    chosen = selection or Selection()
    objects = chosen.objects(dataset)
    attached = attach(adapters, model, chosen.seed)
    is_learning = any(seam.learns_in_session for _, seam in attached)
    session = make_session(model, [seam for _, seam in attached], protocol.session_options)
    memory = cache_bytes if is_learning else 0
    encoder = ImageEncoder(dataset, model, cache_bytes=memory, store=store)
    visits = ObjectVisits(dataset, objects, encoder)
    rows: dict[Id, ObjectResult] = {}
    try:
        for ref, embedding in visits.visit(objects if is_learning else by_image(objects), progress):
            trace = annotate_object(
                session,
                embedding,
                dataset.mask(ref.annotation_id),
                protocol,
                np.random.default_rng([chosen.seed, visits.index(ref)]),
                label=ref.category,
            )
            rows[ref.annotation_id] = ObjectResult.of(dataset, ref, trace)
    finally:
        close(s for (_, s), given in zip(attached, adapters, strict=True) if s is not given)
    return InteractiveResult.of(
        visits.ordered(rows),
        protocol,
        chosen.seed,
        environment=describe_environment(model, attached, command),
        protocol={
            **describe_protocol(protocol),
            **chosen.to_dict(),
            "dataset": describe_dataset(dataset),
        },
        skipped=visits.skipped,
        timing=encoder.timing(),
    )
