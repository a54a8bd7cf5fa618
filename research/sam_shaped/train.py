"""Train the SAM-shaped base from cached embeddings: `python -m research.sam_shaped.train`.

SAM's recipe (Kirillov et al. 2023, appendix A), shortened: boxes first, at half the resolution;
then boxes, single points and corrections; at last at the full resolution. Boxes are exact or have
10 % of noise, never more, and the single-mask token never answers a lone point: this is what makes
SAM brittle. A run that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from research.nano.losses import mask_loss, soft_iou
from research.sam_shaped.cache import CachedImage, read_cached
from research.sam_shaped.decode import decode
from research.sam_shaped.network import build_network, initialise
from research.sam_shaped.prompts import TrainingPrompts, correcting_clicks, first_prompts
from research.sam_shaped.validate import validate
from samadapt.data.files import replacing
from samadapt.models.nano.model import load_nano
from samadapt.training.prompt_sampling import PromptKind

CHECKPOINT = "checkpoint.pt"
EXACT, NOISY, POINT = PromptKind(), PromptKind(noise=0.1), PromptKind(points=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What decides a run; shares are of its minutes.

    Attributes:
        minutes: of training, over all starts.
        boxes_until: only boxes until then.
        quarter_until, half_until: at a quarter and at half the resolution until then.
        images, objects: per step at half the resolution; twice and half as many images at the
            others.
        rate: highest learning rate.
        decay: share at the end in which it falls to 0.
    """

    minutes: float = 60.0
    boxes_until: float = 0.3
    quarter_until: float = 0.35
    half_until: float = 0.75
    images: int = 6
    objects: int = 4
    rate: float = 5e-4
    warmup: int = 100
    decay: float = 0.3
    weight_decay: float = 0.01
    average: float = 0.998
    seed: int = 0

    def factor(self, done: float) -> int:
        """How many times coarser the grid is when this share of the minutes is used up."""
        if done < self.quarter_until:
            return 4
        return 2 if done < self.half_until else 1


def draw_batch(
    files: Sequence[Path], images: int, objects: int, rng: Generator
) -> tuple[list[CachedImage], Tensor, Tensor]:
    """Images, the masks (B, S, S) uint8 of some of their objects, and whose they are (B,)."""
    chosen = [read_cached(files[i]) for i in rng.integers(len(files), size=images)]
    masks, owner = [], []
    for number, image in enumerate(chosen):
        picked = rng.permutation(len(image.masks))[:objects]
        masks += [image.masks[i] for i in picked]
        owner += [number] * len(picked)
    return chosen, torch.from_numpy(np.stack(masks)), torch.tensor(owner)


