"""Prompts for an object, by the names in a recipe."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.fitting import EDGE
from samadapt.prompts import Prompt
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.prompt_sampling import PromptSampler

RIM = 0.25
"""Pixels are near the edge up to this share of the object's largest depth."""


def drawn_prompt(
    name: str,
    mask: NDArray[np.bool_],
    sampler: PromptSampler,
    recipe: FitRecipe,
    rng: np.random.Generator,
) -> Prompt:
    """Draw one prompt of a kind given by name."""
    if name == EDGE:
        sampler = PromptSampler(rim(mask))
    return sampler.draw(recipe.kind(name, rng), rng)


def rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask (H, W) near its edge: up to `RIM` of its largest depth, at least 1.

    The border of the image is an edge too.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    found: NDArray[np.bool_] = mask & (depth <= max(1.0, RIM * float(depth.max())))
    return found
