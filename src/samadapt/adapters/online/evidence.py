"""Evidence: a comparison of the adapted with the frozen decoder on the objects accepted last."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.online.settings import GuardSettings
from samadapt.clicks import next_click
from samadapt.errors import PromptError
from samadapt.metrics import SAME_OBJECT, iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

_HAMPEL = 3.0
"""Robust deviations from the median to which a value is clipped (Hampel 1974)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Paired scores of the objects accepted last, each measured before the object was learned.

    Attributes:
        gains: adapted minus frozen score of each object, oldest first.
        surprises: 1 - IoU of each accepted mask with the mask predicted before, oldest first.
        trusted: False once the adapted decoder lost trust, until it regains it; see `answers`.
    """

    gains: tuple[float, ...] = ()
    surprises: tuple[float, ...] = ()
    trusted: bool = True

    def with_gain(self, gain: float, guard: GuardSettings) -> Evidence:
        """Return the evidence with one more object.

        Trust is lost when the mean gain lies more than its standard error below 0, and (re)gained
        when the mean is above 0. Two of the last three objects have to agree, so that a single
        wrong mask decides nothing.
        """
        gains = (*self.gains, gain)[-guard.evidence :]
        mean, error = mean_gain(gains, guard.evidence)
        if self.answers(guard):
            trusted = not (sum(gain < 0 for gain in gains[-3:]) >= 2 and mean < -error)
        else:
            trusted = sum(gain > 0 for gain in gains[-3:]) >= 2 and mean > 0
        return replace(self, gains=gains, trusted=trusted)

    def answers(self, guard: GuardSettings) -> bool:
        """Return True if predictions use the adapted decoder.

        With `guard.depths` it has to gain trust first; otherwise it begins with it.
        """
        return self.trusted and (bool(self.gains) or not guard.depths)

    def has_lost(self, guard: GuardSettings) -> bool:
        """Return True if the adapted decoder was used before, and lost trust since."""
        past, was_used = Evidence(), not guard.depths
        for gain in self.gains:
            past = past.with_gain(gain, guard)
            was_used = was_used or past.answers(guard)
        return was_used and not self.answers(guard)

    def with_surprise(self, surprise: float, guard: GuardSettings) -> Evidence:
        """Return the evidence with one more accepted mask, suspicious or not."""
        return replace(self, surprises=(*self.surprises, surprise)[-max(guard.evidence, 1) :])

    def is_outlier(self, surprise: float) -> bool:
        """Return True if an accepted mask seems to show another object than the prediction before.

        It does if their IoU is below 0.5, unless this holds for half of the earlier objects, whose
        predictions usually have to be changed that much.
        """
        usual = float(np.median(self.surprises or (0.0,)))
        return usual <= 1 - SAME_OBJECT < surprise


def mean_gain(gains: tuple[float, ...], window: int) -> tuple[float, float]:
    """Return the mean of robust gains with exponential forgetting, and its standard error.

    Each gain is clipped to within 3 robust deviations of the median (the Hampel identifier), so
    that one wrongly accepted mask cannot decide. A gain weighs (window - 1) / (window + 1) times
    as much as the next newer one, which gives the weights the same mean age as equal weights of
    `window` gains. The error is that of a weighted mean with n = (sum w)^2 / sum w^2 effective
    objects (Kish 1965): infinite for one object. Without gains both are 0.

    Args:
        gains: oldest first.
        window: number of objects that are remembered, at least 1.
    """
    if not gains:
        return 0.0, 0.0
    values = np.array(gains)
    middle = float(np.median(values))
    reach = _HAMPEL * _deviation(values - middle)
    values = values.clip(middle - reach, middle + reach)
    weights = ((window - 1) / (window + 1)) ** np.arange(len(values) - 1, -1, -1)
    weights /= weights.sum()
    mean = float(weights @ values)
    effective = 1 / float((weights**2).sum())
    if effective <= 1:
        return mean, float("inf")
    variance = float(weights @ (values - mean) ** 2)
    return mean, float(np.sqrt(variance / (effective - 1)))


def _deviation(differences: NDArray[np.float64]) -> float:
    """Robust standard deviation from differences to the median (Iglewicz & Hoaglin 1993).

    It is the scaled median of their absolute values, or, if more than half of them are 0, the
    scaled mean.
    """
    sizes = np.abs(differences)
    return 1.4826 * float(np.median(sizes)) or 1.2533 * float(sizes.mean())


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
        adapters: in use, in order.
        multimask: the first prompt is answered with candidates; the one with the highest score
            counts.
        clicks: 0 leaves out the second prediction and returns the first IoU twice.
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
