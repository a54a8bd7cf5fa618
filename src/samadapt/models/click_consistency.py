"""Click consistency: counts violated clicks and picks the better of two predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from samadapt.models.prediction import Prediction
from samadapt.prompts import Click, Prompt


def is_inside(mask: NDArray[np.bool_], click: Click) -> bool:
    """Whether a click lies in a mask (H, W)."""
    row = min(int(click.y), mask.shape[0] - 1)
    column = min(int(click.x), mask.shape[1] - 1)
    return bool(mask[row, column])


def violated_clicks(masks: NDArray[np.bool_], prompt: Prompt) -> NDArray[np.int64]:
    """Number of clicks that each of K masks (K, H, W) has on the wrong side, (K,)."""
    wrong = [[is_inside(mask, c) != c.positive for c in prompt.clicks] for mask in masks]
    return np.array([sum(row) for row in wrong], np.int64)


def more_consistent(first: Prediction, second: Prediction, prompt: Prompt) -> Prediction:
    """Return for each candidate the version that violates fewer clicks; the first at a tie.

    Args:
        first: a prediction for `prompt`.
        second: another one with as many masks, on the same view.
        prompt: with at least one click.
    """
    better = violated_clicks(second.masks, prompt) < violated_clicks(first.masks, prompt)
    if not better.any():
        return first
    maps = better[:, None, None]
    return replace(
        first,
        masks=np.where(maps, second.masks, first.masks),
        scores=np.where(better, second.scores, first.scores),
        logits=np.where(maps, second.logits, first.logits),
    )
