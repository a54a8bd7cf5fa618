"""Fitting in two processes: the same weights as in one, one writer, no image twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from forked import run_two
from samadapt.adapters.registry import load_adapter
from samadapt.training.fit import run_fit
from small_models import tiny_nano
from tiny_dataset import make_dataset

pytest.importorskip("accelerate")

SETTINGS = {"images_per_step": 2, "prompts_per_object": 1, "seed": 3, "checkpoint_steps": 1}

WORKER = """
import json, sys
from pathlib import Path
from samadapt.models.hashing import hash_tensors
from samadapt.training.fit import run_fit
from small_models import tiny_nano
from tiny_dataset import TinyDataset

folder = Path(sys.argv[1])
data = TinyDataset(folder / "tiny/images", folder / "tiny/test.json").open()
report = run_fit(
    "stable", tiny_nano(), [data], folder / "both", cache=folder / "cache",
    progress=False, settings=json.loads(sys.argv[2]),
)
weights = hash_tensors(dict(report.adapter.state_dict()))
print(json.dumps([weights, report.values["prompts"], [s.image for s in report.skipped]]))
"""


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    tiny = make_dataset(tmp_path / "tiny")
    tiny.truncate(2)
    first, second = run_two(WORKER, str(tmp_path), json.dumps(SETTINGS))
    assert first == second
    assert first[1:] == [6, ["2.png"]]

    alone = run_fit(
        "stable",
        tiny_nano(),
        [tiny.open()],
        tmp_path / "one",
        cache=tmp_path / "cache",
        progress=False,
        settings=SETTINGS,
    )
    together = load_adapter(tmp_path / "both", tiny_nano()).state_dict()
    for name, expected in alone.adapter.state_dict().items():
        torch.testing.assert_close(together[name], expected, rtol=1e-3, atol=1e-5)
    assert alone.values["encoded"] == 0, "the processes shared the cache"
