"""Convolutions with batch normalisation, and layer normalisation over channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """A convolution without bias, and batch normalisation; pads to keep the size at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        return torch.as_tensor(self.bn(self.c(x)))

    def fuse(self) -> None:
        """Fold the batch normalisation of evaluation mode into the convolution's weights."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.c = fuse_conv_bn_eval(self.c.eval(), self.bn.eval())
            self.bn = nn.Identity()


def fuse_all(module: nn.Module) -> None:
    """Fuse every `ConvNorm` of a module: the same numbers up to rounding, with less memory traffic.

    The module can only be used for evaluation afterwards.
    """
    for part in module.modules():
        if isinstance(part, ConvNorm):
            part.fuse()


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
