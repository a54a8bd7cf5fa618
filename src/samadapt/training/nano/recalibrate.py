"""The running average of weights that is shipped, and its batch-norm statistics."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import normalise


@torch.no_grad()
def update_average(average: NanoNetwork, network: NanoNetwork, decay: float) -> None:
    """Move `average` towards `network`: average = decay * average + (1 - decay) * network.

    Statistics that a step with an infinite activation has spoilt are repaired in `network` from
    `average`, as such a step changes no weights either.
    """
    mine: list[Tensor] = list(average.parameters())
    theirs: list[Tensor] = list(network.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for value, fresh in zip(average.buffers(), network.buffers(), strict=True):
        if value.is_floating_point():
            fresh.copy_(torch.where(fresh.isfinite(), fresh, value))
            value.lerp_(fresh, 1 - decay)
        else:
            value.copy_(fresh)


@torch.no_grad()
def recalibrate(network: NanoNetwork, images: Iterable[Tensor], device: torch.device) -> None:
    """Set every batch norm's mean and variance to those seen on `images`, in place.

    Args:
        network: left in evaluation mode.
        images: batches (B, S, S, 3) uint8.
        device: where the network is.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    for batch in images:
        network.encoder(normalise(batch.to(device, non_blocking=True)))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    network.eval()
