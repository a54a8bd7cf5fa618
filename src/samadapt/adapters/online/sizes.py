"""Sizes: which of the candidates a single click means, learned from the sizes of accepted objects.

A click is ambiguous: it may mean a thing or a part of it. Objects of one project are mostly of one
kind and of similar size, so a candidate of the usual size is the likelier meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.online.evidence import mean_gain
from samadapt.metrics import iou
from samadapt.models.candidates import Candidates

_LEAST = 2
"""Objects without which nothing is known of sizes, and gains without which none is trusted."""

_PRIOR_VARIANCE = 0.5
"""Variance of log areas before any is seen; it counts as much as `_LEAST` objects."""

_TEMPERATURE = 0.1
"""Difference of predicted IoUs that makes one candidate e times as likely as another; nano's scores
learned their ranking with it."""

_CAUTION = 1.0
"""Nats by which a candidate must be likelier than the model's own choice."""

_FARTHEST = -8.0
"""No size is less likely than one four standard deviations away, in nats."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the objects accepted last, and what choosing by them gained.

    Attributes:
        areas: natural logarithm of each object's share of its image, oldest first.
        gains: IoU of the candidate chosen by size minus that of the model's own choice, with the
            object's accepted mask, oldest first; each taken before the object was learned.
    """

    areas: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()

    def learned(
        self,
        candidates: Candidates | None,
        accepted: NDArray[np.bool_],
        window: int,
    ) -> Sizes:
        """Return the sizes with one more object.

        Args:
            candidates: answers to its first click; None for an object that did not begin with a
                single click.
            accepted: (H, W) its mask.
            window: number of objects that are remembered.
        """
        gains = self.gains
        if candidates is not None and len(self.areas) >= _LEAST:
            masks = candidates.masks
            chosen = self.likeliest(candidates)
            gain = iou(masks[chosen], accepted) - iou(masks[candidates.own], accepted)
            gains = (*gains, gain)[-window:]
        return replace(self, areas=(*self.areas, _log_share(accepted))[-window:], gains=gains)

    def are_trusted(self, window: int) -> bool:
        """Whether choosing by size has been better than the model's own choice.

        Args:
            window: number of objects that are remembered.
        """
        return len(self.gains) >= _LEAST and mean_gain(self.gains, window)[0] > 0

    def likeliest(self, candidates: Candidates) -> int:
        """Index of the candidate with the best sum of score and likelihood of its log area.

        Log areas are taken as normally distributed.
        """
        masks, scores = candidates.masks, candidates.scores
        count = len(self.areas)
        spread = count * np.var(self.areas) + _LEAST * _PRIOR_VARIANCE
        variance = spread / (count + _LEAST)
        apart = np.array([_log_share(mask) for mask in masks]) - np.mean(self.areas)
        nats = scores / _TEMPERATURE + np.maximum(-(apart**2) / (2 * variance), _FARTHEST)
        nats[candidates.own] += _CAUTION
        return int(np.argmax(nats))


def _log_share(mask: NDArray[np.bool_]) -> float:
    return float(np.log(max(int(np.count_nonzero(mask)), 1) / mask.size))
