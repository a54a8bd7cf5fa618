"""Candidates: what a single click may mean, for an adapter that has learned to choose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samadapt.models.prediction import Prediction
from samadapt.prompts import Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Answers to one click on an object.

    Attributes:
        masks: (K, H, W) bool.
        scores: (K,) float32 predicted IoUs.
        own: index of the one that the model takes without an adapter's choice.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    own: int

    @classmethod
    def of(cls, found: Prediction, single: bool) -> Candidates:
        """The candidates of a prediction; with `single` the first one is the model's own."""
        return cls(found.masks, found.scores, 0 if single else found.best)


def is_single_click(prompt: Prompt) -> bool:
    """Whether a prompt is one click on an object and nothing else."""
    alone = len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
    return alone and prompt.clicks[0].positive


def joined(first: Prediction, others: Prediction) -> Prediction:
    """The masks of two answers to the same prompt on the same view, in order."""
    return replace(
        first,
        masks=np.concatenate([first.masks, others.masks]),
        scores=np.concatenate([first.scores, others.scores]),
        logits=np.concatenate([first.logits, others.logits]),
    )


def only(found: Prediction, index: int) -> Prediction:
    """One mask of a prediction."""
    part = slice(index, index + 1)
    return replace(
        found, masks=found.masks[part], scores=found.scores[part], logits=found.logits[part]
    )
