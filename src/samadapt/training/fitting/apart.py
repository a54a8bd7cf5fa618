"""What an adapter learns apart from the rest, once that is finished: from its answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.step import Exercise, OutlineLearner, answers_to

MOST_ANSWERS = 100
"""Answers that are learned from at most; they are kept in memory, with the features they need."""

_BATCH = 8
"""Answers per step."""
_PURPOSE = 104_729


class Answer(NamedTuple):
    """One answer: the view that was decoded, its logits (1, h, w) and the target (1, h, w)."""

    view: ImageEmbedding
    logits: Tensor
    target: Tensor


class ApartStep(NamedTuple):
    """One step: the mean loss, and whether it was taken, as a finite gradient is."""

    loss: float
    taken: bool


def finished_answers(
    model: SegmentationModel,
    adapter: Seams,
    lessons: Iterable[tuple[ImageEmbedding, Sequence[Exercise]]],
) -> list[Answer]:
    """What the adapter answers in use, without gradients.

    Args:
        model: the adapter's.
        adapter: all but what learns apart is final.
        lessons: images with exercises, as many as are needed.
    """

    def every() -> Iterator[Answer]:
        for embedding, exercises in lessons:
            for view, logits, target in answers_to(model, [adapter], embedding, exercises):
                for row in range(len(logits)):
                    yield Answer(view, logits[row : row + 1].clone(), target[row : row + 1])

    with torch.no_grad():
        return list(itertools.islice(every(), MOST_ANSWERS))


def learn_apart(
    adapter: OutlineLearner,
    parameters: Sequence[torch.nn.Parameter],
    answers: Sequence[Answer],
    recipe: FitRecipe,
    steps: int,
) -> Iterator[ApartStep]:
    """Lessons from drawn answers, one step after the other, each yielded when it is done.

    Everything depends on the seed, the answers and the parameters alone: a run that was killed
    does it again.

    Args:
        adapter: knows the loss.
        parameters: that learn; they ask for gradients.
        answers: at least one.
        recipe: how; the schedule is that of the other parameters.
        steps: how many.
    """
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    rng = np.random.default_rng([recipe.seed, _PURPOSE])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, steps)
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for index in rng.choice(len(answers), min(_BATCH, len(answers)), replace=False):
            view, logits, target = answers[index]
            valid = view.geometry.valid((logits.shape[-2], logits.shape[-1]), logits.device)
            losses = adapter.training_loss(logits, target, valid, view)
            if losses is None:
                continue
            loss = losses.sum() / min(_BATCH, len(answers))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        finite = bool(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip).isfinite())
        if finite:
            optimizer.step()
        yield ApartStep(total, finite)
