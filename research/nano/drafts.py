"""Drafts: nearly right masks to begin with, so that corrections of late rounds are learned too."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_MOST_FAULTS = 3
_FAULT_SIZES = (0.1, 0.45)
_LOGITS = (3.0, 9.0)


def draft_of(truth: NDArray[np.bool_], rng: Generator) -> NDArray[np.bool_]:
    """A mask (h, w) that is wrong in one to three places along the edge of `truth` (h, w).

    To correct such masks is a task of its own in FocalClick (Chen et al. 2022). Each fault is an
    ellipse, added or taken away, of 0.1 to 0.45 of the object's size (the square root of its
    area). A third of the drafts is also a pixel too wide or too narrow all around. An empty
    `truth` stays empty.
    """
    draft = truth.astype(np.uint8)
    cross = np.ones((3, 3), np.uint8)
    ys, xs = np.nonzero(draft & ~cv2.erode(draft, cross, borderValue=0))
    if not len(ys):
        return truth.copy()
    size = math.sqrt(float(draft.sum()))
    for _ in range(int(rng.integers(1, _MOST_FAULTS + 1))):
        place = int(rng.integers(len(ys)))
        long = max(1.0, size * rng.uniform(*_FAULT_SIZES))
        axes = (round(long), max(1, round(long * rng.uniform(0.4, 1.0))))
        centre, angle = (int(xs[place]), int(ys[place])), float(rng.uniform(0, 180))
        cv2.ellipse(draft, centre, axes, angle, 0, 360, int(rng.integers(2)), thickness=-1)
    wide = rng.integers(6)
    if wide < 2:
        draft = (cv2.dilate if wide else cv2.erode)(draft, cross)
    return draft.astype(bool) if draft.any() else truth.copy()


def logits_of(draft: NDArray[np.bool_], rng: Generator) -> NDArray[np.float32]:
    """Logits (h, w) of a draft (h, w), more or less sure of themselves."""
    return np.asarray((2.0 * draft - 1) * rng.uniform(*_LOGITS), np.float32)
