"""`Fitting`, `Variant` and `Trainable`: a method's declaration of how its adapters are fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor, ImageEmbedding], Tensor]
"""Loss of each of B prompts (B,), from logits (B, h, w), target (B, h, w) in 0..1, valid cells
(h, w) bool, and the view that was decoded."""

MarkedImage: TypeAlias = tuple[ImageEmbedding, Sequence[NDArray[np.bool_]]]
"""An encoded image with the masks (H, W) that are known in it."""

NOISY = "noisy"
"""A box whose noise is itself drawn from the recipe's range."""

EDGE = "edge"
"""One point of the object, near its edge."""

TASK_PROMPTS = ("1p", EDGE, "3p", NOISY, "box")
"""Prompts as a person gives them who wants one known thing."""

TASK_RECIPE: Mapping[str, Any] = MappingProxyType(
    {
        "steps": 120,
        "learning_rate": 2e-3,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "objects_per_image": 2,
        "prompts": TASK_PROMPTS,
        "prompts_per_object": 1,
        "held_out": 0.2,
        "patience": 4,
    }
)
"""Recipe for one task and few masks: so many steps, weights chosen by images held out."""

TASK_SCHEDULE: Mapping[str, Any] = MappingProxyType(
    {
        name: value
        for name, value in TASK_RECIPE.items()
        if name not in ("learning_rate", "weight_decay", "warmup")
    }
)
"""The part of `TASK_RECIPE` that says how many prompts of which kinds are learned from."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a method, named as in "method:variant".

    Attributes:
        changes: of the default config.
        about: what it is for, in a few words.
        row: its row in the task benchmark's table; None leaves it out.
    """

    changes: Mapping[str, Any]
    about: str
    row: str | None = None


@dataclass(frozen=True, slots=True)
class Fitting:
    """Default training of a method's adapters.

    Attributes:
        recipe: what differs from the defaults of `FitRecipe`, by name.
        one_task: whether an adapter learns one category, and has to know its name.
        task_recipe: what differs from them when the task benchmark fits the method, so that all
            methods there get prompts of the same number and kinds.
        row: its row in the task benchmark's table; None leaves it out.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    one_task: bool = False
    task_recipe: Mapping[str, Any] = field(default_factory=dict)
    row: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """Facts about a training run that are known before it begins.

    Attributes:
        seed: of everything random.
        masks: how many masks it learns from.
        position_spread: computes how far apart they lie in their images; reads every mask.
    """

    seed: int
    masks: int
    position_spread: Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One phase of training: the parameters that learn, and the loss that they learn from.

    Attributes:
        parameters: at least one.
        loss: of each prompt.
        points_loss: loss of moved outline points, added times the recipe's `points_weight`.
    """

    parameters: tuple[nn.Parameter, ...]
    loss: Loss
    points_loss: Loss | None = None


class Trainable(Protocol):
    """The methods that the trainer calls on an adapter."""

    def phases(self) -> Sequence[Phase]:
        """The phases of training, in order.

        The first one learns through the mask decoder. Each later one learns from the predictions
        of the adapter as the phases before left it, which the decoder gives once.
        """

    def calibrate(
        self, model: SegmentationModel, images: Iterable[MarkedImage], count: int, seed: int
    ) -> None:
        """Fit everything that is not trained by gradients, after the last phase.

        It depends on the parameters, the images and the seed alone: a run that was killed in
        between does it again.

        Args:
            model: the adapter's.
            images: some of the training images, encoded or read one by one; those that cannot be
                used are left out.
            count: how many there are, at least 1.
            seed: of everything random.
        """