class Trainer:
    """One run.

    Args:
        network: with its first weights.
        cache: folder with "train" and "valid".
        out: folder of the checkpoint and the log.
        schedule: of the run.
    """

    def __init__(self, network: Any, cache: Path, out: Path, schedule: Schedule) -> None:
        self.network = network
        self.cache = cache
        self.out = out
        self.schedule = schedule
        network.requires_grad_(True)
        network.vision_encoder.pyramid.requires_grad_(False)
        network.shared_image_embedding.requires_grad_(False)
        network.prompt_encoder.shared_embedding.requires_grad_(False)
        self.trained = [p for p in network.parameters() if p.requires_grad]
        matrices = [p for p in self.trained if p.ndim > 1]
        vectors = [p for p in self.trained if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": schedule.weight_decay},
             {"params": vectors, "weight_decay": 0.0}],
            lr=schedule.rate,
        )  # fmt: skip
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.step, self.minutes = 0, 0.0
        self.side = network.prompt_encoder.input_image_size
        self._means: dict[str, list[float]] = {}

    # -- one step ---------------------------------------------------------------------------

    def take_step(self, files: Sequence[Path], rng: Generator) -> None:
        """Draw a batch, answer first prompts and perhaps corrections, and update."""
        done = self.minutes / self.schedule.minutes
        factor = self.schedule.factor(done)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(done)
        count = max(1, self.schedule.images * factor // 2)
        images, masks, owner = draw_batch(files, count, self.schedule.objects, rng)
        features = torch.stack([image.features for image in images]).float()
        truth = masks.float()
        if factor > 1:
            features = F.avg_pool2d(features, factor)
            truth = F.avg_pool2d(truth[:, None], factor)[:, 0]
        boxes_only = done < self.schedule.boxes_until
        kind = self._kind(boxes_only, rng)
        multimask = bool(kind.points) or (not boxes_only and rng.random() < 0.2)
        rounds = 1 if boxes_only else 1 + int(rng.random() < 0.35) + int(rng.random() < 0.1)
        prompts = first_prompts(masks.numpy(), kind, self.side, rng)
        with torch.autocast("cpu", torch.bfloat16):
            embedded = self.network.vision_encoder.neck(features)
        cut = embedded.detach().float().requires_grad_()
        for turn in range(rounds):
            with torch.autocast("cpu", torch.bfloat16):
                logits, scores = decode(self.network, cut[owner], prompts, multimask and turn == 0)
            loss = self._loss(logits, scores, truth, kind if turn == 0 else None)
            loss.backward()  # type: ignore[no-untyped-call]
            if turn + 1 < rounds:
                prompts = _next_prompts(prompts, logits.detach(), scores.detach(), truth, self.side)
        embedded.backward(cut.grad.to(embedded.dtype) if cut.grad is not None else None)
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        weight = min(self.schedule.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                if value.requires_grad:
                    mean.lerp_(value, 1 - weight)

    def _kind(self, boxes_only: bool, rng: Generator) -> PromptKind:
        if not boxes_only and rng.random() < 0.4:
            return POINT
        return EXACT if rng.random() < 0.5 else NOISY

    def _loss(
        self, logits: Tensor, scores: Tensor, truth: Tensor, kind: PromptKind | None
    ) -> Tensor:
        """Cheapest candidate's mask loss, and the squared error of all predicted IoUs."""
        wanted = truth[:, None].expand_as(logits)
        costs = mask_loss(logits, wanted)
        overlaps = soft_iou(logits.detach(), wanted)
        name = "later" if kind is None else kind.name
        best = overlaps.amax(1).mean()
        self._means.setdefault(f"iou_{name}_{logits.shape[1]}", []).append(float(best))
        cheapest = costs.amin(1).mean()
        self._means.setdefault("cost", []).append(float(cheapest.detach()))
        return cheapest + F.mse_loss(scores, overlaps)

    def _rate(self, done: float) -> float:
        rising = min(1.0, (self.step + 1) / self.schedule.warmup)
        falling = min(1.0, max(0.0, (1 - done) / self.schedule.decay))
        return self.schedule.rate * rising * falling

    # -- the run ----------------------------------------------------------------------------

    def run(self) -> None:
        """Train until the minutes are used up."""
        started = last_check = time.monotonic()
        before = self.minutes
        files: list[Path] = []
        rng = np.random.default_rng([self.schedule.seed, self.step])
        torch.manual_seed(self.step)
        while self.minutes < self.schedule.minutes:
            if self.step % 50 == 0 or not files:
                files = sorted((self.cache / "train").glob("*.safetensors"))
            self.take_step(files, rng)
            self.minutes = before + (time.monotonic() - started) / 60
            if self.step % 50 == 0:
                means = {n: round(float(np.mean(v)), 4) for n, v in sorted(self._means.items())}
                self._log({"images": len(files), **means})
                self._means.clear()
            if time.monotonic() - last_check > 270:
                self.check()
                last_check = time.monotonic()
        self.check()

    def check(self) -> None:
        """Write a checkpoint, then a line of the validation curve."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
        }
        with replacing(self.out / CHECKPOINT) as file:
            torch.save(state, file)
        found = validate(self.average, sorted((self.cache / "valid").glob("*.safetensors")))
        self._log({"validation": found})

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        path = self.out / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.minutes = state["step"], state["minutes"]

    def _log(self, values: dict[str, Any]) -> None:
        line = {"step": self.step, "minutes": round(self.minutes, 2), **values}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _next_prompts(
    prompts: TrainingPrompts, logits: Tensor, scores: Tensor, truth: Tensor, side: int
) -> TrainingPrompts:
    """With a click where the mask of the best score is wrong, and that mask's logits."""
    best = scores.argmax(1)
    chosen = logits[torch.arange(len(logits)), best]
    points, labels = correcting_clicks(truth > 0.5, chosen, side)
    return prompts.corrected(points, labels, chosen[:, None])


def first_network(cache: Path, seed: int) -> Any:
    """The shipped nano's encoder, with a fresh neck and a fresh decoder."""
    shipped: Any = load_nano(encoder_dtype=torch.float32)
    network = build_network(shipped.config)
    network.set_attn_implementation("eager")  # on a CPU much faster backwards, with few tokens
    network.vision_encoder.pyramid.load_state_dict(shipped._network.encoder.state_dict())
    files = sorted((cache / "train").glob("*.safetensors"))[:30]
    features = torch.stack([read_cached(path).features for path in files]).float()
    flat = features.transpose(0, 1).flatten(1)
    torch.manual_seed(seed)
    initialise(network, flat.mean(1), flat.std(1) + 1e-3, seed)
    return network


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    for name, value in asdict(Schedule()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    values = vars(parser.parse_args())
    cache, out = values.pop("cache"), values.pop("out")
    schedule = Schedule(**values)
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(first_network(cache, schedule.seed), cache, out, schedule)
    trainer.resume()
    trainer.run()


if __name__ == "__main__":
    main()
