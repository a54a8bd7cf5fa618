"""Measure batch-norm statistics anew, for weights that are a running average of others."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import normalise


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
        network.encoder(normalise(batch.to(device)))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    network.eval()
