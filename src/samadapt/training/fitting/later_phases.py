"""Later phases of training: they learn from the adapter's own finished predictions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from samadapt.adapters.fitting import Phase
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.step import TrainingSample, predictions

MOST_PREDICTIONS = 100
"""Predictions that are learned from at most; they stay in memory, with the features they need."""

_BATCH = 8
"""Predictions per step."""
_PURPOSE = 104_729


class FinishedPrediction(NamedTuple):
    """The view that was decoded, its logits (1, h, w) and the target (1, h, w)."""

    view: ImageEmbedding
    logits: Tensor
    target: Tensor


class LaterStep(NamedTuple):
    """One step: the mean loss, and whether it was taken, as a finite gradient is."""

    loss: float
    taken: bool


def finished_predictions(
    model: SegmentationModel,
    adapter: Seams,
    samples: Iterable[tuple[ImageEmbedding, Sequence[TrainingSample]]],
) -> list[FinishedPrediction]:
    """Return the adapter's predictions without gradients.

    Args:
        model: the adapter's.
        adapter: what earlier phases learned is final.
        samples: images with prompts, as many as are needed.
    """

    def every() -> Iterator[FinishedPrediction]:
        for embedding, some in samples:
            for view, logits, target in predictions(model, [adapter], embedding, some):
                for row in range(len(logits)):
                    one = slice(row, row + 1)
                    yield FinishedPrediction(view, logits[one].clone(), target[one])

    with torch.no_grad():
        return list(itertools.islice(every(), MOST_PREDICTIONS))


def learn_later(
    phase: Phase, finished: Sequence[FinishedPrediction], recipe: FitRecipe, steps: int
) -> Iterator[LaterStep]:
    """Take steps on predictions drawn at random, each yielded when it is done.

    Everything depends on the seed, the predictions and the parameters alone: a run that was killed
    does it again.

    Args:
        phase: its parameters ask for gradients.
        finished: at least one.
        recipe: how; the schedule is that of the first phase.
        steps: how many.
    """
    parameters = phase.parameters
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    rng = np.random.default_rng([recipe.seed, _PURPOSE])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, steps)
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        batch = min(_BATCH, len(finished))
        for index in rng.choice(len(finished), batch, replace=False):
            view, logits, target = finished[index]
            valid = view.geometry.valid((logits.shape[-2], logits.shape[-1]), logits.device)
            loss = phase.loss(logits, target, valid, view).sum() / batch
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        finite = bool(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip).isfinite())
        if finite:
            optimizer.step()
        yield LaterStep(total, finite)
