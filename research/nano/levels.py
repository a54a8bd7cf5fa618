"""Nested masks around one click: whole, part, part of the part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

LEVELS = 3
_DIFFERENT = 0.8
"""Masks count as different levels below this IoU."""
_RELATED = 0.03
"""Nor is a mask one that overlaps less: it is too small a part."""
_NESTED = 0.93
"""Share of the smaller mask that must lie in the larger one."""
_STEP = 2
"""Overlaps are measured on every so many pixels."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What one click may mean.

    Attributes:
        masks: (3, S, S) uint8 from the largest to the smallest, each within the one before; the
            chosen mask is one of them. Empty where not valid.
        valid: (3,) bool, the first ones.
        click: (2,) float32 (x, y) in pixels inside every level, or NaN when there is one level.
    """

    masks: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    click: NDArray[np.float32]


def nested_levels(
    rng: Generator, chosen: Mask, candidates: Sequence[Mask], smallest: int = 40
) -> Levels:
    """Up to two other masks that contain the chosen one or lie in it, and a click inside all.

    Args:
        rng: source of randomness.
        chosen: (S, S), not empty.
        candidates: masks (S, S) of the same crop, nested or not.
        smallest: pixels that each level must have.
    """
    chain = _exactly_nested(_chain(rng, chosen, candidates), chosen)
    chain = [mask for mask in chain if mask is chosen or mask.sum() >= smallest]
    masks = np.zeros((LEVELS, *chosen.shape), np.uint8)
    masks[: len(chain)] = chain
    click = _click(rng, chain[-1]) if len(chain) > 1 else (np.nan, np.nan)
    return Levels(masks, np.arange(LEVELS) < len(chain), np.asarray(click, np.float32))


def _chain(rng: Generator, chosen: Mask, candidates: Sequence[Mask]) -> list[Mask]:
    """The chosen mask and up to two others, each pair nested but different, largest first."""
    masks = [chosen, *(candidates[i] for i in rng.permutation(len(candidates)))]
    flat = np.stack([mask[::_STEP, ::_STEP].ravel() for mask in masks]).astype(np.float32)
    areas = flat.sum(1)
    chain = [0]
    fits = np.ones(len(masks), bool)
    while len(chain) < LEVELS:
        last = chain[-1]
        shared = flat @ flat[last]
        smaller = np.minimum(areas, areas[last])
        overlap = shared / np.maximum(areas + areas[last] - shared, 1)
        fits &= (shared >= _NESTED * smaller) & (overlap > _RELATED) & (overlap < _DIFFERENT)
        if not fits.any():
            break
        chain.append(int(fits.argmax()))
    return [masks[i] for i in sorted(chain, key=lambda i: -areas[i])]


def _exactly_nested(chain: list[Mask], chosen: Mask) -> list[Mask]:
    """The chosen mask stays; larger ones grow to hold it, smaller ones are cut off at it."""
    middle = next(i for i, mask in enumerate(chain) if mask is chosen)
    nested = list(chain)
    for i in range(middle - 1, -1, -1):
        nested[i] = nested[i] | nested[i + 1]
    for i in range(middle + 1, len(nested)):
        nested[i] = nested[i] & nested[i - 1]
    return nested


def _click(rng: Generator, mask: Mask) -> tuple[float, float]:
    """Centre of a pixel of the mask, mostly a deep one."""
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    share = rng.choice([0.95, 0.6, 0.1], p=[0.5, 0.3, 0.2])
    ys, xs = np.nonzero(depth >= share * depth.max())
    pick = int(rng.integers(len(ys)))
    return float(xs[pick]) + 0.5, float(ys[pick]) + 0.5
