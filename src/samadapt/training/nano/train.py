"""Train nano, from nothing or onwards from any weights, for a given number of minutes.

    python -m samadapt.training.nano.train --data DIR --out runs/nano --minutes 60

`--data` holds the folders voc, clothing and carparts, each with images/ and train.json (COCO).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from samadapt.models.nano.network import NanoNetwork, place
from samadapt.models.nano.weights import normalise, read_weights, write_weights
from samadapt.training.nano.clicks import ClickSimulator
from samadapt.training.nano.data import TrainingSamples, read_photos
from samadapt.training.nano.losses import mask_loss, region_contrastive_loss, soft_iou
from samadapt.training.nano.recalibrate import recalibrate

SOURCES = {"voc": 0.55, "clothing": 0.25, "carparts": 0.2}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run.

    A photo's longer side is resampled to `side` times a number between the two scales, and a crop
    of `side` is cut from it. Minutes are wall-clock time. At the end batch-norm statistics are
    measured anew on `recalibration` batches.
    """

    data: str
    out: str
    minutes: float = 60.0
    init: str | None = None
    pretrain_minutes: float = 0.0
    contrast_weight: float = 0.3
    side: int = 256
    smallest_scale: float = 0.8
    largest_scale: float = 2.4
    batch: int = 8
    objects: int = 2
    taught_rounds: int = 2
    silent_rounds: int = 3
    generated: float = 0.35
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    warmup_steps: int = 300
    decay_share: float = 0.3
    ema: float = 0.998
    recalibration: int = 60
    held_out: float = 0.04
    seed: int = 0
    workers: int = 1
    checkpoint_minutes: float = 5.0
    device: str = "cpu"


