"""Evidence: on the objects accepted last, was the adapted decoder better than the frozen one?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.online.settings import GuardSettings
from samadapt.clicks import next_click
from samadapt.errors import PromptError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

_MOST = 0.3
_FLOOR = 0.04


@dataclass(frozen=True, slots=True)
class Evidence:
    """Paired scores of the objects accepted last, each taken before it was learned.

    Attributes:
        gains: adapted minus frozen score of each object, oldest first.
        surprises: how little each accepted mask agreed with the last answer, oldest first.
        trusted: whether predictions use the adapted decoder.
    """

    gains: tuple[float, ...] = ()
    surprises: tuple[float, ...] = ()
    trusted: bool = True

    def with_gain(self, gain: float, guard: GuardSettings) -> Evidence:
        """With one more object.

        Trust is lost when the mean gain falls below -margin and two of the last three objects
        (the last two, if there are no more) lost as well; it comes back when the mean reaches
        +margin / 2.
        """
        gains = (*self.gains, gain)[-guard.evidence :]
        mean = mean_gain(gains, guard.forgetting)
        if self.trusted:
            losses = sum(gain < 0 for gain in gains[-3:])
            trusted = bool(losses < 2 or mean >= -guard.margin)
        else:
            trusted = bool(mean >= guard.margin / 2)
        return replace(self, gains=gains, trusted=trusted)

    def with_surprise(self, surprise: float, guard: GuardSettings) -> Evidence:
        """With one more accepted mask, suspicious or not."""
        kept = max(guard.evidence, 8)
        return replace(self, surprises=(*self.surprises, surprise)[-kept:])

    def is_outlier(self, surprise: float, guard: GuardSettings) -> bool:
        """Whether an accepted mask is far less like the last answer than is usual here.

        More than `outlier` deviations (1.48 times the median absolute deviation, at least 0.04)
        above the median. Medians, so that a few bad masks do not move the bar.
        """
        if not guard.outlier:
            return False
        known = np.array(self.surprises or (0.0,))
        middle = float(np.median(known))
        spread = 1.4826 * float(np.median(np.abs(known - middle)))
        return surprise > middle + guard.outlier * max(spread, _FLOOR)


def mean_gain(gains: tuple[float, ...], forgetting: float) -> float:
    """Mean with exponential forgetting of robust gains; 0 without any.

    Each gain is cut to within 3 deviations (at least 0.04) of the median, and to -0.3..0.3, so
    that one wrongly accepted mask cannot decide.
    """
    if not gains:
        return 0.0
    values = np.array(gains)
    middle = float(np.median(values))
    spread = 3 * max(1.4826 * float(np.median(np.abs(values - middle))), _FLOOR)
    values = values.clip(middle - spread, middle + spread).clip(-_MOST, _MOST)
    weights = forgetting ** np.arange(len(values) - 1, -1, -1)
    return float((values * weights).sum() / weights.sum())


def first_answers(
    model: SegmentationModel,
    embedding: ImageEmbedding,
    first: Prompt,
    accepted: NDArray[np.bool_],
    adapters: tuple[Seams, ...],
    multimask: bool = False,
    clicks: int = 1,
) -> tuple[float, float]:
    """IoU with the accepted mask after the first prompt, and after one simulated click.

    Args:
        model: the model.
        embedding: the image.
        first: the object's first prompt.
        accepted: the accepted mask (H, W).
        adapters: what answers.
        multimask: the first prompt is answered with candidates, the best of which is taken.
        clicks: 0 to leave the second answer out; the first counts twice then.
    """
    found = model.predict(embedding, first, multimask, adapters)
    best = found.best
    score = iou(found.masks[best], accepted)
    click = next_click(accepted, found.masks[best], missing_first=True) if clicks else None
    if click is None:
        return score, score
    points, labels = (*first.points, (click.x, click.y)), (*(first.labels or ()), click.label)
    try:
        again = Prompt(points, labels, first.box, found.logits[best], found.window)
        second: Prediction = model.predict(embedding, again, adapters=adapters)
    except PromptError:  # logits that a diverged decoder made infinite
        return score, 0.0
    return score, iou(second.masks[0], accepted)
