"""Train nano, from a pretrained trunk or onwards from any weights, for a given number of minutes.

    python -m research.nano.train --data DIR --out runs/nano --trunk TRUNK.pth --minutes 60
    accelerate launch -m research.nano.train --data DIR --out runs/nano --init A.safetensors

`--data` holds the folders of `research.nano.recipe.SOURCES`, each with images/ and train.json
(COCO). The same command goes on with a run that was interrupted. `accelerate launch` runs one
process per GPU (`torchrun --nproc_per_node 2 -m ...` runs two on a CPU); gradients are averaged
over the processes, of which each draws its own samples.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from research.nano.checkpoint import load_checkpoint, save_checkpoint
from research.nano.clicks import ClickSimulator
from research.nano.data import TrainingSamples, read_photos
from research.nano.log import TrainingLog
from research.nano.recipe import SOURCES, Recipe
from research.nano.running_average import update_average
from research.nano.step import Exercise, StepLoss
from research.nano.trunk_weights import read_trunk
from research.nano.validate import summary, validate
from samadapt.errors import ModelError, SamadaptError
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.model import load_nano
from samadapt.models.nano.network import NanoNetwork, place
from samadapt.models.nano.trunk import Trunk
from samadapt.models.nano.weights import NanoWeights, read_weights, write_weights
from samadapt.models.precision import has_fast_bfloat16, resolve_device

__all__ = ["SOURCES", "Recipe", "Trainer"]

Report = dict[str, Tensor]

_LOG_STEPS = 50
_CLOCK_STEPS = 10
"""Beside a GPU the processes compare clocks this often: every comparison waits for the GPU."""
_LARGEST_NORM = 2.0
_TRIED_OBJECTS, _TRIED_CLICKS = 12, 20
_PATHS = ("data", "out", "init", "trunk")


class Trainer:
    """Holds the network, its running average, the optimiser and the clock of one run.

    Raises:
        ModelError: accelerate is missing, or there is no such device.
        CheckpointError: the weights or the checkpoint to start from cannot be used.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.accelerator = _accelerator(recipe)
        self.device: torch.device = self.accelerator.device
        self.is_main: bool = self.accelerator.is_main_process
        self.out = Path(recipe.out)
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        start = read_weights(Path(recipe.init)) if recipe.init else None
        self.network = start.network if start else self.new_network()
        self.origin = _origin(start)
        self.network.requires_grad_(True)
        freeze_parts(self.network.encoder.trunk, recipe.frozen_blocks)
        place(self.network, self.device)
        self.average = deepcopy(self.network).requires_grad_(False)
        self.optimizer = _optimizer(self.network, recipe)
        self.step, self.spent = load_checkpoint(
            self.out, self.network, self.average, self.optimizer
        )
        self.step_loss = self.accelerator.prepare_model(StepLoss(self.network, recipe))
        process = self.accelerator.process_index
        self.rng = np.random.default_rng([recipe.seed, self.step, process])
        torch.manual_seed(int(self.rng.integers(2**31)))
        self.pool = ThreadPoolExecutor(max(1, min(8, torch.get_num_threads())))

    def new_network(self) -> NanoNetwork:
        """Return an untrained network, with a pretrained trunk if the recipe names one."""
        network = NanoNetwork()
        if self.recipe.trunk:
            network.encoder.trunk.load_state_dict(read_trunk(Path(self.recipe.trunk)))
        return network

    def run(self) -> None:
        """Train until the minutes are spent; leaves `nano.safetensors` in the output folder."""
        log = TrainingLog(self.out / "log.jsonl" if self.is_main else None, _LOG_STEPS)
        processes = self.accelerator.num_processes
        log.write(
            {"recipe": asdict(self.recipe), "torch": torch.__version__, "processes": processes}
        )
        stream = iter(self._loader())
        last_save = last_tried = start = time.monotonic()
        before = self.spent
        while True:
            self._set_clock(before + (time.monotonic() - start) / 60)
            if self._is_over():
                break
            is_early = self.spent < self.recipe.pretrain_minutes
            batch = next(stream)
            report = self.pretrain_step(batch) if is_early else self.train_step(batch)
            facts = {"minutes": round(self.spent, 2), "lr": self._learning_rate()}
            log.add(self.step, report, facts)
            if time.monotonic() - last_save > self.recipe.checkpoint_minutes * 60:
                self.save()
                last_save = time.monotonic()
            if 0 < self.recipe.validate_minutes * 60 < time.monotonic() - last_tried:
                log.write({"step": self.step, "held_out": self.try_out()})
                last_tried = time.monotonic()
        self.save()
        self.accelerator.end_training()

    def train_step(self, batch: dict[str, Tensor]) -> Report:
        """One optimiser step: encode once, then a few rounds of clicks on each object."""
        return self._take_step(batch, self._exercise(batch))

    def pretrain_step(self, batch: dict[str, Tensor]) -> Report:
        """One step of the encoder alone: pixels of one region alike, of different ones not."""
        return self._take_step(batch, None)

    def save(self) -> None:
        """Write the shippable weights (running average) and what is needed to resume.

        Only the main process writes; the others return at once.
        """
        if not self.is_main:
            return
        network = self.accelerator.unwrap_model(self.step_loss).network
        write_weights(self.average, self.out / "nano.safetensors", self._info())
        save_checkpoint(self.out, network, self.average, self.optimizer, self.step, self.spent)

    def try_out(self) -> dict[str, float]:
        """Measures of the running average on photographs that training does not see.

        Only the main process does it; for the others they are empty.
        """
        if not self.is_main:
            return {}
        self.save()
        model = load_nano(self.out / "nano.safetensors", device=self.device)
        return summary(validate(model, Path(self.recipe.data), _TRIED_OBJECTS, _TRIED_CLICKS))

    def _info(self) -> dict[str, Any]:
        """What the weights file tells of its making: this run and those before it."""
        run = {
            "recipe": {k: v for k, v in asdict(self.recipe).items() if k not in _PATHS},
            "from": self.origin["from"],
            "steps": self.step,
            "minutes": round(self.spent, 1),
            "processes": self.accelerator.num_processes,
            "device": self.device.type,
            "torch": torch.__version__,
        }
        return {"steps": self.step, "runs": [*self.origin["runs"], run]}

    def _take_step(self, batch: dict[str, Tensor], exercise: Exercise | None) -> Report:
        self._set_learning_rate()
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, report = self.step_loss(
            self._to_device(batch["image"]), self._to_device(batch["regions"]), exercise
        )
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), _LARGEST_NORM)
        _skip_unless_finite(self.optimizer, norm)
        self.optimizer.step()
        self.step += 1
        if self.is_main:
            decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
            update_average(self.average, self.network, decay)
        return dict(report)

    def _exercise(self, batch: dict[str, Tensor]) -> Exercise:
        masks = batch["masks"].flatten(0, 1)
        taught = self._taught_rounds()
        first = batch["click"].flatten(0, 1).numpy() if "click" in batch else None
        simulator = ClickSimulator(masks.numpy(), self.rng, len(taught), self.pool, first)
        recipe = self.recipe
        corrections = batch["is_detail"].flatten().numpy() if "is_detail" in batch else None
        simulator.start(
            recipe.boxes, recipe.box_noise, recipe.scattered, recipe.drafts, corrections
        )
        levels, valid = batch.get("levels"), batch.get("level_valid")
        return Exercise(
            self._shrink(masks),
            None if levels is None else self._shrink(levels.flatten(0, 1)),
            None if valid is None else self._to_device(valid.flatten(0, 1)),
            simulator,
            taught,
            self._random_origin(),
        )

    def _shrink(self, masks: Tensor) -> Tensor:
        """Masks (N, ..., S, S) as soft targets at the logits' resolution."""
        there = self._to_device(masks).view(-1, 1, *masks.shape[-2:])
        pooled = F.avg_pool2d(there.float(), NanoConfig.MASK_STRIDE)
        return pooled.view(*masks.shape[:-2], *pooled.shape[-2:])

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _loader(self) -> DataLoader[dict[str, Tensor]]:
        """This process's own samples, others after every resumption."""
        recipe = self.recipe
        seed = int(self.rng.integers(2**31))
        samples = TrainingSamples(
            [
                (read_photos(Path(recipe.data) / name, recipe.held_out), share)
                for name, share in SOURCES.items()
            ],
            recipe.generated,
            recipe.side,
            recipe.objects,
            seed,
            (recipe.smallest_scale, recipe.largest_scale),
            close_ups=recipe.close_ups,
            details=recipe.details,
            hardest=recipe.hardest,
            regions=recipe.regions,
        )
        workers = self._workers()
        return DataLoader(
            samples,
            recipe.batch,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.device.type == "cuda",
        )

    def _workers(self) -> int:
        if self.recipe.workers >= 0:
            return self.recipe.workers
        if self.device.type == "cpu":
            return 1
        cores = (os.cpu_count() or 1) // int(self.accelerator.num_processes)
        return max(1, min(16, cores - 1))

    def _set_clock(self, minutes: float) -> None:
        """Set `spent` to the main process's minutes, so that all agree on rates and the end."""
        if self.accelerator.num_processes == 1:
            self.spent = minutes
        elif self.device.type == "cpu" or self.step % _CLOCK_STEPS == 0:
            from accelerate.utils import broadcast

            clock = torch.tensor([minutes], dtype=torch.float32, device=self.device)
            self.spent = float(broadcast(clock, from_process=0))

    def _is_over(self) -> bool:
        return self._progress() >= 1

    def _progress(self) -> float:
        """Share of the run that is done, by minutes or by steps, whichever is further."""
        recipe = self.recipe
        by_steps = self.step / recipe.max_steps if recipe.max_steps else 0.0
        return max(self.spent / recipe.minutes, by_steps)

    def _set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate() * group["share"]

    def _learning_rate(self) -> float:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / recipe.warmup_steps)
        left = max(0.0, 1 - self._progress())
        cool = min(1.0, left / recipe.decay_share) if recipe.decay_share else 1.0
        return recipe.learning_rate * warm * max(0.01, cool)

    def _random_origin(self) -> tuple[float, float]:
        """A crop may lie anywhere in the image that it would come from."""
        room = max(0.0, 1 - self.recipe.side / self.network.config.input_side)
        return float(self.rng.uniform(0, room)), float(self.rng.uniform(0, room))

    def _taught_rounds(self) -> tuple[bool, ...]:
        """Which rounds of clicks are taught: the first and the last ones, some silent between.

        Few silent rounds are more frequent than many, but a person may click twenty times, and
        what comes late must have been learned as well.
        """
        silent = int((self.recipe.silent_rounds + 1) * self.rng.random() ** 2)
        return (True, *[False] * silent, *[True] * (self.recipe.taught_rounds - 1))


