"""The one trainer, started by Ray Train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines import tiny_weights
from samadapt.distributed.fit import FitJob, fit_on_ray
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.training.fit import run_fit
from tiny_dataset import make_dataset

SETTINGS = {"steps": 2, "category": "disc", "seed": 0}


def test_the_adapter_is_that_of_a_plain_fit_and_its_metrics_are_kept(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "tiny").open()
    place = WorkerModel(str(tiny_weights(tmp_path)))
    model = place.load()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = run_fit(
            "task-prompt",
            model,
            [data],
            tmp_path / "plain",
            cache_bytes=0,
            progress=False,
            settings=SETTINGS,
        )
    finally:
        torch.set_num_threads(threads)
    job = FitJob("task-prompt", place, [data], tmp_path / "ray", None, None, 0, {**SETTINGS})
    report = fit_on_ray(job, model)
    assert report.values["loss"] == pytest.approx(plain.values["loss"], abs=1e-6)
    assert report.resumed_at == 0
    one, other = plain.adapter.state_dict(), report.adapter.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list(tmp_path.glob(".*.ray"))
    with pytest.raises(DataError, match="--gpus 1 for 2 workers"):
        fit_on_ray(job, model, 2, 1)
