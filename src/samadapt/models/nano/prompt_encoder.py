"""nano's prompt encoder: SAM-shaped tokens, and maps that compare the image with the clicks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.encoder import NanoFeatures, channels_last
from samadapt.models.nano.layers import FourierPositions

PADDING = -1
"""Label of a padding point."""

_MASKED = -1e9
_NEAR, _AROUND = 1.5, 6.0  # radii of the nearness maps, in stride-8 cells
_MAPS = 14
FINE_MAPS = 6
"""Maps for the mask head: earlier logits of the four sub-pixels, clicks on and off the object."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptBatch:
    """B prompts in input pixels, origin at the top-left corner of the top-left pixel.

    Attributes:
        points: (B, N, 2) as (x, y).
        labels: (B, N) long: 1 object, 0 background, -1 padding.
        boxes: (B, 4) as (x0, y0, x1, y1), or None when no prompt has a box.
        has_box: (B,) bool, or None with `boxes`.
        previous: earlier logits (B, 1, 4h, 4w), or None when no prompt has any.
        has_previous: (B,) bool, or None with `previous`.
    """

    points: Tensor
    labels: Tensor
    boxes: Tensor | None = None
    has_box: Tensor | None = None
    previous: Tensor | None = None
    has_previous: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPrompts:
    """B encoded prompts for the decoder.

    Attributes:
        tokens: (B, N, C) sparse prompt tokens.
        token_bias: (B, N), 0 for a real token and a large negative number for padding.
        dense: (B, C, h, w) added to the image features.
        prior: (B, 1, h, w) logits of the similarity prior.
        fine: (B, 6, 2h, 2w) earlier logits and clicks at the mask head's resolution.
    """

    tokens: Tensor
    token_bias: Tensor
    dense: Tensor
    prior: Tensor
    fine: Tensor