class Trainer:
    """Holds the network, its running average, the optimiser and the clock of one run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.device = torch.device(recipe.device)
        self.out = Path(recipe.out)
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.network = NanoNetwork()
        if recipe.init:
            self.network = read_weights(Path(recipe.init)).network
        self.network.requires_grad_(True)
        place(self.network, self.device)
        self.average = deepcopy(self.network).requires_grad_(False)
        self.optimizer = _optimizer(self.network, recipe)
        self.rng = np.random.default_rng(recipe.seed)
        self.pool = ThreadPoolExecutor(max(1, min(8, torch.get_num_threads())))
        self.step = 0
        self.spent = 0.0
        self._resume()

    def run(self) -> None:
        """Train until the minutes are spent; leaves `nano.safetensors` in the output folder."""
        log = (self.out / "log.jsonl").open("a", buffering=1)
        log.write(json.dumps({"recipe": asdict(self.recipe), "torch": torch.__version__}) + "\n")
        totals: dict[str, list[float]] = {}
        last_save = start = time.monotonic()
        before = self.spent
        for batch in self._loader():
            self.spent = before + (time.monotonic() - start) / 60
            if self.spent >= self.recipe.minutes:
                break
            early = self.spent < self.recipe.pretrain_minutes
            report = self.pretrain_step(batch) if early else self.train_step(batch)
            for name, value in report.items():
                totals.setdefault(name, []).append(value)
            if self.step % 50 == 0:
                line: dict[str, float] = {"step": self.step, "minutes": round(self.spent, 2)}
                line |= {k: round(float(np.mean(v)), 4) for k, v in totals.items()}
                log.write(json.dumps(line) + "\n")
                totals.clear()
            if time.monotonic() - last_save > self.recipe.checkpoint_minutes * 60:
                self.save()
                last_save = time.monotonic()
        images = (batch["image"] for batch in islice(self._loader(), self.recipe.recalibration))
        recalibrate(self.average, images, self.device)
        self.save()

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One optimiser step: encode once, then a few rounds of clicks on each object."""
        recipe = self.recipe
        rate = self._set_learning_rate()
        self.network.train()
        masks = batch["masks"].flatten(0, 1)
        target = F.avg_pool2d(masks[:, None].float(), 4)[:, 0].to(self.device)
        rows = torch.arange(len(batch["image"])).repeat_interleave(recipe.objects).to(self.device)
        origin = self._random_origin()
        taught = self._taught_rounds()
        simulator = ClickSimulator(masks.numpy(), self.rng, len(taught), self.pool)
        simulator.start()
        report: dict[str, float] = {"lr": rate}
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            features = self.network(normalise(batch["image"].to(self.device)))
            contrast = region_contrastive_loss(features.keys, batch["regions"].to(self.device))
            loss = recipe.contrast_weight * contrast
            report["contrast"] = float(contrast.detach())
            objects = features.rows(rows)
            previous: Tensor | None = None
            for turn, teach in enumerate(taught):
                prompts = simulator.prompts(previous, self.device)
                with torch.set_grad_enabled(teach):
                    logits, scores, prior = self.network.answer(objects, prompts, origin)
                if teach:
                    ambiguous = torch.from_numpy(~simulator.has_box).to(self.device) & (turn == 0)
                    part, overlap = _round_loss(logits, scores, prior, target, ambiguous)
                    loss = loss + part / recipe.taught_rounds
                    report[f"iou{'1' if turn == 0 else '_last'}"] = float(overlap.mean())
                previous = logits[:, :1].detach()
                if turn + 1 < len(taught):
                    full = F.interpolate(previous, scale_factor=2.0, mode="bilinear")
                    simulator.refine((full[:, 0] > 0).cpu().numpy())
        self._descend(loss)
        report["loss"] = float(loss.detach())
        return report

    def pretrain_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One step of the encoder alone: pixels of one region alike, of different ones not."""
        rate = self._set_learning_rate()
        self.network.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            features = self.network(normalise(batch["image"].to(self.device)))
        loss = region_contrastive_loss(features.keys, batch["regions"].to(self.device))
        self._descend(loss)
        return {"lr": rate, "contrast": float(loss.detach())}

    def save(self) -> None:
        """Write the shippable weights (running average) and what is needed to resume."""
        write_weights(self.average, self.out / "nano.safetensors", {"steps": self.step})
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.spent,
        }
        temporary = self.out / "checkpoint.pt.part"
        torch.save(state, temporary)
        temporary.replace(self.out / "checkpoint.pt")

    def _resume(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent = state["step"], state["minutes"]
        self.rng = np.random.default_rng([self.recipe.seed, self.step])

    def _loader(self) -> DataLoader[dict[str, Tensor]]:
        recipe = self.recipe
        sources = [
            (read_photos(Path(recipe.data) / name, recipe.held_out), share)
            for name, share in SOURCES.items()
        ]
        samples = TrainingSamples(
            sources,
            recipe.generated,
            recipe.side,
            recipe.objects,
            recipe.seed + self.step,
            (recipe.smallest_scale, recipe.largest_scale),
        )
        return DataLoader(
            samples,
            recipe.batch,
            num_workers=recipe.workers,
            prefetch_factor=4 if recipe.workers else None,
        )

    def _set_learning_rate(self) -> float:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / recipe.warmup_steps)
        left = max(0.0, 1 - self.spent / recipe.minutes)
        cool = min(1.0, left / recipe.decay_share) if recipe.decay_share else 1.0
        rate = recipe.learning_rate * warm * max(0.01, cool)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _random_origin(self) -> tuple[float, float]:
        """A crop may lie anywhere in the image that it would come from."""
        room = max(0.0, 1 - self.recipe.side / self.network.config.input_side)
        return float(self.rng.uniform(0, room)), float(self.rng.uniform(0, room))

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        if torch.isfinite(norm):
            self.optimizer.step()
            self._update_average()
        self.step += 1

    def _taught_rounds(self) -> list[bool]:
        """Which rounds of clicks are taught: the first and the last ones, some silent between."""
        silent = int(self.rng.integers(self.recipe.silent_rounds + 1))
        return [True, *[False] * silent, *[True] * (self.recipe.taught_rounds - 1)]

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        mine, theirs = self.average.state_dict(), self.network.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])


def _round_loss(
    logits: Tensor, scores: Tensor, prior: Tensor, target: Tensor, ambiguous: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss of one round, and the IoU (B,) of the single mask.

    Token 0 must give the object; of the three candidates only the best one is taught, and only
    after a single click; the score head learns the IoU that each mask really has.
    """
    every = target[:, None].expand_as(logits)
    losses = mask_loss(logits, every)
    overlaps = soft_iou(logits.detach(), every)
    loss = losses[:, 0].mean()
    if bool(ambiguous.any()):
        best = losses[:, 1:].amin(dim=1) + 0.05 * losses[:, 1:].mean(dim=1)
        loss = loss + 0.7 * (best * ambiguous).sum() / len(target)
    loss = loss + F.mse_loss(scores, overlaps)
    doubled = F.interpolate(prior.float(), logits.shape[-2:], mode="bilinear")
    loss = loss + 0.3 * mask_loss(doubled[:, 0], target).mean()
    return loss, overlaps[:, 0]


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim >= 2]
    plain = [p for p in network.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


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
    Trainer(Recipe(**vars(parser.parse_args()))).run()


if __name__ == "__main__":
    main()
