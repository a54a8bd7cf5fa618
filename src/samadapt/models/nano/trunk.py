"""nano's trunk: EfficientNet-Lite2 without its classifier, batch norms folded into convolutions.

Architecture of Tan and Le (2019, arXiv 1905.11946) in the Lite variant, which has no
squeeze-and-excitation and ReLU6 for swish: inverted residual blocks of widths 24, 48, 120 and 352
at strides 4, 8, 16 and 32. Batch normalisation with fixed statistics is a part of each
convolution, also in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, SCALE = 127.0, 128.0
"""The trunk expects (pixel - MEAN) / SCALE."""

READ_STAGES = (0, 1, 2, 4, 6)
"""The stages whose outputs are the features at strides 2, 4, 8, 16 and 32."""


class StageSpec(NamedTuple):
    """Settings of the blocks of one stage; only the first block has the stride."""

    kernel: int
    stride: int
    expansion: int


STAGES = (
    StageSpec(3, 1, 1),
    StageSpec(3, 2, 6),
    StageSpec(5, 2, 6),
    StageSpec(3, 2, 6),
    StageSpec(5, 1, 6),
    StageSpec(5, 2, 6),
    StageSpec(3, 1, 6),
)


class InvertedResidual(nn.Module):
    """Expand (1x1), depth-wise convolution, project (1x1), around a skip where shapes agree."""

    def __init__(self, inputs: int, outputs: int, spec: StageSpec, stride: int) -> None:
        super().__init__()
        hidden = inputs * spec.expansion
        self.expand = nn.Conv2d(inputs, hidden, 1) if spec.expansion > 1 else None
        self.depthwise = nn.Conv2d(
            hidden, hidden, spec.kernel, stride, spec.kernel // 2, groups=hidden
        )
        self.project = nn.Conv2d(hidden, outputs, 1)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        y = x if self.expand is None else relu6_of(self.expand, x)
        y = torch.as_tensor(self.project(relu6_of(self.depthwise, y)))
        return x + y if self.has_skip else y


class Trunk(nn.Module):
    """Normalised pixels (B, 3, H, W) to features at strides 2, 4, 8, 16 and 32.

    Args:
        widths: channels of the stem and of the seven stages.
        repeats: blocks in each stage.
    """

    def __init__(self, widths: Sequence[int], repeats: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 2, 1)
        blocks: list[nn.Module] = []
        self._read = []
        width = widths[0]
        for number, (spec, outputs, count) in enumerate(
            zip(STAGES, widths[1:], repeats, strict=True)
        ):
            for repeat in range(count):
                stride = spec.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(width, outputs, spec, stride))
                width = outputs
            if number in READ_STAGES:
                self._read.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)

    def first(self, blocks: int) -> list[nn.Module]:
        """The stem and the first `blocks` blocks; empty for 0."""
        return [self.stem, *self.blocks[:blocks]] if blocks else []

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Features at strides 2, 4, 8, 16 and 32; H and W are multiples of 32."""
        x = relu6_of(self.stem, pixels)
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._read:
                found.append(x)
        x2, x4, x8, x16, x32 = found
        return x2, x4, x8, x16, x32


def relu6_of(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return relu6(convolution(x)), (B, C', H', W').

    On CPUs with bfloat16 a single oneDNN kernel computes both, with the same bits, if no gradient
    is needed and the weights are in bfloat16: a pass over memory less per convolution.
    """
    if not _is_fused(convolution, x):
        return F.relu6(convolution(x), inplace=True)
    found: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x.to(torch.bfloat16),
        convolution.weight,
        convolution.bias,
        convolution.padding,
        convolution.stride,
        convolution.dilation,
        convolution.groups,
        "hardtanh",
        [0.0, 6.0],
        "",
    )
    return found


def _is_fused(convolution: nn.Conv2d, x: Tensor) -> bool:
    return (
        convolution.weight.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and bool(torch.backends.mkldnn.enabled)
        and _can_fuse()
    )


@cache
def _can_fuse() -> bool:
    """Return True if this torch has the kernel, which is not in its documented interface."""
    operators = torch.ops.mkldnn
    names = ("_convolution_pointwise", "_is_mkldnn_bf16_supported")
    return all(hasattr(operators, name) for name in names) and bool(
        operators._is_mkldnn_bf16_supported()
    )
