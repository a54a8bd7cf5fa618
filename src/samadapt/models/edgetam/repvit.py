"""RepViT (Wang et al., 2024), as EdgeTAM's image encoder (Zhou et al., 2025)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.parts.conv_norm import ConvNorm


@dataclass(frozen=True, slots=True)
class RepVitConfig:
    """Sizes of the encoder.

    Attributes:
        widths: channels of the stages, strides 4, 8, 16 and 32.
        depths: blocks of the stages.
        squeezed: inner channels of the squeeze-and-excitation of each stage.
        expansion: inner channels of the channel mixers, as a multiple of their width.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    squeezed: tuple[int, ...]
    expansion: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class BackboneOutput:
    """Output of the encoder, under the names of transformers' Hiera.

    Attributes:
        intermediate_hidden_states: (B, h, w, C) of each stage, finest first.
    """

    intermediate_hidden_states: tuple[Tensor, ...]
    hidden_states: None = None
    attentions: None = None

    @property
    def last_hidden_state(self) -> Tensor:
        """The coarsest features."""
        return self.intermediate_hidden_states[-1]


class RepVit(nn.Module):
    """A stem of stride 4 and stages of convolutions."""

    def __init__(self, config: RepVitConfig) -> None:
        super().__init__()
        self.stem = Stem(config.widths[0])
        self.stages = nn.ModuleList(Stage(config, i) for i in range(len(config.widths)))

    def forward(self, pixels: Tensor, **_: object) -> BackboneOutput:
        """Encode (B, 3, H, W)."""
        features = self.stem(pixels)
        found: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            found.append(features.permute(0, 2, 3, 1))
        return BackboneOutput(tuple(found))


class Stem(nn.Module):
    """Two convolutions of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, width // 2, 3, stride=2)
        self.conv2 = ConvNorm(width // 2, width, 3, stride=2)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H / 4, W / 4)."""
        return torch.as_tensor(self.conv2(F.gelu(self.conv1(pixels))))


class Stage(nn.Module):
    """Down-sampling (not in the first stage), then blocks, every second with squeeze-excitation."""

    def __init__(self, config: RepVitConfig, index: int) -> None:
        super().__init__()
        width, inner, ratio = config.widths[index], config.squeezed[index], config.expansion
        before = config.widths[index - 1]
        self.downsample = Downsampling(before, width, ratio) if index else nn.Identity()
        self.blocks = nn.Sequential(
            *(Block(width, ratio, 0 if i % 2 else inner) for i in range(config.depths[index]))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h', w')."""
        return torch.as_tensor(self.blocks(self.downsample(x)))


class Block(nn.Module):
    """A token mixer, and x + a channel mixer.

    Args:
        width: channels.
        ratio: expansion of the channel mixer.
        squeezed: inner channels of the squeeze and excitation between them; 0 for none.
    """

    def __init__(self, width: int, ratio: int, squeezed: int) -> None:
        super().__init__()
        self.token_mixer = TokenMixer(width)
        self.se = SqueezeExcite(width, squeezed) if squeezed else nn.Identity()
        self.channel_mixer = ChannelMixer(width, ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        x = self.se(self.token_mixer(x))
        return torch.as_tensor(x + self.channel_mixer(x))


class TokenMixer(nn.Module):
    """A depthwise 3 x 3 and a depthwise 1 x 1 convolution, and x itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, 3, groups=width)
        self.conv1 = ConvNorm(width, width, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        return torch.as_tensor(self.conv(x) + self.conv1(x) + x)


class SqueezeExcite(nn.Module):
    """x times a gate for each channel, from the channels' means (Hu et al., 2018)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        means = x.mean((2, 3), keepdim=True)
        return torch.as_tensor(x * self.fc2(self.fc1(means).relu()).sigmoid())


class ChannelMixer(nn.Module):
    """Two 1 x 1 convolutions with GELU between."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, width * ratio, 1)
        self.conv2 = ConvNorm(width * ratio, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        return torch.as_tensor(self.conv2(F.gelu(self.conv1(x))))


class Downsampling(nn.Module):
    """A block, a depthwise convolution of stride 2, another width, and x + a channel mixer."""

    def __init__(self, width: int, output: int, ratio: int) -> None:
        super().__init__()
        self.pre_block = Block(width, ratio, squeezed=0)
        self.spatial_downsample = ConvNorm(width, width, 3, stride=2, groups=width)
        self.channel_downsample = ConvNorm(width, output, 1)
        self.ffn = ChannelMixer(output, ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / 2, w / 2)."""
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return torch.as_tensor(x + self.ffn(x))
