"""The running average of weights, which is what ships."""

from __future__ import annotations

import torch
from torch import Tensor

from samadapt.models.nano.network import NanoNetwork


@torch.no_grad()
def update_average(average: NanoNetwork, network: NanoNetwork, decay: float) -> None:
    """Move `average` towards `network`: average = decay * average + (1 - decay) * network."""
    mine: list[Tensor] = list(average.parameters())
    theirs: list[Tensor] = list(network.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - decay)
