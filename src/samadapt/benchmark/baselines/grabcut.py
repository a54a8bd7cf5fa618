"""`GrabCut`: OpenCV's GrabCut (Rother et al., SIGGRAPH 2004), seeded by clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.baselines.base import Baseline, Clicked
from samadapt.benchmark.baselines.geodesic import edge_cost, geodesic_distance
from samadapt.benchmark.baselines.regions import (
    border,
    confirmed,
    distance_from,
    likely_background,
)
from samadapt.benchmark.baselines.working_image import BACKGROUND, OBJECT

_SEED = 0
_MODEL = (1, 65)
"""Shape of OpenCV's array for a mixture of five Gaussians."""


@dataclass(frozen=True, slots=True)
class GrabCut(Baseline):
    """GrabCut with discs around clicks as definite labels and a guess as probable ones.

    The guess at the first click is a disc around it. From the second click on it is the mask
    before, where pixels nearer to the latest click than to any opposite click, along paths that
    avoid edges, get its label; for a positive click the image's border counts as opposite. From
    then on the border is also definite background, except near positive clicks and where the mask
    before reached it. In the result, parts without a positive click are removed, and holes without
    a negative click are filled.

    Attributes:
        seed_radius: of the disc with definite labels, as a share of the longest side.
        guess_radius: of the first guess, as a share of the longest side.
        border_gap: distance from positive clicks within which the border gets no label, as a
            share of the longest side.
        step: see `edge_cost`.
        iterations: of GrabCut at every click.
    """

    name: ClassVar[str] = "grabcut"

    seed_radius: float = 0.012
    guess_radius: float = 0.15
    border_gap: float = 0.05
    step: float = 1.0
    iterations: int = 5

    def segment(self, clicked: Clicked) -> NDArray[np.float32]:
        """See `Baseline.segment`; probabilities are 0 or 1."""
        pixels, seeds, before, _ = clicked
        guess = self._guess(clicked)
        labels = np.where(guess, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[seeds == OBJECT] = cv2.GC_FGD
        labels[seeds == BACKGROUND] = cv2.GC_BGD
        if before is not None:
            outside = likely_background(border(seeds.shape), seeds, before, self.border_gap)
            labels[outside] = cv2.GC_BGD
        found = confirmed(self._cut(pixels, labels), seeds)
        found[seeds == OBJECT] = True
        found[seeds == BACKGROUND] = False
        return found.astype(np.float32)

    def _guess(self, clicked: Clicked) -> NDArray[np.bool_]:
        pixels, seeds, before, latest = clicked
        if before is None:
            reach = self.guess_radius * max(seeds.shape)
            return np.asarray(distance_from(seeds == OBJECT) <= reach)
        label = seeds[latest]
        opposite = seeds == (BACKGROUND if label == OBJECT else OBJECT)
        if label == OBJECT:
            opposite |= border(seeds.shape) & (seeds == 0)
        here = np.zeros(seeds.shape, np.bool_)
        here[latest] = True
        cost = edge_cost(pixels, self.step)
        taken = geodesic_distance(cost, here) < geodesic_distance(cost, opposite)
        return np.where(taken, label == OBJECT, before)

    def _cut(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return GrabCut's object, or that of the labels where GrabCut fails."""
        models = np.zeros(_MODEL), np.zeros(_MODEL)
        cv2.setRNGSeed(_SEED)
        cut = labels.copy()
        try:
            cv2.grabCut(pixels, cut, None, *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        except cv2.error:  # one of the two has no pixel to learn its colours from
            cut = labels
        return np.asarray((cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD))
