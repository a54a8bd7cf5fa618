"""`PointMatchingAdapter`: moves points on a mask's boundary to refine it for a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitted import FittedAdapter
from samadapt.adapters.fitting import NOISY, TASK_RECIPE, Fitting, Phase
from samadapt.adapters.losses import no_loss
from samadapt.adapters.point_matching.contours import Points, draw
from samadapt.adapters.point_matching.learning import (
    boundary_share,
    contours_of,
    gains,
    point_loss,
    point_targets,
)
from samadapt.adapters.point_matching.module import Moved, MoverSizes, PointMover
from samadapt.adapters.point_matching.points import Outline, PointSet
from samadapt.adapters.point_matching.sampling import Frame
from samadapt.adapters.registry import register
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

_MASKS = 32
"""Number of masks whose points are moved at once; more need memory and are no faster."""

_PROBE_SIDE = 64
"""Side of the grey picture that is encoded to find a model's features."""

_FLIPPED = 1e-3
"""Least magnitude of a logit that changes its sign."""

_SURE = 0.05
"""Gain from which on a mask has full weight in the confidence loss."""


@dataclass(frozen=True, kw_only=True)
class PointMatchingConfig(AdapterConfig):
    """Config of a point matching adapter.

    Attributes:
        points: N, points on the contours of one mask.
        least: least number of points on a contour.
        shortest: contours shorter than this, in input pixels, are not moved.
        width: see `MoverSizes`, also for the next five fields.
        looked: channels that feature maps are reduced to.
        samples: sampled places along the normal of each point.
        depth: number of circular convolutions.
        reach: largest move per round along either direction, in sizes of the object (square root
            of its area).
        rounds: number of rounds of sampling and moving.
        limit: in training, contours further apart than this, in sizes, are not matched.
        slack: in training, largest distance between a matched true point and its place in the
            best cyclic alignment, along the contour, as a share of its length.
        beta: distance from which on the point loss is linear, in sizes.
        seed: of the weights that do not start as zero.
        channels: of each feature map of its model; empty until it is bound to one.
        parameters: exact number of learned parameters; 0 until it is bound to a model.
    """

    method: str = "point-matching"
    points: int = 128
    least: int = 8
    shortest: float = 16.0
    width: int = 48
    looked: int = 24
    samples: int = 9
    depth: int = 3
    reach: float = 0.15
    rounds: int = 2
    limit: float = 0.35
    slack: float = 0.1
    beta: float = 0.05
    seed: int = 0
    channels: Mapping[str, int] = field(default_factory=dict)
    parameters: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.channels, Mapping):
            raise AdapterError(f"adapter config: channels must be a mapping, not {self.channels!r}")
        object.__setattr__(self, "channels", MappingProxyType(dict(self.channels)))
        super().__post_init__()
        self.check_whole(1, "points", "least", "width", "looked", "samples", "depth", "rounds")
        self.check_whole(0, "seed", "parameters")
        if not all(type(channels) is int and channels > 0 for channels in self.channels.values()):
            raise AdapterError(f"channels={dict(self.channels)}: use whole numbers, 1 or more")
        if self.points < self.least:
            raise AdapterError(f"points={self.points}: use least={self.least} or more")
        self.check_positive("shortest", "reach", "limit", "beta")
        self.check_positive("slack", or_zero=True)
        if self.slack > 0.5:
            raise AdapterError(f"slack={self.slack}: use a share of the contour up to 0.5")


