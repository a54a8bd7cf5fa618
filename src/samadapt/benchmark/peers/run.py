"""The interactive benchmark with a peer in the model's place, in several processes if wanted."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.interactive import Progress, describe_dataset
from samadapt.benchmark.peers.base import Peer
from samadapt.benchmark.peers.canvas import SMALLEST_WORKING_SIZE, WORKING_SIZE
from samadapt.benchmark.peers.describe import describe_peer, describe_protocol
from samadapt.benchmark.peers.robot import PeerTrace, annotate_with_peer
from samadapt.benchmark.results import InteractiveResult, ObjectResult, SkippedImage
from samadapt.benchmark.rows import object_row
from samadapt.benchmark.summary import intervals, summarise
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.data.rle import Rle
from samadapt.data.selection import why_no_object
from samadapt.errors import DataError, ImageError, SamadaptError
from samadapt.session.robot import ClickProtocol
from samadapt.workers import begin_worker

PROTOCOL = ClickProtocol(max_clicks=20, targets=(0.85,), stop_at=0.85)
"""20 clicks and a stop at IoU 0.85: enough for NoC20@85 and FR20@85."""


def run_peer(
    dataset: CocoDataset,
    peer: Peer,
    protocol: ClickProtocol = PROTOCOL,
    *,
    max_objects: int | None = None,
    seed: int = 0,
    working_size: int = WORKING_SIZE,
    workers: int = 1,
    progress: Progress | None = None,
    on_skip: Callable[[SkippedImage], None] | None = None,
    command: Sequence[str] | None = None,
) -> InteractiveResult:
    """Annotate the objects of `dataset` with the robot and a peer.

    The objects, their order and the robot's random choices are those of `run_interactive` with
    the same seed. Each process computes with one thread, so times per click are those of a core
    (which the processes share memory and caches with).

    Args:
        dataset: images and reference masks.
        peer: answers the clicks.
        protocol: how the robot clicks.
        max_objects: at most this many, the first ones in the order of visits; None for all.
        seed: of the order, and of the robot's own random choices.
        working_size: longest side in pixels that the peer works at.
        workers: processes to share the work; 1 does it here.
        progress: told after every object.
        on_skip: told of every image that cannot be used and is skipped.
        command: what to record as the command line; `sys.argv` when left out.

    Raises:
        DataError: no object, a missing image file, a broken mask, nothing could be evaluated, or
            a bad option.
        SamadaptError: a worker process died.
    """
    check_options(seed, working_size, workers)
    started = time.perf_counter()
    objects = dataset.objects(max_objects=max_objects, seed=seed)
    if not objects:
        reason = why_no_object(dataset.annotations)
        raise DataError(f"{dataset.source} has no object to evaluate: {reason}")
    tasks = _Tasks(dataset, objects, _Work(peer, protocol, seed, working_size), on_skip)
    rows: dict[Id, ObjectResult] = {}
    for task, trace in _traces(tasks, workers):
        rows[task.ref.annotation_id] = object_row(dataset, task.ref, trace)
        if progress is not None:
            progress(len(rows) + tasks.missing, len(objects))
    if not rows:
        reason = next(iter(tasks.skipped.values())).reason
        raise DataError(f"none of the {len(objects)} objects could be evaluated: {reason}")
    ordered = tuple(rows[ref.annotation_id] for ref in objects if ref.annotation_id in rows)
    curves = [row.curve for row in ordered]
    limits = protocol.max_clicks, protocol.content_at
    return InteractiveResult(
        environment=describe_peer(peer, command),
        protocol={
            **describe_protocol(protocol, max_objects, seed, working_size),
            "dataset": describe_dataset(dataset),
        },
        summary=summarise(curves, *limits),
        intervals=intervals(curves, *limits, seed=seed),
        objects=ordered,
        skipped=tuple(tasks.skipped.values()),
        timing={"seconds": round(time.perf_counter() - started, 3), "workers": workers},
    )


def check_options(seed: int, working_size: int, workers: int) -> None:
    """Check what can be known to be wrong before any work.

    Raises:
        DataError: a negative seed, a working size below 16 pixels, no worker.
    """
    if seed < 0:
        raise DataError(f"seed {seed}: use 0 or more")
    if working_size < SMALLEST_WORKING_SIZE:
        raise DataError(f"working size {working_size}: use {SMALLEST_WORKING_SIZE} pixels or more")
    if workers < 1:
        raise DataError(f"workers {workers}: use 1 or more")


@dataclass(frozen=True, slots=True)
class _Work:
    """What is the same for all objects of a run."""

    peer: Peer
    protocol: ClickProtocol
    seed: int
    working_size: int


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One object, with all that a process needs to annotate it."""

    work: _Work
    ref: ObjectRef
    place: int
    pixels: NDArray[np.uint8]
    truth: Rle

    def run(self) -> PeerTrace:
        """Annotate it."""
        work = self.work
        rng = np.random.default_rng([work.seed, self.place])
        return annotate_with_peer(
            work.peer, self.pixels, self.truth.mask(), work.protocol, rng, work.working_size
        )


