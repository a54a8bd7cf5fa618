"""`Recipe`: everything that decides a training run of nano."""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = {
    "voc": 0.26,
    "vocmore": 0.10,
    "ecssd": 0.13,
    "coco80": 0.13,
    "clothing": 0.12,
    "carparts": 0.08,
    "camvid": 0.06,
    "pedestrians": 0.02,
    "butterflies": 0.02,
    "flowers": 0.01,
    "horses": 0.01,
    "wildlife": 0.01,
    "mushrooms": 0.01,
    "kernels": 0.01,
    "food": 0.02,
    "boards": 0.005,
    "microcontrollers": 0.005,
}
"""Folders of photographs and the share of samples drawn from each."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run.

    A photo's longer side is resampled to `side` times a number between the two scales, and a crop
    of `side` is cut from it. Minutes are wall-clock time. With several processes, `batch` is what
    each of them takes per step, and `workers` is per process too.

    Attributes:
        init: weights to start from; without them, from nothing but the trunk.
        trunk: file of EfficientNet-Lite2's ImageNet weights, see `research.nano.trunk_weights`;
            used when there are no weights to start from.
        trunk_rate: learning rate of the trunk as a share of the others'.
        frozen_blocks: so many of the trunk's first blocks, and its stem, stay as they are.
        max_steps: end after so many steps even if minutes are left; 0 is no limit.
        score_weight, ranking_weight: of the two losses on predicted IoUs.
        taught_rounds: rounds of clicks with a loss on the masks: the first and the last ones.
        silent_rounds: most rounds between them; few are drawn more often than many.
        boxes, box_noise, scattered, drafts: what objects begin with, see `ClickSimulator.start`.
        generated, close_ups, details, hardest, regions: see `TrainingSamples`.
        workers: processes that prepare samples; -1 chooses: one on a CPU, more beside a GPU.
        validate_minutes: so often the running average is tried on held-out photographs, with the
            result in the log; 0 is never.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
    """

    data: str
    out: str
    minutes: float = 60.0
    max_steps: int = 0
    init: str | None = None
    trunk: str | None = None
    trunk_rate: float = 0.1
    frozen_blocks: int = 5
    pretrain_minutes: float = 0.0
    contrast_weight: float = 0.3
    score_weight: float = 1.0
    ranking_weight: float = 0.3
    side: int = 256
    smallest_scale: float = 0.8
    largest_scale: float = 2.4
    batch: int = 8
    objects: int = 2
    taught_rounds: int = 2
    silent_rounds: int = 4
    boxes: float = 0.25
    box_noise: float = 0.6
    scattered: float = 0.15
    drafts: float = 0.15
    generated: float = 0.35
    close_ups: float = 0.35
    details: float = 0.0
    hardest: float = 1.0
    regions: float = 0.0
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    warmup_steps: int = 300
    decay_share: float = 0.3
    ema: float = 0.998
    held_out: float = 0.04
    seed: int = 0
    workers: int = -1
    checkpoint_minutes: float = 5.0
    validate_minutes: float = 60.0
    device: str = "auto"
