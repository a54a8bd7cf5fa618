"""Later phases of training, which learn from predictions of the earlier phases."""

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
"""Largest number of predictions to learn from; they stay in memory, with their features."""

_BATCH = 8
"""Predictions per step."""
_PURPOSE = 104_729


class FinishedPrediction(NamedTuple):
    """A decoded view, its logits (1, h, w) and the target (1, h, w)."""

    view: ImageEmbedding
    logits: Tensor
    target: Tensor


class LaterStep(NamedTuple):
    """One step: the mean loss, and whether its gradient was finite, so that it was applied."""

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
        adapter: with the final parameters of earlier phases.
        samples: images with prompts; read until there are enough predictions.
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
    """Take steps on predictions drawn at random, and yield each step when it is done.

    The result depends on the seed, the predictions and the parameters alone, so that an
    interrupted run can repeat it.

    Args:
        phase: its parameters require gradients.
        finished: at least one.
        recipe: settings; the schedule is that of the first phase.
        steps: number of steps.
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
