"""TinyViT (Wu et al., 2022), as MobileSAM's image encoder (Zhang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.parts.conv_norm import ChannelNorm, ConvNorm


@dataclass(frozen=True, slots=True)
class TinyVitConfig:
    """Sizes of the encoder.

    Attributes:
        image_size: side of the input in pixels.
        widths: channels of the four stages.
        depths: blocks of the four stages; the first has convolutions, the others attention.
        heads: attention heads of stages 2 to 4.
        windows: sides of the attention windows of stages 2 to 4, in cells.
        output: channels of the features.
    """

    image_size: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    output: int


@dataclass(frozen=True, slots=True, eq=False)
class EncoderOutput:
    """What the encoder says, under the names of transformers' encoders.

    Attributes:
        last_hidden_state: (B, C, h, w), stride 16.
        intermediate_embeddings: after the second stage, (B, h, w, C'), stride 16.
    """

    last_hidden_state: Tensor
    intermediate_embeddings: tuple[Tensor, ...]


class TinyVit(nn.Module):
    """Four stages: strides 4, 8, 16 and 16, the last without down-sampling.

    Args:
        config: sizes.
    """

    def __init__(self, config: TinyVitConfig) -> None:
        super().__init__()
        first, *_, last = config.widths
        self.patch_embed = PatchEmbedding(first)
        self.layers = nn.ModuleList(
            Stage(config, index, last_of_all=index == len(config.widths) - 1)
            for index in range(len(config.widths))
        )
        self.neck = nn.Sequential(
            nn.Conv2d(last, config.output, 1, bias=False),
            ChannelNorm(config.output),
            nn.Conv2d(config.output, config.output, 3, padding=1, bias=False),
            ChannelNorm(config.output),
        )

    def forward(self, pixels: Tensor) -> EncoderOutput:
        """Encode (B, 3, side, side)."""
        features = self.patch_embed(pixels)
        found: list[Tensor] = []
        for stage in self.layers:
            features = stage(features)
            found.append(features)
        early = found[1].permute(0, 2, 3, 1)
        return EncoderOutput(self.neck(features), (early,))


class PatchEmbedding(nn.Module):
    """Two convolutions of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, 3, stride=2),
            nn.GELU(),
            ConvNorm(width // 2, width, 3, stride=2),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H / 4, W / 4)."""
        return torch.as_tensor(self.seq(pixels))


class Stage(nn.Module):
    """Blocks, and a step to the next stage's width and stride."""

    def __init__(self, config: TinyVitConfig, index: int, *, last_of_all: bool) -> None:
        super().__init__()
        width, depth = config.widths[index], config.depths[index]
        if index == 0:
            blocks: list[nn.Module] = [InvertedResidual(width) for _ in range(depth)]
        else:
            heads, window = config.heads[index - 1], config.windows[index - 1]
            blocks = [AttentionBlock(width, heads, window) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.downsample: Merging | None = None
        if not last_of_all:
            # The step to the last stage keeps the stride of 16 that SAM's decoder expects.
            stride = 1 if index == len(config.widths) - 2 else 2
            self.downsample = Merging(width, config.widths[index + 1], stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h', w')."""
        for block in self.blocks:
            features = block(features)
        return features if self.downsample is None else self.downsample(features)


class InvertedResidual(nn.Module):
    """x + project(depthwise(expand(x))) with GELU after each but before the last sum's."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        inner = width * expansion
        self.conv1 = ConvNorm(width, inner, 1)
        self.conv2 = ConvNorm(inner, inner, 3, groups=inner)
        self.conv3 = ConvNorm(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        inner = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(self.conv3(inner) + x)


class Merging(nn.Module):
    """Down-sampling, or only another width."""

    def __init__(self, width: int, output: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, output, 1)
        self.conv2 = ConvNorm(output, output, 3, stride=stride, groups=output)
        self.conv3 = ConvNorm(output, output, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / stride, w / stride)."""
        return torch.as_tensor(self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class AttentionBlock(nn.Module):
    """Attention within windows, a depthwise convolution, and an MLP."""

    def __init__(self, width: int, heads: int, window: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width, width * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        x = x + self._attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x).permute(0, 2, 3, 1)
        return torch.as_tensor(x + self.mlp(x)).permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        """Split (B, h, w, C) into windows, padded with zeros at the bottom and on the right."""
        batch, height, width, channels = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        found = self.attn(windows.reshape(-1, side * side, channels))
        found = found.view(batch, rows, columns, side, side, channels).transpose(2, 3)
        whole = found.reshape(batch, rows * side, columns * side, channels)
        return torch.as_tensor(whole[:, :height, :width])


class WindowAttention(nn.Module):
    """softmax(q k^T / sqrt(d) + b) v, with a learned b for each distance in rows and columns.

    Distances are numbered in the order in which they are met going through all pairs of cells,
    (0, 0), (0, 1), ...: that is row by row.
    """

    distances: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        cells = torch.arange(window * window, device="cpu")
        rows, columns = cells // window, cells % window
        apart = [(part[:, None] - part[None, :]).abs() for part in (rows, columns)]
        self.register_buffer("distances", apart[0] * window + apart[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to the same; each head's query, key and value lie side by side."""
        batch, count, channels = x.shape
        parts = self.qkv(self.norm(x)).view(batch, count, self.heads, 3, -1)
        query, key, value = parts.permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[:, self.distances].to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return torch.as_tensor(self.proj(mixed.transpose(1, 2).reshape(batch, count, channels)))


class Mlp(nn.Module):
    """Layer norm and two linear maps."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same."""
        return torch.as_tensor(self.fc2(F.gelu(self.fc1(self.norm(x)))))
