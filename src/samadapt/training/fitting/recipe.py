"""`FitRecipe`: how an adapter is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from samadapt.adapters.fitting import EDGE, NOISY
from samadapt.errors import DataError
from samadapt.spelling import did_you_mean
from samadapt.training.prompt_sampling import PromptKind

ROBUST = ("box", NOISY, "1p", "3p", "5p", "10p")
"""Prompts of all qualities (RTS of Stable-SAM)."""

_LOOKS = ("least", "validate_steps")
_OR_NONE = (
    "steps",
    "objects_per_image",
    "prompts_per_object",
    "max_objects",
    "shots",
    "patience",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecipe:
    """Settings of one training run.

    Attributes:
        epochs: number of visits of every image, unless `steps` are given.
        steps: number of steps, for any number of images; None for whole epochs.
        learning_rate: of AdamW, after a linear warm-up; it falls along a cosine to nearly 0.
        weight_decay: of AdamW.
        warmup: share of the steps for the warm-up.
        clip: largest norm of a step's gradient.
        images_per_step: number of images per optimiser step.
        objects_per_image: largest number of objects, drawn in every epoch; None for all.
        prompts: kinds of prompts, by name; "noisy" is a box with a noise drawn from `box_noise`,
            "edge" a point near the object's edge.
        prompts_per_object: number of these kinds per visit of an object; None for all. The
            objects of an image get the same kinds, so that they share a batch.
        box_noise: least and largest noise s of a "noisy" box.
        category: use objects of this category alone; None for all.
        shots: number of its objects to use; None for all. It is an error if there are fewer.
        held_out: share of the images held out for validation, on which the best weights are
            chosen; 0 for none.
        least: smallest number of objects with which images are held out.
        validate_steps: steps between validations.
        patience: number of validations without a new best after which the run ends; None for no
            early end.
        points_weight: weight (lambda) of the loss of moved outline points beside the mask loss,
            where both are trained at the same time.
        min_area: leave out objects of fewer pixels.
        max_objects: largest number of objects of all datasets together; None for all.
        seed: of everything random.
        checkpoint_steps: steps between checkpoints; slow steps are kept more often.

    Raises:
        DataError: an invalid value.
    """

    epochs: int = 1
    steps: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.03
    clip: float = 1.0
    images_per_step: int = 4
    objects_per_image: int | None = 6
    prompts: tuple[str, ...] = ROBUST
    prompts_per_object: int | None = 3
    box_noise: tuple[float, float] = (0.1, 0.6)
    category: str | None = None
    shots: int | None = None
    held_out: float = 0.0
    least: int = 20
    validate_steps: int = 20
    patience: int | None = None
    points_weight: float = 1.0
    min_area: int = 1
    max_objects: int | None = None
    seed: int = 0
    checkpoint_steps: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", tuple(self.prompts))
        low, high = (float(value) for value in self.box_noise)
        object.__setattr__(self, "box_noise", (low, high))
        for name in ("epochs", "images_per_step", "min_area", "checkpoint_steps", *_LOOKS):
            _at_least_one(name, getattr(self, name))
        for name in _OR_NONE:
            if getattr(self, name) is not None:
                _at_least_one(name, getattr(self, name))
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise DataError(
                f"learning_rate={self.learning_rate}: nothing would be trained, use more than 0"
            )
        for name in ("weight_decay", "warmup", "held_out"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value < 1):
                raise DataError(f"{name}={value}: use a number from 0 to less than 1")
        if not (math.isfinite(self.points_weight) and self.points_weight >= 0):
            raise DataError(f"points_weight={self.points_weight}: use 0 or more")
        if not self.clip > 0:
            raise DataError(f"clip={self.clip}: use a positive number")
        if self.seed < 0:
            raise DataError(f"seed {self.seed}: use 0 or more")
        if not self.prompts:
            raise DataError("no prompts: nothing would be trained; name at least one kind")
        for name in self.prompts:
            if name not in (NOISY, EDGE):
                PromptKind.parse(name)
        if not low <= high:
            raise DataError(f"box_noise {self.box_noise}: give the least and the largest noise")
        PromptKind(low), PromptKind(high)

    def kind(self, name: str, rng: np.random.Generator) -> PromptKind:
        """The kind of prompt of a name in `prompts`; "noisy" draws its noise."""
        if name == NOISY:
            return PromptKind(rng.uniform(*self.box_noise))
        return PromptKind(points=1) if name == EDGE else PromptKind.parse(name)

    def kinds_of_visit(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Names of the kinds of prompts for one visit of an image."""
        count = self.prompts_per_object
        if count is None or count >= len(self.prompts):
            return self.prompts
        chosen = rng.choice(len(self.prompts), count, replace=False)
        return tuple(self.prompts[index] for index in sorted(chosen))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0, 1, ..., steps - 1."""
        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        done = (step - warm) / max(1, steps - warm)
        return self.learning_rate * max(0.01, (1 + math.cos(math.pi * done)) / 2)

    def changed(self, **changes: Any) -> FitRecipe:
        """Return the recipe with other values; `epochs` replace a number of steps.

        Raises:
            DataError: an unknown setting, or an invalid value.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                hint = did_you_mean(name, known)
                raise DataError(f"unknown setting {name!r}{hint}: a recipe has {', '.join(known)}")
        if changes.get("epochs") is not None and changes.get("steps") is None:
            changes["steps"] = None
        return replace(self, **changes)

    def to_dict(self) -> Mapping[str, Any]:
        """Return plain JSON values."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _at_least_one(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DataError(f"{name}={value!r}: use a whole number, 1 or more")
