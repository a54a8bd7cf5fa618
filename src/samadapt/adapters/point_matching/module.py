"""`PointMover`: the learned module that predicts an offset for each contour point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.adapters.point_matching.points import PointSet
from samadapt.adapters.point_matching.sampling import (
    Frame,
    sample_logits,
    sample_map,
)

_SCALARS = 7  # place in the mask (2), normal (2), hole, size, distance to the border

_EVERY = 2  # feature maps are coarser than masks, so they are sampled at every second place


@dataclass(frozen=True, slots=True)
class MoverSizes:
    """Architecture of a `PointMover`.

    Attributes:
        channels: of each feature map of the model's embeddings, by name.
        width: of the hidden layers.
        looked: channels that feature maps are reduced to before they are sampled.
        samples: sampled places along the normal of each point.
        depth: number of circular convolutions.
        reach: largest move per round along either direction, in sizes of the object.
        rounds: number of rounds of sampling and moving.
    """

    channels: Mapping[str, int]
    width: int = 48
    looked: int = 24
    samples: int = 9
    depth: int = 3
    reach: float = 0.15
    rounds: int = 2


class Moved(NamedTuple):
    """Positions of moved points.

    Attributes:
        places: (P, 2) after each round, in input pixels.
        confidence: (B,) logits; above 0 if the moved contour is predicted to be better.
    """

    places: list[Tensor]
    confidence: Tensor


class PointMover(nn.Module):
    """Predicts offsets from features across the contour and circular convolutions along it.

    In each round the input of every point is its position in the mask and, at `samples` places
    along its normal, the mask's logits and all feature maps of the embedding. Residual circular
    convolutions add information of its neighbours and the mean over its mask. Its offset is

        reach * size * (tanh(a) normal + tanh(b) tangent)

    and a = b = 0 before training. Rounds share their weights.
    """

    def __init__(self, sizes: MoverSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.names = tuple(sorted(sizes.channels))
        self.look = nn.ModuleList(
            nn.Linear(sizes.channels[name], sizes.looked, bias=False) for name in self.names
        )
        sparse = len(range(0, sizes.samples, _EVERY))
        self.enter = nn.Linear(sizes.samples + sparse * sizes.looked + _SCALARS, sizes.width)
        self.blocks = nn.ModuleList(
            CircularBlock(sizes.width, 2**index) for index in range(sizes.depth)
        )
        self.norm = nn.LayerNorm(sizes.width)
        self.leave = nn.Linear(sizes.width, 2)
        self.judge = nn.Sequential(
            nn.Linear(sizes.width + 3, sizes.width // 2),
            nn.GELU(),
            nn.Linear(sizes.width // 2, 1),
        )
        for layer in (self.leave, self.judge[-1]):
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        points: PointSet,
        features: Mapping[str, Tensor],
        logits: Tensor,
        frame: Frame,
        padded: tuple[int, int],
    ) -> Moved:
        """Move all points.

        Args:
            points: P points of B masks.
            features: of the embedding, each (1, C, h, w).
            logits: (B, H, W) of the masks.
            frame: placement of the logits' pixels in the input.
            padded: (height, width) of the input.
        """
        size = points.sizes[points.owner, None]
        places = points.places
        if logits.requires_grad:
            places = _on_crossing(points, logits, frame)
        start, trail, hidden = places, [], places
        for _ in range(self.sizes.rounds):
            normal = points.normals(places.detach())
            seen = self._look(points, places, normal, features, logits, frame, padded)
            hidden = self.enter(seen)
            for block in self.blocks:
                hidden = block(hidden, points)
            hidden = self.norm(hidden)
            move = torch.tanh(self.leave(hidden)) * self.sizes.reach * size
            tangent = torch.stack([-normal[:, 1], normal[:, 0]], dim=-1)
            places = places + move[:, :1] * normal + move[:, 1:] * tangent
            trail.append(places)
        whole = ((places - start) / size).detach()
        straight = (whole * points.normals(start.detach())).sum(-1, keepdim=True)
        facts = torch.cat([hidden.detach(), straight, straight.abs(), straight**2], 1)
        return Moved(trail, self.judge(points.mean_per_mask(facts))[:, 0])

    def _look(
        self,
        points: PointSet,
        places: Tensor,
        normal: Tensor,
        features: Mapping[str, Tensor],
        logits: Tensor,
        frame: Frame,
        padded: tuple[int, int],
    ) -> Tensor:
        size = points.sizes[points.owner, None]
        steps = torch.linspace(-1, 1, self.sizes.samples, device=places.device)
        steps = steps * self.sizes.reach * size
        around = places[:, None] + steps[..., None] * normal[:, None]
        mask = torch.tanh(sample_logits(logits, points.owner, frame.tensor_to_pixels(around)) / 4)
        some = around[:, ::_EVERY]
        seen = torch.stack(
            [
                look(sample_map(features[name], some, padded))
                for name, look in zip(self.names, self.look, strict=True)
            ]
        ).sum(0)
        border = places.new_tensor([padded[1], padded[0]])
        nearest = torch.minimum(places, border - places).amin(-1, keepdim=True) / size
        scalars = [
            (places - points.centres[points.owner]) / size,
            normal,
            points.hole[:, None],
            torch.log2(size / max(padded)) / 4,
            nearest.clamp(0, 1),
        ]
        return torch.cat([mask, seen.flatten(1), *scalars], dim=1)


class CircularBlock(nn.Module):
    """Residual: LayerNorm, convolution around the contour, the mask's mean, GELU, linear."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.steps = [dilation * step for step in (-2, -1, 0, 1, 2)]
        self.norm = nn.LayerNorm(width)
        self.around = nn.Linear(width * len(self.steps), width)
        self.whole = nn.Linear(width, width, bias=False)
        self.leave = nn.Linear(width, width)

    def forward(self, hidden: Tensor, points: PointSet) -> Tensor:
        """Hidden values (P, C) to new ones."""
        normed = self.norm(hidden)
        mixed = self.around(normed[points.neighbours(self.steps)].flatten(1))
        mixed = mixed + self.whole(points.mean_per_mask(normed))[points.owner]
        new: Tensor = hidden + self.leave(F.gelu(mixed))
        return new


def _on_crossing(points: PointSet, logits: Tensor, frame: Frame) -> Tensor:
    """The points' places (P, 2) as a differentiable function of the logits that cross 0 there.

    To first order a crossing moves outwards by (change of logit) / (slope of the logits along the
    normal). The returned values are the traced places.
    """
    normal = points.normals(points.places)
    step = max(frame.scale)
    pair = torch.stack([points.places - step * normal, points.places + step * normal], dim=1)
    inner, outer = sample_logits(
        logits.detach(), points.owner, frame.tensor_to_pixels(pair)
    ).unbind(1)
    slope = ((inner - outer) / (2 * step)).clamp_min(0.05 / step)
    here = sample_logits(logits, points.owner, frame.tensor_to_pixels(points.places)[:, None])[:, 0]
    return points.places + ((here - here.detach()) / slope)[:, None] * normal
