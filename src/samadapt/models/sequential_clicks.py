"""Sequential clicks: several clicks given at once, answered one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from samadapt.models.click_consistency import is_inside
from samadapt.models.prediction import Prediction
from samadapt.prompts import Click, Prompt


def is_click_sequence(prompt: Prompt) -> bool:
    """Whether a prompt consists of several clicks alone, at least one of them on the object."""
    several = len(prompt.points) > 1 and prompt.box is None and prompt.mask is None
    return several and any(click.positive for click in prompt.clicks)


def answer_sequentially(
    answer: Callable[[Prompt], Prediction], prompt: Prompt
) -> tuple[Prompt, Prediction]:
    """Answer one click, then add violated clicks one by one until the mask violates none.

    The first is the most central click on the object. The next one is the violated click that is
    furthest from all clicks used so far. Clicks that the mask satisfies are left out, because a
    model that was trained with corrections takes every further click for an error in its mask.

    Args:
        answer: predicts one mask for a prompt.
        prompt: a prompt for which `is_click_sequence` holds.

    Returns:
        The last prompt, with the logits before it, and its prediction.
    """
    clicks = prompt.clicks
    used = [_most_central(clicks)]
    asked = Prompt.from_clicks([clicks[used[0]]])
    found = answer(asked)
    while True:
        wrong = [
            index
            for index, click in enumerate(clicks)
            if index not in used and is_inside(found.masks[0], click) != click.positive
        ]
        if not wrong:
            return asked, found
        used.append(max(wrong, key=lambda index: _distance(clicks, index, used)))
        asked = Prompt.from_clicks([clicks[index] for index in used])
        asked = asked.with_mask(found.logits[0], found.window)
        found = answer(asked)


def _most_central(clicks: tuple[Click, ...]) -> int:
    inside = [index for index, click in enumerate(clicks) if click.positive]
    middle = np.mean([(clicks[index].x, clicks[index].y) for index in inside], axis=0)
    return min(inside, key=lambda i: math.hypot(clicks[i].x - middle[0], clicks[i].y - middle[1]))


def _distance(clicks: tuple[Click, ...], index: int, used: list[int]) -> float:
    here = clicks[index]
    return min(math.hypot(here.x - clicks[i].x, here.y - clicks[i].y) for i in used)
