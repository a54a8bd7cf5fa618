"""`LocalEngine`: work in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from samadapt.distributed.engine import Work, WorkerError
from samadapt.workers import begin_worker, usable_cores

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2
"""Batches per worker that wait in the pool, so that no worker is idle."""
_MOST_NAMES = 8
"""Names of files in the message about a worker that died."""


class LocalEngine:
    """Fresh processes with one thread each; results do not depend on their number.

    Args:
        workers: number of processes; defaults to the number of cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or usable_cores()

    def run(self, work: Work[T, R], batches: Sequence[Sequence[T]]) -> Iterator[R]:
        """Yield the result of every batch as it is finished; see `Engine`.

        Raises:
            WorkerError: a process died.
        """
        # Fresh processes: a forked one can hang on the locks of this one's threads.
        fresh = multiprocessing.get_context("spawn")
        others = set(multiprocessing.active_children())
        count = min(self.workers, max(len(batches), 1))
        pool = ProcessPoolExecutor(count, fresh, _begin, (work,))
        pending: dict[Future[R], Sequence[T]] = {}
        try:
            for batch in batches:
                pending[pool.submit(_do, tuple(batch))] = batch
                if len(pending) >= _AHEAD * count:
                    yield from _finished(pending)
            while pending:
                yield from _finished(pending)
            pool.shutdown()
        except BrokenProcessPool:
            raise WorkerError(
                f"a worker process died{_place(pending, count)}, perhaps for want of memory: run "
                "the same command again, with fewer --workers or without the cause; finished "
                "results are kept"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            # After an interruption nobody waits for the batches in progress.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()


def _finished(pending: dict[Future[R], Sequence[T]]) -> Iterator[R]:
    """Wait for some of the pending batches, take them out and yield their results."""
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        result = future.result()
        del pending[future]
        yield result


def _place(pending: Mapping[Future[R], Sequence[T]], workers: int) -> str:
    """Name the files that the workers had in hand: the oldest pending batches."""
    lost = [batch for one, batch in pending.items() if not one.done() or one.exception()]
    names = [str(item) for batch in lost[:workers] for item in batch if _is_name(item)]
    more = " and others" if len(names) > _MOST_NAMES else ""
    return f" at one of {', '.join(names[:_MOST_NAMES])}{more}" if names else ""


def _is_name(item: object) -> bool:
    return isinstance(item, str | os.PathLike)


# -- in a worker ----------------------------------------------------------------------------

_STATE: dict[str, Any] = {}
"""Of a worker process: its work, and the function once the work is started."""


def _begin(work: Work[Any, Any]) -> None:
    begin_worker()
    torch.set_num_threads(1)
    _STATE["work"] = work


def _do(batch: Sequence[Any]) -> Any:
    # Started with the first batch, whose future passes errors to the caller.
    if "function" not in _STATE:
        _STATE["function"] = _STATE["work"].start()
    function: Callable[[Sequence[Any]], Any] = _STATE["function"]
    return function(batch)
