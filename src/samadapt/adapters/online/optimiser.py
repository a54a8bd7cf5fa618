"""Optimisers on one flat vector, whose whole state can be copied, kept and given back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["adam", "sgd"]

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Adam's running means (Kingma & Ba 2015), never changed in place.

    Attributes:
        first: mean gradient (P,), None before the first step.
        second: mean squared gradient (P,).
        steps: how many steps were taken.
    """

    first: Tensor | None = None
    second: Tensor | None = None
    steps: int = 0

    def updated(self, gradient: Tensor) -> Moments:
        """With one more gradient (P,)."""
        first = torch.zeros_like(gradient) if self.first is None else self.first
        second = torch.zeros_like(gradient) if self.second is None else self.second
        return Moments(
            torch.lerp(first, gradient, 1 - _BETAS[0]),
            torch.lerp(second, gradient.square(), 1 - _BETAS[1]),
            self.steps + 1,
        )

    def direction(self) -> Tensor:
        """M / (sqrt(v) + eps) with the bias corrections of Adam, (P,)."""
        if self.first is None or self.second is None:
            raise ValueError("no gradient yet")
        # In place from here on: fresh memory for millions of numbers costs more than the sums.
        first = self.first / (1 - _BETAS[0] ** self.steps)
        second = self.second / (1 - _BETAS[1] ** self.steps)
        return first.div_(second.sqrt_().add_(_EPSILON))


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """One way to step: which rule, how far, and how strongly it is held back.

    Attributes:
        kind: "adam" or "sgd".
        rate: learning rate.
        anchor: pull towards the base weights per unit of learning rate, decoupled from the
            gradient (as the decay of AdamW): w -= rate * anchor * (w - w_base).
        importance: pull parameters that matter more strongly: the anchor of each is multiplied
            by sqrt(v) / mean(sqrt(v)), Adam's running size of its gradients, at most 10.
    """

    kind: Kind
    rate: float
    anchor: float = 0.0
    importance: bool = False

    def scaled(self, factor: float) -> Descent:
        """The same with `factor` times the learning rate."""
        return replace(self, rate=self.rate * factor)

    def step(self, delta: Tensor, gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        """New change from the base weights (P,) and moments; nothing is changed in place."""
        if self.kind == "adam":
            moments = moments.updated(gradient)
            direction = moments.direction()
        else:
            direction = gradient
        stepped = delta - self.rate * direction
        if self.anchor:
            strength: Tensor | float = self.rate * self.anchor
            if self.importance and moments.second is not None:
                size = moments.second.sqrt()
                strength = strength * (size / size.mean().clamp_min(1e-12)).clamp_max(10)
            stepped -= strength * delta
        return stepped, moments