class _Tasks:
    """The objects of a run as tasks, image by image, so that each image is read once."""

    def __init__(
        self,
        dataset: CocoDataset,
        objects: Sequence[ObjectRef],
        work: _Work,
        on_skip: Callable[[SkippedImage], None] | None,
    ) -> None:
        self._dataset = dataset
        self._work = work
        self._on_skip = on_skip
        self._place = {a.id: index for index, a in enumerate(dataset.annotations)}
        self._groups: dict[Id, list[ObjectRef]] = {}
        for ref in objects:
            self._groups.setdefault(ref.image_id, []).append(ref)
        for image_id in self._groups:
            dataset.image_path(image_id)
        self.skipped: dict[Id, SkippedImage] = {}

    @property
    def missing(self) -> int:
        """Objects that were skipped so far."""
        return sum(len(skipped.annotation_ids) for skipped in self.skipped.values())

    def __iter__(self) -> Iterator[_Task]:
        for image_id, group in self._groups.items():
            try:
                pixels = self._dataset.read_image(image_id)
            except (ImageError, DataError) as error:
                self._skip(image_id, group, str(error))
                continue
            for ref in group:
                truth = self._dataset.rle(ref.annotation_id)
                yield _Task(self._work, ref, self._place[ref.annotation_id], pixels, truth)

    def _skip(self, image_id: Id, group: Sequence[ObjectRef], reason: str) -> None:
        name = self._dataset.image(image_id).file_name
        ids = tuple(ref.annotation_id for ref in group)
        self.skipped[image_id] = SkippedImage(name, image_id, ids, reason)
        if self._on_skip is not None:
            self._on_skip(self.skipped[image_id])


_Done = tuple[_Task, PeerTrace]


def _traces(tasks: _Tasks, workers: int) -> Iterator[_Done]:
    """Run all tasks, here or in processes; each with its trace, in any order."""
    if workers == 1:
        with _single_thread():
            for task in tasks:
                yield task, task.run()
        return
    # Fresh processes: a forked one can hang on the locks of this one's threads.
    fresh = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, fresh, initializer=begin_worker)
    pending: dict[Future[PeerTrace], _Task] = {}
    try:
        for task in tasks:
            pending[pool.submit(task.run)] = task
            if len(pending) >= 2 * workers:
                yield from _finished(pending)
        while pending:
            yield from _finished(pending)
        pool.shutdown()
    except BrokenProcessPool:
        raise SamadaptError(
            "a worker process died, perhaps for want of memory: use fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Whoever interrupts the work does not want to wait for the objects that are in hand.
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


def _finished(pending: dict[Future[PeerTrace], _Task]) -> Iterator[_Done]:
    """Wait for some of the pending tasks, and take them out."""
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()


@contextmanager
def _single_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
