"""Which clicks a mask has on the wrong side, and the better of two answers to them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Click, Prompt


def is_inside(mask: NDArray[np.bool_], click: Click) -> bool:
    """Whether a click lies in a mask (H, W)."""
    row = min(int(click.y), mask.shape[0] - 1)
    column = min(int(click.x), mask.shape[1] - 1)
    return bool(mask[row, column])


def disobeyed(masks: NDArray[np.bool_], prompt: Prompt) -> NDArray[np.int64]:
    """How many clicks each of K masks (K, H, W) has on the wrong side, (K,)."""
    wrong = [[is_inside(mask, c) != c.positive for c in prompt.clicks] for mask in masks]
    return np.array([sum(row) for row in wrong], np.int64)


def more_obedient(first: Prediction, second: Prediction, prompt: Prompt) -> Prediction:
    """Of each candidate the version that has fewer clicks on the wrong side, at a tie the first.

    Args:
        first: of `prompt`.
        second: of the same prompt, as many masks, on the same view.
        prompt: with at least one click.
    """
    better = disobeyed(second.masks, prompt) < disobeyed(first.masks, prompt)
    if not better.any():
        return first
    maps = better[:, None, None]
    return replace(
        first,
        masks=np.where(maps, second.masks, first.masks),
        scores=np.where(better, second.scores, first.scores),
        logits=np.where(maps, second.logits, first.logits),
    )


def obedient_answers(
    answer: Callable[[Sequence[Prompt], Sequence[Seams]], list[Prediction]],
    prompts: Sequence[Prompt],
    adapters: Sequence[Seams],
) -> list[Prediction]:
    """Answers to prompts, with those of cautious adapters (`Seams.cautious`) where they obey more.

    Args:
        answer: prompts and adapters to a prediction for each prompt.
        prompts: to be answered.
        adapters: in use.
    """
    found = answer(prompts, adapters)
    careful = [seam.cautious() for seam in adapters]
    if all(map(operator.is_, careful, adapters)):
        return found
    rows = [i for i, p in enumerate(prompts) if disobeyed(found[i].masks, p).any()]
    if rows:
        again = answer([prompts[i] for i in rows], careful)
        for index, other in zip(rows, again, strict=True):
            found[index] = more_obedient(found[index], other, prompts[index])
    return found
