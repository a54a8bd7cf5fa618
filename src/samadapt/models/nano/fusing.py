"""Fold batch normalisation into the convolutions before it: same output, less work."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samadapt.models.nano.layers import ConvBN, ResidualBN


def fuse_batch_norms(module: nn.Module) -> None:
    """Fold all batch norms of nano's encoder, in place; the module must be in evaluation mode."""
    for child in module.modules():
        if isinstance(child, ConvBN):
            conv, norm = child[0], child[1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                child[0] = fuse_conv_bn_eval(conv, norm)
                child[1] = nn.Identity()
        elif isinstance(child, ResidualBN) and isinstance(child.norm, nn.BatchNorm2d):
            child.conv = fuse_conv_bn_eval(child.conv, child.norm)
            child.norm = nn.Identity()
