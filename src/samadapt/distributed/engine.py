"""`Engine`: applies one piece of work to many batches, on local or remote workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from samadapt.errors import DataError, SamadaptError

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

ENGINES = ("local", "ray")


class WorkerError(SamadaptError, RuntimeError):
    """Workers died or cannot be reached; finished results are kept."""


class Work(Protocol[T_contra, R_co]):
    """The work of a worker: a small value that can be pickled; `start` loads everything large.

    The result of the function that `start` returns must depend on its batch alone, so that any
    worker can do it, and do it again after another worker died.
    """

    def start(self) -> Callable[[Sequence[T_contra]], R_co]:
        """Load models and adapters, once per worker, and return the function for a batch.

        Raises:
            SamadaptError: they cannot be loaded; the caller of the engine gets the same error.
        """


class Engine(Protocol):
    """Runs work on several workers.

    Attributes:
        workers: number of batches in progress at a time.
    """

    @property
    def workers(self) -> int:
        """Number of batches in progress at a time."""

    def run(self, work: Work[T, R], batches: Sequence[Sequence[T]]) -> Iterator[R]:
        """Yield the result of every batch exactly once, in the order in which they finish.

        Raises:
            SamadaptError: an error of the work.
            WorkerError: workers died or cannot be reached.
        """


def make_engine(
    name: str, workers: int | None = None, gpus: float = 0.0, address: str | None = None
) -> Engine:
    """The engine that options name.

    Args:
        name: "local" or "ray".
        workers: their number; defaults to the cores of this machine or the cluster (with `gpus`,
            to the number of GPUs).
        gpus: of the cluster, shared by all workers.
        address: of a Ray cluster; "auto" is the one of this machine, None starts one for this run.

    Raises:
        DataError: options that contradict each other, or Ray is not installed.
        WorkerError: there is no cluster at the address.
    """
    if workers is not None and workers < 1:
        raise DataError(f"--workers {workers}: use 1 or more")
    if gpus < 0:
        raise DataError(f"--gpus {gpus:g}: use 0 or more")
    if name == "local":
        if address is not None or gpus:
            option = "--gpus" if gpus else "--address"
            raise DataError(f"{option} belongs to --engine ray; the local engine uses --device")
        from samadapt.distributed.local import LocalEngine

        return LocalEngine(workers)
    if name == "ray":
        from samadapt.distributed.ray_engine import RayEngine

        return RayEngine(workers, gpus, address)
    raise DataError(f"--engine {name}: use {' or '.join(ENGINES)}")


def in_batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Consecutive batches of `size` items; the last one may have fewer.

    Raises:
        DataError: a size below 1.
    """
    if size < 1:
        raise DataError(f"--batch {size}: use 1 or more")
    return [items[start : start + size] for start in range(0, len(items), size)]