class NanoPromptEncoder(nn.Module):
    """Prompts to tokens and maps.

    Beside SAM's positional tokens, every click is compared with the whole image: the cosine
    similarity between the key feature under the click and all key features makes a first guess,
    the prior. The decoder only corrects the prior; without it so small a model does not learn to
    obey clicks.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.positions = FourierPositions(channels)
        self.kinds = nn.Embedding(4, channels)  # background, object, box corners
        self.content = nn.Linear(channels, channels)
        self.dense = nn.Conv2d(_MAPS, channels, 3, 1, 1)
        self.prior = nn.Conv2d(_MAPS, 1, 1)
        self._start_from_a_sensible_prior()

    def forward(
        self,
        features: NanoFeatures,
        prompts: PromptBatch,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> EncodedPrompts:
        """Encode B prompts, each on its own row of `features`.

        Args:
            features: of B images (rows may repeat an image).
            prompts: B prompts.
            origin: shift of the positional encoding, as shares of the input side (training).
        """
        tokens, bias = self._tokens(features, prompts, origin)
        maps = self._maps(features, prompts)
        prior = self.prior(maps)
        dense = self.dense(maps.to(features.image.dtype))
        return EncodedPrompts(tokens, bias, dense, prior, self._fine_maps(features, prompts))

    def _start_from_a_sensible_prior(self) -> None:
        weights = [8.0, -6.0, 1.0, -1.0, 2.0, -2.0, 4.0, -1.0, 2.0, -2.0, 1.0, 1.0, -1.0, 0.0]
        with torch.no_grad():
            self.prior.weight.copy_(torch.tensor(weights).view(1, _MAPS, 1, 1))
            self.prior.bias.fill_(-3.2)  # type: ignore[union-attr]

    def _tokens(
        self, features: NanoFeatures, prompts: PromptBatch, origin: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        side = self.config.input_side
        shift = prompts.points.new_tensor(origin)
        content = _sample(features.image, prompts.points, NanoConfig.STRIDE)
        tokens = (
            self.positions(prompts.points / side + shift)
            + self.kinds(prompts.labels.clamp_min(0))
            + self.content(content)
        )
        bias = (prompts.labels == PADDING).float() * _MASKED
        if prompts.boxes is None or prompts.has_box is None:
            return tokens, bias
        corners = prompts.boxes.view(-1, 2, 2)
        corner_tokens = self.positions(corners / side + shift) + self.kinds.weight[2:4]
        corner_bias = (~prompts.has_box).float()[:, None].expand(-1, 2) * _MASKED
        return torch.cat([tokens, corner_tokens], 1), torch.cat([bias, corner_bias], 1)

    def _maps(self, features: NanoFeatures, prompts: PromptBatch) -> Tensor:
        keys = features.keys.float()
        under = F.normalize(_sample(keys, prompts.points, NanoConfig.STRIDE), dim=-1)
        similarity = torch.einsum("bnc,bchw->bnhw", under, keys)
        distance = _squared_distance(prompts.points, keys.shape[-2:], NanoConfig.STRIDE)
        positive = (prompts.labels == 1)[..., None, None]
        negative = (prompts.labels == 0)[..., None, None]
        near = torch.exp(-distance / (2 * _NEAR**2))
        around = torch.exp(-distance / (2 * _AROUND**2))
        maps = [
            _strongest(similarity, positive, 0.5),
            _strongest(similarity, negative, 0.2),
            _strongest(near, positive, 0.0),
            _strongest(near, negative, 0.0),
            _strongest(around, positive, 0.0),
            _strongest(around, negative, 0.0),
            *self._box_maps(keys, prompts),
            *self._previous_maps(keys, prompts),
        ]
        return channels_last(torch.stack(maps, dim=1))

    def _box_maps(self, keys: Tensor, prompts: PromptBatch) -> list[Tensor]:
        """Maps: inside the box, presence of a box, likeness to its middle and surroundings."""
        batch, _, height, width = keys.shape
        if prompts.boxes is None or prompts.has_box is None:
            return [keys.new_zeros(batch, height, width)] * 4
        there = prompts.has_box.float()[:, None, None]
        inside = _inside(prompts.boxes, (height, width), NanoConfig.STRIDE) * there
        middle = _inside(_scaled(prompts.boxes, 0.5), (height, width), NanoConfig.STRIDE)
        wider = _inside(_scaled(prompts.boxes, 1.5), (height, width), NanoConfig.STRIDE)
        return [
            inside,
            there.expand(-1, height, width),
            _likeness(keys, middle + 1e-4) * there,
            _likeness(keys, (wider - inside).clamp_min(0) + 1e-4) * there,
        ]

    def _previous_maps(self, keys: Tensor, prompts: PromptBatch) -> list[Tensor]:
        """Maps: earlier logits, likeness to their object and background, presence of logits."""
        batch, _, height, width = keys.shape
        if prompts.previous is None or prompts.has_previous is None:
            return [keys.new_zeros(batch, height, width)] * 4
        there = prompts.has_previous.float()[:, None, None]
        logits = F.avg_pool2d(prompts.previous.float().clamp(-10, 10), 4)[:, 0]
        share = logits.sigmoid()
        return [
            logits / 5 * there,
            _likeness(keys, share + 1e-4) * there,
            _likeness(keys, 1 - share + 1e-4) * there,
            there.expand(-1, height, width),
        ]

    def _fine_maps(self, features: NanoFeatures, prompts: PromptBatch) -> Tensor:
        size = features.fine.shape[-2:]
        near = torch.exp(
            -_squared_distance(prompts.points, size, NanoConfig.FINE_STRIDE) / (2 * _NEAR**2)
        )
        positive = (prompts.labels == 1)[..., None, None]
        negative = (prompts.labels == 0)[..., None, None]
        if prompts.previous is None or prompts.has_previous is None:
            previous = near.new_zeros(near.shape[0], FINE_MAPS - 2, *size)
        else:
            there = prompts.has_previous.float()[:, None, None, None]
            earlier = prompts.previous.float().clamp(-10, 10) / 5 * there
            previous = F.pixel_unshuffle(earlier, 2)
        clicks = [_strongest(near, chosen, 0.0) for chosen in (positive, negative)]
        return channels_last(torch.cat([previous, torch.stack(clicks, dim=1)], dim=1))


def _sample(features: Tensor, points: Tensor, stride: int) -> Tensor:
    """Bilinear samples (B, N, C) of (B, C, h, w) at (B, N, 2) input pixels, clamped at the edge."""
    if points.shape[1] == 0:
        return features.new_zeros(len(features), 0, features.shape[1])
    height, width = (cells * stride for cells in features.shape[-2:])
    share = torch.stack([points[..., 0] / width, points[..., 1] / height], dim=-1)
    grid = (share * 2 - 1)[:, :, None, :]
    sampled = F.grid_sample(
        features.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[..., 0].transpose(1, 2)


def _squared_distance(points: Tensor, size: torch.Size, stride: int) -> Tensor:
    """Squared distance (B, N, h, w), in cells, from every cell's centre to every point."""
    ys = torch.arange(size[0], device=points.device) + 0.5
    xs = torch.arange(size[1], device=points.device) + 0.5
    x, y = (points / stride).unbind(-1)
    dy = (ys[None, None, :] - y[..., None]) ** 2
    dx = (xs[None, None, :] - x[..., None]) ** 2
    return dy[..., :, None] + dx[..., None, :]


def _strongest(maps: Tensor, chosen: Tensor, default: float) -> Tensor:
    """Maximum over the chosen points of (B, N, h, w); `default` where none is chosen."""
    if maps.shape[1] == 0:
        return maps.new_full((maps.shape[0], *maps.shape[-2:]), default)
    highest = torch.where(chosen, maps, maps.new_tensor(_MASKED)).amax(dim=1)
    return torch.where(chosen.any(dim=1), highest, highest.new_tensor(default))


def _inside(boxes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """(B, h, w): 1 inside the box, 0 outside, linear across the cells on its edge."""
    ys = (torch.arange(size[0], device=boxes.device) + 0.5) * stride
    xs = (torch.arange(size[1], device=boxes.device) + 0.5) * stride
    x0, y0, x1, y1 = (v[:, None] for v in boxes.unbind(-1))
    in_x = torch.minimum(xs - x0, x1 - xs)
    in_y = torch.minimum(ys - y0, y1 - ys)
    depth = torch.minimum(in_y[:, :, None], in_x[:, None, :])
    return (depth / stride + 0.5).clamp(0, 1)


def _scaled(boxes: Tensor, factor: float) -> Tensor:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return torch.cat([centre - half, centre + half], dim=1)


def _likeness(keys: Tensor, weights: Tensor) -> Tensor:
    """Cosine similarity (B, h, w) of all keys with their mean under `weights` (B, h, w)."""
    mean = torch.einsum("bchw,bhw->bc", keys, weights) / weights.sum((1, 2))[:, None]
    return torch.einsum("bc,bchw->bhw", F.normalize(mean, dim=-1), keys)
