"""`RandomWalker`: scikit-image's random walker (Grady, PAMI 2006), seeded by clicks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import random_walker

from samadapt.benchmark.baselines.base import Baseline, Clicked
from samadapt.benchmark.baselines.regions import confirmed, distance_from, likely_background
from samadapt.benchmark.baselines.working_image import BACKGROUND, OBJECT, UNKNOWN

_SURE = 0.01
"""Distance from 1/2 to which the probability of a corrected pixel is set."""


@dataclass(frozen=True, slots=True)
class RandomWalker(Baseline):
    """Random walker with discs around clicks as seeds, and eight seeds on the image's border.

    The seeds in the corners and in the middle of the sides are background, except near positive
    clicks and where the mask before reached them. In the result, parts without a positive click
    are removed, and holes without a negative click are filled.

    Attributes:
        seed_radius: of the disc around a click, as a share of the longest side.
        border_gap: distance from positive clicks within which the border is not background, as a
            share of the longest side.
        beta: penalty of edges.
        tolerance: of the conjugate gradients, preconditioned by Jacobi.
    """

    name: ClassVar[str] = "random-walker"

    seed_radius: float = 0.012
    border_gap: float = 0.05
    beta: float = 500
    tolerance: float = 0.01

    def segment(self, clicked: Clicked) -> NDArray[np.float32]:
        """See `Baseline.segment`."""
        pixels, seeds, before, _ = clicked
        probability = self._walk(pixels, seeds, before)
        found = confirmed(probability > 0.5, seeds)
        probability = np.where(
            found, np.maximum(probability, 0.5 + _SURE), np.minimum(probability, 0.5 - _SURE)
        )
        probability[seeds == OBJECT] = 1
        probability[seeds == BACKGROUND] = 0
        return np.asarray(probability, np.float32)

    def _walk(
        self,
        pixels: NDArray[np.uint8],
        seeds: NDArray[np.uint8],
        before: NDArray[np.bool_] | None,
    ) -> NDArray[np.floating[Any]]:
        """Return the probability that a walker from a pixel meets the object first, (h, w).

        Where it cannot be computed (uniform colour, no convergence), the nearer seed decides.
        """
        labels = self._labels(seeds, before)
        known = set(np.unique(labels).tolist())
        if not {OBJECT, BACKGROUND} <= known:
            return np.full(seeds.shape, OBJECT in known, np.float32)
        if UNKNOWN in known and pixels.min() < pixels.max():
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                both = random_walker(
                    pixels.astype(np.float32) / 255,
                    labels,
                    beta=self.beta,
                    mode="cg_j",
                    tol=self.tolerance,
                    return_full_prob=True,
                    channel_axis=-1,
                )
            if np.isfinite(both).all():
                return np.asarray(both[0])
        is_nearer = distance_from(labels == OBJECT) < distance_from(labels == BACKGROUND)
        return is_nearer.astype(np.float32)

    def _labels(
        self, seeds: NDArray[np.uint8], before: NDArray[np.bool_] | None
    ) -> NDArray[np.int32]:
        """Return the seeds (h, w), with likely background on the image's border."""
        reach = max(1.0, self.seed_radius * max(seeds.shape))
        places = distance_from(_border_places(seeds.shape)) <= reach
        weak = likely_background(places, seeds, before, self.border_gap)
        return np.asarray(np.where(weak, BACKGROUND, seeds), np.int32)


def _border_places(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the corners and the middles of the sides, (h, w)."""
    height, width = shape
    places = np.zeros(shape, np.bool_)
    places[np.ix_([0, height // 2, height - 1], [0, width // 2, width - 1])] = True
    places[height // 2, width // 2] = False
    return places
