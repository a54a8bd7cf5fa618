"""Adam on one flat vector, with a state that can be copied, kept and restored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


def is_finite(values: Tensor) -> bool:
    """Return True if all numbers are finite; the sum is NaN or infinite if one is."""
    return bool(torch.isfinite(values.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Adam's running means (Kingma & Ba 2015). Never changed in place.

    Attributes:
        first: mean gradient (P,); None before the first step.
        second: mean squared gradient (P,).
        steps: number of steps so far.
    """

    first: Tensor | None = None
    second: Tensor | None = None
    steps: int = 0

    def updated(self, gradient: Tensor) -> Moments:
        """Return the means with one more gradient (P,)."""
        first = torch.zeros_like(gradient) if self.first is None else self.first
        second = torch.zeros_like(gradient) if self.second is None else self.second
        return Moments(
            torch.lerp(first, gradient, 1 - _BETAS[0]),
            torch.lerp(second, gradient.square(), 1 - _BETAS[1]),
            self.steps + 1,
        )

    def moved(self, start: Tensor, rate: float) -> Tensor:
        """Return start - rate * m / (sqrt(v) + eps) with the bias corrections of Adam, (P,)."""
        if self.first is None or self.second is None:
            raise ValueError("no gradient yet")
        # In place where it can be: allocating millions of numbers takes longer than the sums.
        root = self.second.sqrt().div_((1 - _BETAS[1] ** self.steps) ** 0.5).add_(_EPSILON)
        share = rate / (1 - _BETAS[0] ** self.steps)
        return torch.addcdiv(start, self.first, root, value=-share)


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """A step of Adam with decoupled decay towards the base weights (AdamW).

    Attributes:
        rate: learning rate.
        anchor: pull towards the base weights per unit of learning rate:
            w -= rate * anchor * (w - w_base).
    """

    rate: float
    anchor: float = 0.0

    def scaled(self, factor: float) -> Descent:
        """Return the same step with `factor` times the learning rate."""
        return replace(self, rate=self.rate * factor)

    def step(self, delta: Tensor, gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        """Return the new change from the base weights (P,) and the new moments."""
        moments = moments.updated(gradient)
        stepped = moments.moved(delta, self.rate)
        if self.anchor:
            stepped -= self.rate * self.anchor * delta
        return stepped, moments
