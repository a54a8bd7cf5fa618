"""The interactive benchmark with a baseline instead of a model, in one or several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.baselines.base import Baseline
from samadapt.benchmark.baselines.robot import annotate_with_baseline
from samadapt.benchmark.baselines.working_image import SMALLEST_WORKING_SIZE, WORKING_SIZE
from samadapt.benchmark.elsewhere import Part, in_order
from samadapt.benchmark.environment import (
    PACKAGES,
    describe_dataset,
    describe_machine,
    describe_protocol,
)
from samadapt.benchmark.images import ObjectVisits
from samadapt.benchmark.interactive.result import InteractiveResult, ObjectResult
from samadapt.benchmark.options import Progress, Selection, by_image
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.data.rle import Rle
from samadapt.errors import DataError, SamadaptError
from samadapt.session.robot import ClickProtocol, ObjectTrace
from samadapt.workers import begin_worker

BASELINE_PACKAGES = {**PACKAGES, "scikit-image": "scikit-image", "scipy": "scipy"}
"""Packages whose versions can change a result, and the names they are installed under."""

PROTOCOL = ClickProtocol(max_clicks=20, targets=(0.85,), stop_at=0.85)
"""20 clicks and a stop at IoU 0.85: enough for NoC20@85 and FR20@85."""


@dataclass(frozen=True, kw_only=True)
class BaselineOptions(Selection):
    """A selection of objects, and settings of the baselines.

    Attributes:
        working_size: longest side in pixels at which baselines work.
        workers: number of processes for the baselines; 1 uses this process.

    Raises:
        DataError: an invalid value.
    """

    working_size: int = WORKING_SIZE
    workers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.working_size < SMALLEST_WORKING_SIZE:
            raise DataError(
                f"working size {self.working_size}: use {SMALLEST_WORKING_SIZE} pixels or more"
            )
        if self.workers < 1:
            raise DataError(f"workers {self.workers}: use 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**super().to_dict(), "working_size": self.working_size}


def run_baseline(
    dataset: CocoDataset,
    baseline: Baseline,
    protocol: ClickProtocol = PROTOCOL,
    options: BaselineOptions | None = None,
    *,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> InteractiveResult:
    """Annotate the objects of `dataset` with the robot and a baseline.

    The objects, their order and the robot's random choices are the same as in `run_interactive`
    with the same selection. Each process computes with one thread, so times per click are those of
    a single core (the processes share memory and caches).

    Args:
        dataset: images and reference masks.
        baseline: answers the clicks.
        protocol: of the robot's clicks.
        options: objects, working size and processes.
        progress: called after every object.
        command: recorded as the command line; `sys.argv` when left out.

    Raises:
        DataError: no object, a missing image file, a broken mask, or no object could be evaluated.
        SamadaptError: a worker process died.
    """
    chosen = options or BaselineOptions()
    started = time.perf_counter()
    objects = chosen.objects(dataset)
    visits = ObjectVisits(dataset, objects, lru_cache(maxsize=1)(dataset.read_image))
    tasks = (
        _Task(
            baseline,
            protocol,
            chosen,
            ref,
            visits.index(ref),
            pixels,
            dataset.rle(ref.annotation_id),
        )
        for ref, pixels in visits.visit(by_image(objects))
    )
    rows: dict[Id, ObjectResult] = {}
    for task, trace in _traces(tasks, chosen.workers):
        rows[task.ref.annotation_id] = ObjectResult.of(dataset, task.ref, trace)
        if progress is not None:
            missing = sum(len(skip.annotation_ids) for skip in visits.skipped)
            progress(len(rows) + missing, len(objects))
    return InteractiveResult.of(
        in_order(objects, Part(rows, visits.skipped)),
        protocol,
        chosen.seed,
        environment={
            **describe_machine(command, BASELINE_PACKAGES),
            "threads": 1,
            "device": "cpu",
            "model": {"name": baseline.name, "settings": baseline.settings},
            "adapters": [],
        },
        protocol={
            **describe_protocol(protocol),
            **chosen.to_dict(),
            "dataset": describe_dataset(dataset),
        },
        skipped=visits.skipped,
        timing={"seconds": round(time.perf_counter() - started, 3), "workers": chosen.workers},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One object, with all inputs of the process that annotates it."""

    baseline: Baseline
    protocol: ClickProtocol
    options: BaselineOptions
    ref: ObjectRef
    index: int
    pixels: NDArray[np.uint8]
    truth: Rle

    def run(self) -> ObjectTrace:
        """Annotate the object."""
        rng = np.random.default_rng([self.options.seed, self.index])
        return annotate_with_baseline(
            self.baseline,
            self.pixels,
            self.truth.mask(),
            self.protocol,
            rng,
            self.options.working_size,
        )


_Done = tuple[_Task, ObjectTrace]


def _traces(tasks: Iterator[_Task], workers: int) -> Iterator[_Done]:
    """Run all tasks, here or in processes; yield each with its trace, in any order."""
    if workers == 1:
        with _single_thread():
            for task in tasks:
                yield task, task.run()
        return
    # Fresh processes: a forked one can hang on the locks of this one's threads.
    fresh = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, fresh, initializer=begin_worker)
    pending: dict[Future[ObjectTrace], _Task] = {}
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
        # After an interruption nobody waits for the objects in progress.
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


def _finished(pending: dict[Future[ObjectTrace], _Task]) -> Iterator[_Done]:
    """Wait for some of the pending tasks, and remove and yield them."""
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
