"""`Judge`: a classifier of masks, which returns the probability that one shows the task."""

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
"""Of the weights' Gaussian prior, for features of unit length in each group."""
_STEPS = 50
_LEAST = 1e-4


class Judge(nn.Module):
    """Regularised logistic regression on image features that are pooled over a mask.

        p = sigmoid(w (x - m) / s + b),  x = [f_in, f_in - f_ring, log area, log aspect]

    f_in is the mean image feature in the mask, f_ring that in a ring around it. m and s are mean
    and deviation of the examples; s has a factor sqrt(C) for the first two groups, so that both
    together weigh as much as the two numbers of the shape. Nothing here is a parameter: it is
    fitted in closed steps when the training ends, not by the optimiser. All zeros: untrained.

    Args:
        channels: C.
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
        """Whether there is anything to judge by."""
        return bool(self.weight.any())

    def forward(self, features: Tensor) -> Tensor:
        """Probabilities (B,) of masks with `pooled_features` (B, F).

        Examples of both kinds counted the same, so 0.5 is as likely one as the other.
        """
        scaled = (features - self.mean) / self.deviation.clamp_min(_LEAST)
        return torch.sigmoid(scaled @ self.weight + self.bias)

    def learn(self, features: Tensor, labels: Tensor) -> None:
        """Fit everything to examples; untrained again if they are all of one kind.

        Minimises sum_i c_i log(1 + exp(-y_i z_i)) + |w|^2 / (2 v), where c gives both kinds the
        same sum N / 2. The fewer the examples, the stronger the ridge. Some negatives may be
        objects of the task that nobody marked: that leaves the order of probabilities as it is,
        and those of the task's kind, on average, at 0.5 or more, because with a share a of
        them among the negatives p = 1 / (1 + a) where all are of the kind.

        Args:
            features: (N, F), see `pooled_features`.
            labels: (N,) bool, whether it is of the task's kind.
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
    """(B, 2): log of the share of the image, log of height by width (of standard deviations)."""
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
