"""Which methods can be fitted, and how each is trained unless told otherwise."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import get_method
from samadapt.errors import AdapterError
from samadapt.training.fitting.losses import mask_loss, no_loss
from samadapt.training.fitting.recipe import NOISY, TASK, FitRecipe

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits (B, h, w), target (B, h, w) in 0..1 and valid cells (h, w) to one loss per prompt (B,)."""


@dataclass(frozen=True, slots=True)
class FitMethod:
    """How the adapters of one registered method are trained.

    Attributes:
        name: of the method, as it is registered among the adapters.
        about: what it learns, in a few words.
        recipe: the defaults.
        loss: of B prompts' logits.
        one_task: whether an adapter learns one category, and has to know its name.
    """

    name: str
    about: str
    recipe: FitRecipe = field(default_factory=FitRecipe)
    loss: Loss = mask_loss
    one_task: bool = False

    def create(self, variant: str | None) -> Adapter:
        """An untrained adapter.

        Raises:
            AdapterError: an unknown variant.
        """
        return get_method(self.name).create(variant)


_METHODS: dict[str, FitMethod] = {}


def register_fit(method: FitMethod) -> FitMethod:
    """Make a method known to `fit`.

    Raises:
        AdapterError: the name is taken.
    """
    if method.name in _METHODS:
        raise AdapterError(f"method {method.name!r} is already registered for fitting")
    _METHODS[method.name] = method
    return method


def fit_methods() -> tuple[FitMethod, ...]:
    """All methods that can be fitted, by name."""
    return tuple(_METHODS[name] for name in sorted(_METHODS))


def fit_method(name: str) -> FitMethod:
    """The method of this name.

    Raises:
        AdapterError: there is none; the message lists those that there are.
    """
    if name in _METHODS:
        return _METHODS[name]
    known = sorted(_METHODS)
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise AdapterError(f"method {name!r} cannot be fitted{hint}: use {', '.join(known)}")


_TASK = FitRecipe(
    steps=120,
    learning_rate=2e-3,
    weight_decay=0.01,
    warmup=0.05,
    objects_per_image=2,
    prompts=TASK,
    prompts_per_object=1,
    held_out=0.2,
    patience=4,
)

register_fit(FitMethod("stable", "deformable sampling and routing at the decoder's last attention"))
register_fit(FitMethod("lora", "low-rank changes of the decoder's linear layers"))
register_fit(FitMethod("decoder", "the whole mask decoder", FitRecipe(learning_rate=3e-5)))
register_fit(
    FitMethod(
        "task-prompt",
        "prompt tokens for one task",
        _TASK.changed(points_weight=0.1),  # outlines that weigh more distract from the masks
        one_task=True,
    )
)
register_fit(FitMethod("tokens", "a few prompt tokens", _TASK.changed(learning_rate=1e-2)))
register_fit(
    FitMethod(
        "point-matching",
        "where the points of a mask's outline belong",
        _TASK.changed(prompts=("1p", "3p", NOISY, "box")),
        no_loss,
    )
)
