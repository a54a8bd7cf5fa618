"""The one trainer, started by Ray Train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engines import tiny_weights
from samadapt.distributed.fit import FitJob, fit_on_ray
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.training.fit import FitReport, FitStatus, run_fit
from tiny_dataset import make_dataset

SETTINGS = {"steps": 2, "category": "disc", "seed": 0, "checkpoint_steps": 1}


def test_the_adapter_is_that_of_a_plain_fit_and_its_metrics_are_kept(tmp_path: Path) -> None:
    """Ray takes up a run that was interrupted, and its worker's metrics say so."""
    data = make_dataset(tmp_path / "tiny").open()
    place = WorkerModel(str(tiny_weights(tmp_path)))
    model = place.load()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def stop(status: FitStatus) -> None:
        if status.step == 1:
            raise KeyboardInterrupt

    def fit(out: Path, progress: bool | Callable[[FitStatus], None] = False) -> FitReport:
        return run_fit(
            "task-prompt",
            model,
            [data],
            out,
            cache_bytes=0,
            progress=progress,
            settings=SETTINGS,
        )

    try:
        plain = fit(tmp_path / "plain")
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "ray", stop)
    finally:
        torch.set_num_threads(threads)
    job = FitJob("task-prompt", place, [data], tmp_path / "ray", None, None, 0, {**SETTINGS})
    report = fit_on_ray(job, model)
    assert report.values["loss"] == pytest.approx(plain.values["loss"], abs=1e-6)
    assert report.resumed_at == 1
    one, other = plain.adapter.state_dict(), report.adapter.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list(tmp_path.glob(".*.ray"))
    with pytest.raises(DataError, match="--gpus 1 for 2 workers"):
        fit_on_ray(job, model, 2, 1)
