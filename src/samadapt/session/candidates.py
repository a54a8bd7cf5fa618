"""Choice of the candidate for a single click: the best one that is compact under the click."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.models.click_consistency import is_inside
from samadapt.models.prediction import Prediction
from samadapt.prompts import Click

_SPRAWLS = 0.5
"""A candidate sprawls if less than this share of it is under the click, or if it covers more than
this share of the image and reaches three of its edges."""


def part_under(mask: NDArray[np.bool_], x: float, y: float) -> NDArray[np.bool_] | None:
    """The connected part (8 neighbours) of a mask (H, W) that holds a point; None if none does."""
    if not is_inside(mask, Click(x, y)):
        return None
    painted = mask.astype(np.uint8)
    start = min(int(x), mask.shape[1] - 1), min(int(y), mask.shape[0] - 1)
    cv2.floodFill(painted, None, start, (2,), flags=8)
    part: NDArray[np.bool_] = painted == 2
    return part


def under_click(found: Prediction, x: float, y: float) -> Prediction:
    """Reduce each candidate of a single click to its connected part under the click.

    The default is the candidate with the highest score; candidates that sprawl over the image, or
    do not contain the click, are the default only if all do. Scores and logits do not change.

    Args:
        found: the model's prediction.
        x: pixels from the left edge.
        y: pixels from the top edge.
    """
    masks = found.masks.copy()
    ranks = []
    for mask, score in zip(masks, found.scores.tolist(), strict=True):
        part = part_under(mask, x, y)
        ranks.append((part is not None, part is not None and not _sprawls(mask, part), score))
        if part is not None:
            mask[:] = part
    default = max(range(len(ranks)), key=lambda index: ranks[index])
    return replace(found, masks=masks, default=default)


def _sprawls(mask: NDArray[np.bool_], part: NDArray[np.bool_]) -> bool:
    area = int(np.count_nonzero(part))
    if area < _SPRAWLS * np.count_nonzero(mask):
        return True
    edges = [part[0], part[-1], part[:, 0], part[:, -1]]
    return bool(area > _SPRAWLS * part.size) and sum(bool(edge.any()) for edge in edges) >= 3
