"""Training examples for a `Judge`: masks of the task, and predictions for points elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.fitting import MarkedImage
from samadapt.adapters.task_prompt.judge import pooled_features
from samadapt.metrics import SAME_OBJECT
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

_OUTSIDE, _FEW_OUTSIDE = 8, 32
"""Number of points outside of all masks: per image, and at least in all images together."""
_MASKS = 1
"""Number of random masks per image in which points are drawn."""
_INSIDE, _FEW_INSIDE = 2, 8
"""Number of points in such a mask, and the least total of such masks."""
_OTHER = 0.4
"""A mask with a lower IoU with all known masks is a negative example; from `SAME_OBJECT` on it is
positive, and in between it is left out (as in RetinaNet, Lin et al. 2017)."""
_BATCH = 32
_PURPOSE = 7_919


def gather(
    model: SegmentationModel, adapter: Seams, images: Iterable[MarkedImage], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Features (N, F) and labels (N,) of masks: the known ones, and predictions for random points.

    A prediction is a positive example if its IoU with a known mask is at least 0.5, a negative
    one if it is below 0.4 with all of them, and left out otherwise. Points are decoded on the
    whole image, as in `propose`: at most 10 per image, a few more if there are few images.

    Args:
        model: predicts the masks.
        adapter: of the task, trained.
        images: encoded when they are needed.
        count: approximate number of images.
        seed: of the points.
    """
    found = [
        _of_image(model, adapter, image, count, np.random.default_rng([seed, _PURPOSE, place]))
        for place, image in enumerate(images)
    ]
    if not found:
        return torch.zeros(0, 0), torch.zeros(0, dtype=torch.bool)
    features, labels = zip(*found, strict=True)
    return torch.cat(features), torch.cat(labels)


def _of_image(
    model: SegmentationModel,
    adapter: Seams,
    image: MarkedImage,
    count: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    embedding, masks = image
    size = model.logits_size(embedding)
    known = torch.cat(
        [embedding.geometry.to_decoder(torch.from_numpy(mask)[None, None], size) for mask in masks]
    )[:, 0]
    points = _points(masks, count, rng)
    answers = _answers(model, adapter, embedding, points).cpu()
    overlap = _ious(answers, known).amax(1)
    decided = ((overlap >= SAME_OBJECT) | (overlap < _OTHER)) & answers.any(2).any(1)
    shown = torch.cat([known, answers[decided].float()])
    labels = torch.cat([torch.ones(len(known), dtype=torch.bool), overlap[decided] >= SAME_OBJECT])
    features = pooled_features(shown.to(embedding.image.device), embedding).cpu()
    return features, labels


def _points(
    masks: Sequence[NDArray[np.bool_]], count: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Centres (x, y) of random pixels outside of all masks, and inside of a few masks."""
    width = masks[0].shape[1]
    outside = np.flatnonzero(~np.any(masks, axis=0))
    most = min(len(outside), max(_OUTSIDE, _FEW_OUTSIDE // count))
    chosen = [rng.choice(outside, most, replace=False)]
    for index in rng.permutation(len(masks))[:_MASKS]:
        places = np.flatnonzero(masks[index])
        most = min(len(places), max(_INSIDE, _FEW_INSIDE // count))
        chosen.append(rng.choice(places, most, replace=False))
    rows, columns = np.divmod(np.concatenate(chosen), width)
    return [(float(x) + 0.5, float(y) + 0.5) for x, y in zip(columns, rows, strict=True)]


def _answers(
    model: SegmentationModel,
    adapter: Seams,
    embedding: ImageEmbedding,
    points: Sequence[tuple[float, float]],
) -> Tensor:
    """Predicted masks (B, h, w) bool on the decoder's grid, False in padding."""
    prompts = [Prompt([point]) for point in points]
    logits = [
        model.decode(embedding, prompts[i : i + _BATCH], adapters=[adapter]).logits[:, 0]
        for i in range(0, len(prompts), _BATCH)
    ]
    found = torch.cat(logits) > 0
    return found & embedding.geometry.valid((found.shape[1], found.shape[2]), found.device)


def _ious(answers: Tensor, known: Tensor) -> Tensor:
    """IoU (A, K) of masks (A, h, w) with soft masks (K, h, w)."""
    a, k = answers.flatten(1).float(), known.flatten(1).float()
    shared = a @ k.T
    return shared / (a.sum(1)[:, None] + k.sum(1) - shared).clamp_min(1e-6)
