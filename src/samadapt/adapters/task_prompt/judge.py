"""`Judge`: a classifier that returns the probability that a mask shows an object of the task."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.embedding import ImageEmbedding

_RING = 2
"""Width of the ring around a mask, in cells of the image features."""
_SHAPES = 2
"""Features of a mask that do not come from the image: its area and its aspect."""
_VARIANCE = 1.0
"""Variance of the weights' Gaussian prior, for features of unit length in each group."""
_STEPS = 50
_LEAST = 1e-4


class Judge(nn.Module):
    """Regularised logistic regression on image features that are pooled over a mask.

        p = sigmoid(w (x - m) / s + b),  x = [f_in, f_in - f_ring, log area, log aspect]

    f_in is the mean image feature in the mask, f_ring the mean in a ring around it. m and s are
    mean and deviation of the examples; s has a factor sqrt(C) for the first two groups, so that
    both together weigh as much as the two shape features. The values are buffers, not parameters:
    Newton's method fits them after the training. All zeros: untrained.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = 2 * channels + _SHAPES
        for name in ("mean", "deviation", "weight"):
            self.register_buffer(name, torch.zeros(size))
        self.register_buffer("bias", torch.zeros(()))

    @property
    def is_trained(self) -> bool:
        """Whether the judge was fitted."""
        return bool(self.weight.any())

    def forward(self, features: Tensor) -> Tensor:
        """Probabilities (B,) of masks with `pooled_features` (B, F).

        Positive and negative examples have the same total weight, so 0.5 means undecided.
        """
        scaled = (features - self.mean) / self.deviation.clamp_min(_LEAST)
        return torch.sigmoid(scaled @ self.weight + self.bias)

    def learn(self, features: Tensor, labels: Tensor) -> None:
        """Fit the judge to examples; it is untrained if all have the same label.

        Minimises sum_i c_i log(1 + exp(-y_i z_i)) + |w|^2 / (2 v), where c gives positive and
        negative examples the same sum N / 2. The fewer the examples, the stronger the ridge. Some
        negatives may be unlabelled objects of the task. They do not change the order of the
        probabilities, and with a share a of them among the negatives an object of the task still
        gets p = 1 / (1 + a), that is 0.5 or more.

        Args:
            features: (N, F), see `pooled_features`.
            labels: (N,) bool, True for an object of the task.
        """
        if bool(labels.all()) or not bool(labels.any()):
            for buffer in self.buffers():
                buffer.zero_()
            return
        x, y = features.detach().cpu().double(), labels.cpu().double()
        mean, deviation = x.mean(0), x.std(0, unbiased=False).clamp_min(_LEAST)
        deviation[:-_SHAPES] *= math.sqrt((x.shape[1] - _SHAPES) / 2)
        counts = torch.where(labels.cpu(), y.sum(), (1 - y).sum())
        solution = _solve((x - mean) / deviation, y, len(y) / (2 * counts))
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.weight.copy_(solution[:-1])
        self.bias.copy_(solution[-1])


def pooled_features(masks: Tensor, embedding: ImageEmbedding) -> Tensor:
    """Return the features of masks that a `Judge` classifies.

    Args:
        masks: (B, h, w) in 0..1 on any grid over the padded input of the whole image, such as
            the decoder's.
        embedding: the image, with C channels.

    Returns:
        (B, 2 C + 2) float32; zeros for a mask without a cell.
    """
    image = embedding.image.float()
    valid = embedding.geometry.valid(embedding.grid, image.device).float()
    inside = F.interpolate(masks[:, None].to(image), embedding.grid, mode="area")[:, 0] * valid
    padded = F.max_pool2d(inside[:, None], 2 * _RING + 1, 1, _RING)[:, 0]
    ring = (padded - inside).clamp_min(0) * valid
    cells = image[0].flatten(1).T
    mean = _weighted(inside, cells)
    around = torch.where(ring.sum((1, 2))[:, None] > 0, _weighted(ring, cells), mean)
    found = torch.cat([mean, mean - around, _shape(inside, valid, embedding)], dim=1)
    return torch.where(inside.sum((1, 2))[:, None] > 0, found, 0.0)


# -- private --------------------------------------------------------------------------------


def _weighted(weights: Tensor, cells: Tensor) -> Tensor:
    """Means (B, C) of cells (h*w, C), by weights (B, h, w)."""
    flat = weights.flatten(1)
    return flat @ cells / flat.sum(1, keepdim=True).clamp_min(1e-12)


def _shape(inside: Tensor, valid: Tensor, embedding: ImageEmbedding) -> Tensor:
    """(B, 2): log of the area as a share of the image; log of height by width, in deviations."""
    area = inside.sum((1, 2)).clamp_min(1e-12)
    logs = [(area / valid.sum()).log()]
    for axis in (0, 1):
        cells = inside.shape[axis + 1]
        places = torch.arange(cells, device=inside.device, dtype=inside.dtype)
        weights = inside.sum(2 - axis) / area[:, None]
        middle = weights @ places
        variance = (weights * (places - middle[:, None]).square()).sum(1) + 1 / 12
        pixels = embedding.geometry.padded[axis] / cells / embedding.geometry.scale[1 - axis]
        logs.append(variance.log() / 2 + math.log(pixels))
    return torch.stack([logs[0], logs[1] - logs[2]], dim=1)


def _solve(x: Tensor, y: Tensor, counts: Tensor) -> Tensor:
    """Weights and bias (F + 1,) by Newton's method; halved steps keep it from overshooting."""
    x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    ridge = x.new_full((x.shape[1],), 1 / _VARIANCE)
    ridge[-1] = 0
    found = x.new_zeros(x.shape[1])

    def loss(at: Tensor) -> Tensor:
        fit = F.binary_cross_entropy_with_logits(x @ at, y, counts, reduction="sum")
        return fit + (ridge * at.square()).sum() / 2

    for _ in range(_STEPS):
        share = torch.sigmoid(x @ found)
        gradient = x.T @ (counts * (share - y)) + ridge * found
        curvature = (x.T * (counts * share * (1 - share))) @ x + ridge.diag()
        curvature[-1, -1] += 1e-9
        step = torch.linalg.solve(curvature, gradient)
        before = loss(found)
        while bool(loss(found - step) > before) and bool(step.abs().max() > 1e-9):
            step = step / 2
        found = found - step
        if bool(step.abs().max() < 1e-8):
            break
    return found