def _accelerator(recipe: Recipe) -> Any:
    """An `accelerate.Accelerator` on the wished device.

    bfloat16 only where the device has instructions for it: emulated, it costs five times more.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise ModelError("training needs accelerate: pip install 'samadapt[train]'") from None
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    device = resolve_device("cpu" if on_cpu else recipe.device)
    if device.index is not None:
        raise ModelError(
            f'device {recipe.device!r}: give "auto", "cpu" or "cuda", and choose among GPUs with '
            "CUDA_VISIBLE_DEVICES"
        )
    decoder_rests_at_first = recipe.pretrain_minutes > 0
    distributed = DistributedDataParallelKwargs(find_unused_parameters=decoder_rests_at_first)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if has_fast_bfloat16(device) else "no",
        kwargs_handlers=[distributed],
    )


def _origin(start: NanoWeights | None) -> dict[str, Any]:
    """Hash of the weights that a run starts from, and the runs that made them."""
    if start is None:
        return {"from": None, "runs": []}
    earlier = start.info.get("runs") or [{"steps": start.info.get("steps")}]
    return {"from": start.hash, "runs": list(earlier)}


def freeze_parts(trunk: Trunk, blocks: int) -> None:
    """Stop gradients to the stem, the first so many blocks, and all depth-wise kernels.

    The backward pass of a depth-wise convolution towards its kernel costs a CPU more than the rest
    of the trunk together.
    """
    for part in trunk.first(blocks):
        part.requires_grad_(False)
    for block in trunk.blocks:
        block.get_submodule("depthwise").requires_grad_(False)


def _optimizer(network: NanoNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW with the trunk at a share of the learning rate, without weight decay."""
    trunk = {id(p) for p in network.encoder.trunk.parameters()}
    learned = [p for p in network.parameters() if p.requires_grad]
    rest = [p for p in learned if id(p) not in trunk]
    groups = [
        _group([p for p in rest if p.ndim >= 2], recipe.weight_decay, 1.0),
        _group([p for p in rest if p.ndim < 2], 0.0, 1.0),
        _group([p for p in learned if id(p) in trunk], 0.0, recipe.trunk_rate),
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _group(parameters: list[nn.Parameter], decay: float, share: float) -> dict[str, Any]:
    return {"params": parameters, "weight_decay": decay, "share": share}


def _skip_unless_finite(optimizer: torch.optim.Optimizer, norm: Tensor) -> None:
    """Make a fused optimiser's next step do nothing if the gradient's norm is NaN or infinite.

    This is the attribute that torch's gradient scalers set: the decision stays on the device, and
    as all processes have the same averaged gradients, it is the same for all.
    """
    optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: faulting it in anew takes half of the time otherwise."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: never mmap single blocks
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        return


def main() -> None:
    """Command line of the training script; every field of `Recipe` is an option."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    defaults = Recipe(data="", out="")
    for name, value in asdict(defaults).items():
        kind = str if value is None else type(value)
        required = name in ("data", "out")
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=value, required=required
        )
    keep_freed_memory()
    torch.set_flush_denormal(True)
    recipe = Recipe(**vars(parser.parse_args()))
    try:
        Trainer(recipe).run()
    except SamadaptError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
