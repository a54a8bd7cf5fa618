"""`RayEngine`: runs work on a Ray cluster, through Ray Data."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from samadapt.distributed.engine import Work, WorkerError
from samadapt.distributed.threads import one_thread_per_core
from samadapt.errors import DataError, SamadaptError, first_line

T = TypeVar("T")
R = TypeVar("R")

_LOGGERS = ("ray", "ray.data", "ray._private.authentication.authentication_token_setup")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch or a result in transport, as one Python value that Arrow does not convert."""

    value: Any


class RayEngine:
    """Ray actors, each with one core and a share of the GPUs.

    Ray does scheduling, retries, transport and the replacement of dead actors. Only the names of
    images are sent to the workers, and only results are sent back.

    Args:
        workers: number of actors; defaults to the GPUs in use, or else to the cluster's cores.
        gpus: shared by all workers.
        address: of a cluster; "auto" is the one of this machine, None starts one for this run.

    Raises:
        DataError: Ray is not installed.
        WorkerError: no cluster at the address, or too small a cluster.
    """

    def __init__(
        self, workers: int | None = None, gpus: float = 0.0, address: str | None = None
    ) -> None:
        ray = import_ray()
        connect(address, workers)
        there = ray.cluster_resources()
        cores, found = int(there.get("CPU", 0)), float(there.get("GPU", 0))
        if gpus > found:
            raise WorkerError(f"--gpus {gpus:g}: the cluster has {found:g}, use at most as many")
        self.workers = workers or (max(1, int(gpus)) if gpus else max(1, cores))
        if self.workers > cores:
            raise WorkerError(
                f"--workers {self.workers}: the cluster has {cores} cores, use at most as many"
            )
        self.gpus = gpus / self.workers

    def run(self, work: Work[T, R], batches: Sequence[Sequence[T]]) -> Iterator[R]:
        """Yield the result of every batch as it is finished; see `Engine`.

        Raises:
            WorkerError: the cluster gave a batch up, or is gone.
        """
        if not batches:
            return
        ray = import_ray()
        count = min(self.workers, len(batches))
        with quiet_ray():
            data = ray.data.from_items(
                [{"parcel": Parcel(tuple(batch))} for batch in batches],
                override_num_blocks=_blocks(len(batches), count),
            )
            done = data.map_batches(
                Worker,
                fn_constructor_kwargs={"work": work, "folder": str(Path.cwd())},
                batch_size=1,
                num_cpus=1,
                num_gpus=self.gpus or None,
                compute=ray.data.ActorPoolStrategy(size=count),
            )
            try:
                for row in done.iter_rows():
                    answer = row["parcel"].value
                    if isinstance(answer, SamadaptError):
                        raise answer
                    yield answer
            except SamadaptError:
                raise
            except (ray.exceptions.RayError, ConnectionError) as error:
                raise WorkerError(
                    f"the cluster gave up ({_last_line(error)}): check that every machine has the "
                    "same version of samadapt, and run the same command again; finished results "
                    "are kept"
                ) from error


def _last_line(error: BaseException) -> str:
    """The last line of Ray's traceback, which is the cause, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip(" ^~")]
    return lines[-1] if lines else type(error).__name__


def _blocks(batches: int, workers: int) -> int:
    """Number of batches per unit of work of Ray Data: 1 in a short run, up to 16 in long runs."""
    return -(-batches // min(max(batches // (32 * workers), 1), 16))


class Worker:
    """The actor of `RayEngine`: one batch per call.

    Args:
        work: its work.
        folder: in which the command was given.
    """

    def __init__(self, work: Work[Any, Any], folder: str) -> None:
        self._work = work
        self._function: Callable[[Sequence[Any]], Any] | None = None
        enter_folder(folder)
        one_thread_per_core()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Process the batches in the column "parcel"; errors are returned, without a retry."""
        answers = []
        for parcel in batch["parcel"]:
            try:
                if self._function is None:
                    self._function = self._work.start()
                answers.append(Parcel(self._function(parcel.value)))
            except SamadaptError as error:
                answers.append(Parcel(error))
        return {"parcel": answers}


def enter_folder(folder: str) -> None:
    """Give relative paths the same meaning in this worker as in the command.

    Ray starts workers in the folder of its own daemon. On a machine without `folder` relative paths
    stay what they are, and what they name is told to be missing.
    """
    with suppress(OSError):
        os.chdir(folder)


def import_ray() -> Any:
    """Ray, with its data library.

    Raises:
        DataError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The notes of its C++ part go to stderr past every Python logger.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
            import ray.data
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("ray", "pyarrow", "pandas"):
            raise
        raise DataError("--engine ray needs Ray: pip install 'samadapt[ray]'") from None
    return ray


def connect(address: str | None, workers: int | None = None) -> None:
    """Join a cluster, unless this process has joined one already.

    A cluster that is started for one run listens on this machine alone; access to it is
    controlled by Ray's token in the environment.

    Args:
        address: None starts a cluster for this run.
        workers: cores of a cluster that is started; defaults to those of the machine.

    Raises:
        WorkerError: there is no cluster, or it refuses.
    """
    ray = import_ray()
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
    else:
        options |= {"address": address}
    try:
        with quiet_ray():
            ray.init(**options)
    except Exception as error:  # Ray raises a plain Exception where a node starts too slowly
        where = "no cluster could be started" if address is None else f"no cluster at {address}"
        raise WorkerError(
            f"{where} ({first_line(error)}): start one with `ray start --head`, or leave --address "
            "out to use this machine alone"
        ) from None


@contextmanager
def quiet_ray() -> Iterator[None]:
    """Suppress Ray's progress bars, notes and deprecation warnings inside the block."""
    ray = import_ray()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # What Ray deprecates in itself; how we call it is warned about at our own lines.
        warnings.filterwarnings("ignore", module=r"(ray|pyarrow|pandas|google)(\.|$)")
        context = ray.data.DataContext.get_current()
        bars, context.enable_progress_bars = context.enable_progress_bars, False
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            context.enable_progress_bars = bars
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
