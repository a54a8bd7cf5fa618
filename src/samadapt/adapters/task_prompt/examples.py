"""Training examples for a `Judge`: masks of the task, and answers to points elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.fitting import MarkedImage
from samadapt.adapters.task_prompt.judge import pooled_features
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

_OUTSIDE, _FEW_OUTSIDE = 8, 32
"""Points outside of all masks per image, and at least in all images together."""
_MASKS = 1
"""Masks of an image that points are drawn in, drawn themselves."""
_INSIDE, _FEW_INSIDE = 2, 8
"""Points per such mask, and at least in as many images."""
_SAME, _OTHER = 0.4, 0.3
"""IoU above which an answer is an object of the task, and below which it is none.

The judge tells kinds apart; how good the outline is, the predicted IoU has to say.
"""
_BATCH = 32
_PURPOSE = 7_919


def gather(
    model: SegmentationModel, adapter: Seams, images: Iterable[MarkedImage], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Features (N, F) and labels (N,) of masks: the known ones, and answers to random points.

    An answer counts as an object if its IoU with a known mask is above 0.4, as none if it is
    below 0.3 with all, and not at all in between. Points are answered on the whole image, as
    in `propose`: at most 10 per image, a few more if there are few images.

    Args:
        model: answers.
        adapter: of the task, trained.
        images: encoded when they are needed.
        count: how many there will be about.
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
    decided = ((overlap > _SAME) | (overlap < _OTHER)) & answers.any(2).any(1)
    shown = torch.cat([known, answers[decided].float()])
    labels = torch.cat([torch.ones(len(known), dtype=torch.bool), overlap[decided] > _SAME])
    features = pooled_features(shown.to(embedding.image.device), embedding).cpu()
    return features, labels


def _points(
    masks: Sequence[NDArray[np.bool_]], count: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Centres (x, y) of pixels outside of all masks, and of some inside of a few of them."""
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
    """Masks (B, h, w) bool on the decoder's grid, nothing where there is padding."""
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
