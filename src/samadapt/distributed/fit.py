"""`fit_on_ray`: fitting of adapters in workers of Ray Train."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samadapt.adapters.files import CONFIG_FILE
from samadapt.data.coco import CocoDataset
from samadapt.distributed.engine import WorkerError
from samadapt.distributed.ray_engine import connect, enter_folder, import_ray, quiet_ray
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError, SamadaptError, first_line
from samadapt.models.base import SegmentationModel
from samadapt.training.fit import FitReport, run_fit

_FAILURES = 2
"""Number of restarts after a worker died; workers resume from the last checkpoint."""


@dataclass(frozen=True, slots=True)
class FitJob:
    """Arguments of the training; see `samadapt.training.fit.run_fit`.

    Attributes:
        out: folder of the adapter, which all workers see.
    """

    method: str
    model: WorkerModel
    datasets: Sequence[CocoDataset]
    out: Path
    start: str | None
    cache: Path | None
    cache_bytes: int
    settings: Mapping[str, Any]


def fit_on_ray(
    job: FitJob,
    model: SegmentationModel,
    workers: int = 1,
    gpus: float = 0.0,
    address: str | None = None,
) -> FitReport:
    """Train an adapter on a Ray cluster.

    Ray starts the workers, connects them and restarts them after a death; each runs `run_fit`. On
    a CPU, and with the same number of workers, the adapter is the same as with
    `accelerate launch`.

    Args:
        job: arguments of the training.
        model: loaded in this process.
        workers: number of processes that share each step's images.
        gpus: number of GPUs; one for each worker, or none.
        address: see `make_engine`.

    Raises:
        DataError: invalid options, or an error of `run_fit`.
        WorkerError: no cluster, or workers that keep dying.
    """
    if workers < 1:
        raise DataError(f"--workers {workers}: use 1 or more")
    if gpus not in (0, workers):
        raise DataError(f"--gpus {gpus:g} for {workers} workers: fitting takes one GPU per worker")
    import_ray()
    # One more core: Ray Train's controller is a process of its own.
    connect(address, workers + 1)
    with quiet_ray():
        import ray.train
        from ray.train.torch import TorchTrainer

        storage = job.out.absolute().with_name(f".{job.out.name}.ray")
        trainer = TorchTrainer(
            train_in_worker,
            train_loop_config={
                "job": replace(job, out=job.out.absolute()),
                "folder": str(Path.cwd()),
            },
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker=_each(gpus)
            ),
            run_config=ray.train.RunConfig(
                name="fit",
                storage_path=str(storage),
                failure_config=ray.train.FailureConfig(max_failures=_FAILURES),
            ),
        )
        try:
            result = trainer.fit()
            if not (job.out / CONFIG_FILE).exists() and result.checkpoint is not None:
                result.checkpoint.to_directory(str(job.out))
        except Exception as error:
            raise _explained(error) from None
        finally:
            shutil.rmtree(storage, ignore_errors=True)
    report = run_fit(
        job.method,
        model,
        job.datasets,
        job.out,
        start=job.start,
        cache=job.cache,
        cache_bytes=job.cache_bytes,
        progress=False,
        settings=job.settings,
    )
    return replace(report, resumed_at=int((result.metrics or {}).get("resumed_at", 0)))


def train_in_worker(config: Mapping[str, Any]) -> None:
    """The training loop of one of Ray Train's workers."""
    import ray.train

    from samadapt.training.fitting.processes import local_device

    enter_folder(config["folder"])
    job: FitJob = config["job"]
    model = replace(job.model, device=local_device(job.model.device)).load()
    report = run_fit(
        job.method,
        model,
        job.datasets,
        job.out,
        start=job.start,
        cache=job.cache,
        cache_bytes=job.cache_bytes,
        progress=False,
        settings=job.settings,
    )
    values = report.values
    # Ray Train keeps metrics only with a checkpoint: the finished adapter is one.
    is_main = ray.train.get_context().get_world_rank() == 0
    checkpoint = ray.train.Checkpoint.from_directory(str(job.out)) if is_main else None
    told = {name: values[name] for name in ("loss", "miou", "steps", "images", "prompts")}
    ray.train.report({**told, "resumed_at": report.resumed_at}, checkpoint=checkpoint)


def _each(gpus: float) -> dict[str, float]:
    return {"CPU": 1, "GPU": 1} if gpus else {"CPU": 1}


def _explained(error: BaseException) -> SamadaptError:
    """The worker's own error if it is a `SamadaptError`, instead of Ray's wrapper."""
    for one in (error, *getattr(error, "worker_failures", {}).values()):
        seen: BaseException | None = one
        while seen is not None:
            if isinstance(seen, SamadaptError):
                return seen
            inner = getattr(seen, "cause", None)
            seen = inner if isinstance(inner, BaseException) else seen.__cause__
    return WorkerError(
        f"the cluster gave up ({first_line(error)}): run the same command again, which resumes "
        "from the last checkpoint"
    )
