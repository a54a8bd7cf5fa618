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
"""Prompts typical of a person who segments one known kind of object."""

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
"""Recipe for one task and few masks; the weights are chosen on held-out images."""

TASK_SCHEDULE: Mapping[str, Any] = MappingProxyType(
    {
        name: value
        for name, value in TASK_RECIPE.items()
        if name not in ("learning_rate", "weight_decay", "warmup")
    }
)
"""The part of `TASK_RECIPE` that sets the number and kinds of prompts."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a method, named as in "method:variant".

    Attributes:
        changes: fields that differ from the default config.
        about: its purpose, in a few words.
        row: its row in the task benchmark's table; None leaves it out.
    """

    changes: Mapping[str, Any]
    about: str
    row: str | None = None


@dataclass(frozen=True, slots=True)
class Fitting:
    """Default training of a method's adapters.

    Attributes:
        recipe: fields that differ from the defaults of `FitRecipe`, by name.
        one_task: whether an adapter learns exactly one category, whose name it needs.
        task_recipe: fields that differ from the defaults when the task benchmark fits the method;
            with them all methods get prompts of the same number and kinds.
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
        masks: number of training masks.
        position_spread: computes the spread of the masks' positions in their images; reads every
            mask.
    """

    seed: int
    masks: int
    position_spread: Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One phase of training: the trained parameters and their loss.

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
        of the adapter after the earlier phases, which are computed once.
        """

    def calibrate(
        self, model: SegmentationModel, images: Iterable[MarkedImage], count: int, seed: int
    ) -> None:
        """Fit everything that is not trained by gradients, after the last phase.

        It depends on the parameters, the images and the seed alone, so that an interrupted run
        can repeat it.

        Args:
            model: the adapter's.
            images: some of the training images, encoded or read one by one; unusable ones are
                left out.
            count: number of these images, at least 1.
            seed: of everything random.
        """
