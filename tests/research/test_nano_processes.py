"""Training nano in two processes: same weights everywhere, other samples, one writer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from forked import run_two
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import write_weights
from small_models import TINY_NANO

pytest.importorskip("accelerate")


WORKER = """
import json, sys
import numpy as np, torch
from samadapt.models.hashing import hash_tensors
from research.nano.train import Recipe, Trainer

folder = sys.argv[1]
trainer = Trainer(
    Recipe(
        folder,
        folder + "/run",
        init=folder + "/start.safetensors",
        pretrain_minutes=1.0,
        warmup_steps=1,
        max_steps=9,
    )
)
process = trainer.accelerator.process_index
drawn = int(trainer.rng.integers(1 << 30))
trainer._set_clock(1.0 + process)
rng = np.random.default_rng(process)
hashes = []
for step in range(3):
    masks = np.zeros((1, 2, 64, 64), np.uint8)
    masks[..., 10 : 30 + 10 * process, 20:50] = 1
    batch = {
        "image": torch.from_numpy(rng.integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)),
        "masks": torch.from_numpy(masks),
        "regions": torch.from_numpy(rng.integers(0, 3, (1, 8, 8))),
    }
    if step == 1 and process == 1:  # one process alone meets a gradient that is not finite
        hook = trainer.network.decoder.prior_gain.register_hook(lambda g: g * torch.nan)
    (trainer.train_step if step else trainer.pretrain_step)(batch)
    if step == 1 and process == 1:
        hook.remove()
    hashes.append(hash_tensors(dict(trainer.network.named_parameters())))
trainer.save()
trainer.accelerator.end_training()
print(json.dumps([process, drawn, trainer.spent, hashes]))
"""


def test_processes_agree_on_weights_and_time(tmp_path: Path) -> None:
    write_weights(NanoNetwork(TINY_NANO), tmp_path / "start.safetensors", {})
    first, second = run_two(WORKER, str(tmp_path))
    assert (first[0], second[0]) == (0, 1)
    assert first[1] != second[1]  # other samples
    assert (first[2], second[2]) == (1.0, 1.0)  # the main process's clock
    assert first[3] == second[3]  # the same weights after every step
    assert first[3][0] == first[3][1] != first[3][2]  # nobody took the spoilt step
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