@register("point-matching")
class PointMatchingAdapter(FittedAdapter[PointMover]):
    """Point matching module (PMM; Kim et al. 2024, arXiv 2403.09199).

    Acts at seam 4. The contours of a predicted mask, holes and several parts included, get N
    points by arc length; a learned module moves them (`PointMover`), the contours follow, and the
    mask is drawn again (`contours.draw`). A mask is changed only where its module is confident that
    the new one is better; otherwise, and untrained, no bit of it changes.

    It is fitted to masks of one task: with `samadapt.fit("point-matching", ...)`, or as a part of
    another adapter, which then uses the loss of its only phase.
    """

    about = "where the points of a mask's outline belong"
    fitting = Fitting(recipe={**TASK_RECIPE, "prompts": ("1p", "3p", NOISY, "box")}, row="pmm")
    config_class: ClassVar[type[PointMatchingConfig]] = PointMatchingConfig
    config: PointMatchingConfig

    def __init__(self, config: PointMatchingConfig | None = None) -> None:
        super().__init__(config)
        if self.config.channels:
            self._build(self.config.channels)

    def bind(self, model: SegmentationModel) -> None:
        """Bind this adapter to `model`, or check that it was made for `model`.

        The first time, a small grey picture is encoded to find the model's features.
        """
        super().bind(model)
        if self.module is None:
            grey = np.full((_PROBE_SIDE, _PROBE_SIDE, 3), 128, np.uint8)
            self._build(_feature_maps(model.encode(grey)))
        self._on(model.device)

    # -- the seam -----------------------------------------------------------------------------

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        """Mask logits (B, K, H, W) at original size, the sign turned where the contour has moved.

        Masks whose confidence is not above one half stay exactly as they are.
        """
        if self.module is None:
            return logits
        flat = logits.flatten(0, 1)
        chunks = [flat[start : start + _MASKS] for start in range(0, len(flat), _MASKS)]
        parts = [self._refined(chunk, embedding) for chunk in chunks]
        if all(part is None for part in parts):
            return logits
        changed = torch.cat(
            [
                torch.zeros_like(before, dtype=torch.bool) if part is None else part
                for part, before in zip(parts, chunks, strict=True)
            ]
        ).view_as(logits)
        turned = torch.where(logits > 0, -logits, (-logits).clamp_min(_FLIPPED))
        return torch.where(changed, turned, logits)

    def check_export(self) -> None:
        """Raise `AdapterError`: contours are moved after the decoder, outside of its graph."""
        raise AdapterError(
            f"the adapter {self.title!r} moves contours in the finished masks, which cannot be "
            "exported: export without it"
        )

    # -- learning -----------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        """One phase with a loss on the points alone; the decoder's logits do not change."""
        parameters = () if self.module is None else tuple(self.module.parameters())
        return (Phase(parameters, no_loss, self.training_loss),)

    def training_loss(
        self, logits: Tensor, target: Tensor, valid: Tensor, embedding: ImageEmbedding
    ) -> Tensor:
        """Loss of moving the contours of B predicted masks towards those of the true ones.

            point_loss + entropy(confidence, gain > 0) min(1, |gain| / 0.05)

        where the gain is the improvement by the redrawn mask (`gains`). Differentiable in the
        module's parameters and, if they require gradients, in the logits. Masks without a usable
        contour have a loss of 0.

        Args:
            logits: decoder logits (B, h, w) over the padded input.
            target: true masks (B, h, w) in 0..1 on the same grid.
            valid: (h, w) bool, cells that show image rather than padding.
            embedding: the view that the logits belong to.

        Returns:
            (B,).

        Raises:
            AdapterError: the adapter is bound to no model yet.
        """
        module = self._on(logits.device)
        height, width = int(valid.any(1).sum()), int(valid.any(0).sum())
        frame = Frame.of_decoder(embedding.geometry, (logits.shape[-2], logits.shape[-1]))
        shown, true = logits[:, :height, :width].float(), target[:, :height, :width].float()
        outlines = self._outlines(shown, frame)
        points = PointSet.of(outlines, logits.device)
        if not len(points.owner):
            return shown.sum((-2, -1)) * 0 + module.leave.bias.sum() * 0
        moved = self._move(module, points, shown, frame, embedding)
        truth = contours_of(true - 0.5, frame)
        wanted = point_targets(outlines, truth, self.config.limit, self.config.slack)
        share = boundary_share(
            frame, embedding.original_size, max(embedding.geometry.scale), (height, width)
        )
        offsets = _offsets(points, moved, outlines)
        gain = torch.from_numpy(gains(outlines, offsets, true, frame, share)).to(shown)
        doubt = F.binary_cross_entropy_with_logits(
            moved.confidence, (gain > 0).to(shown), reduction="none"
        )
        doubt = doubt * (gain.abs() / _SURE).clamp_max(1)
        return point_loss(moved, points, wanted, self.config.beta) + doubt

    # -- private ------------------------------------------------------------------------------

    def _refined(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        """Changed pixels of masks (B, H, W), bool; None for none."""
        module = self._on(logits.device)
        frame = Frame.of_original(embedding.geometry)
        outlines = self._outlines(logits, frame)
        points = PointSet.of(outlines, logits.device)
        if not len(points.owner):
            return None
        with torch.no_grad():
            moved = self._move(module, points, logits.detach().float(), frame, embedding)
        confident = moved.confidence > 0
        if not confident.any():
            return None
        changed = np.zeros(tuple(logits.shape), np.bool_)
        size = (logits.shape[-2], logits.shape[-1])
        for row, offsets in enumerate(_offsets(points, moved, outlines)):
            if confident[row] and len(offsets):
                contours = [frame.to_pixels(c) for c in outlines[row].moved(offsets)]
                changed[row] = draw(contours, size) != (logits[row] > 0).cpu().numpy()
        return torch.from_numpy(changed).to(logits.device)

    def _outlines(self, logits: Tensor, frame: Frame) -> list[Outline]:
        config = self.config
        return [
            Outline.of(contours, config.points, config.least, config.shortest)
            for contours in contours_of(logits, frame)
        ]

    def _move(
        self,
        module: PointMover,
        points: PointSet,
        logits: Tensor,
        frame: Frame,
        embedding: ImageEmbedding,
    ) -> Moved:
        features = {name: embedding.features[name].to(logits.device) for name in module.names}
        found: Moved = module(points, features, logits, frame, embedding.geometry.padded)
        return found

    def _build(self, channels: Mapping[str, int]) -> None:
        config = self.config
        sizes = MoverSizes(
            channels=channels,
            width=config.width,
            looked=config.looked,
            samples=config.samples,
            depth=config.depth,
            reach=config.reach,
            rounds=config.rounds,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            module = PointMover(sizes)
        module.requires_grad_(False)
        count = sum(parameter.numel() for parameter in module.parameters())
        self.config = replace(config, channels=channels, parameters=count)
        self.module = module


def _feature_maps(embedding: ImageEmbedding) -> dict[str, int]:
    """Channels of each feature map by name, without the kept pixels."""
    return {
        name: int(tensor.shape[1])
        for name, tensor in sorted(embedding.features.items())
        if tensor.is_floating_point() and tensor.dim() == 4
    }


def _offsets(points: PointSet, moved: Moved, outlines: list[Outline]) -> list[Points]:
    """Total move of the points of each mask, (P_b, 2) in input pixels."""
    whole = (moved.places[-1] - points.places).detach().double().cpu().numpy()
    ends = np.cumsum([sum(outline.counts) for outline in outlines])
    return list(np.split(whole, ends[:-1]))
