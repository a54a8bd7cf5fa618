"""Scenes made from photographs: their regions as objects, their look unlike a photograph's.

A model that learns from photographs learns that a click means a whole thing before its
surroundings, and that in an image of another kind everything that is not black is one thing. Here
it meets images of another kind (grey, dim, blurred, noisy, a lit field in the dark) in which a
click means the region under it: an area of even colour (Felzenszwalb and Huttenlocher 2004),
several of them joined, or a labelled object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from research.scenes.scene import Scene
from research.scenes.shapes import random_shape
from research.scenes.textures import band_noise

_SMALLEST = 60
"""Regions with fewer pixels are no objects."""
_LARGEST = 0.35
"""Nor are regions that cover a larger share of the image."""
_CLEAREST = 12
"""So many regions, those with the clearest outlines for their inside, are objects."""

Labels = NDArray[np.int32]


def scene_from_photo(
    rng: Generator,
    image: NDArray[np.uint8],
    masks: Sequence[NDArray[np.uint8]],
    longest: int,
    difficulty: float = 0.5,
) -> Scene:
    """Turn a photograph into a scene of regions that looks unlike a photograph.

    Args:
        rng: source of all randomness.
        image: (H, W, 3) RGB.
        masks: (H, W) of labelled objects; they are objects of the scene, and no region crosses
            their outlines.
        longest: longer side of the scene in pixels.
        difficulty: from 0 (clear) to 1 (faint, blurred, noisy).
    """
    factor = longest / max(image.shape[:2])
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    owners = np.zeros(small.shape[:2], np.int32)
    for number, mask in enumerate(sorted(masks, key=lambda m: -int(m.sum(dtype=np.int64))), 1):
        owners[cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0] = number
    fine, coarse = _regions(rng, small, owners)
    look = unlike_a_photo(rng, small, difficulty)
    lit = _lit_field(rng, look.shape[:2]) if rng.random() < 0.4 else None
    if lit is not None:
        rest = rng.uniform(0, 12) + rng.uniform(0, 3) * rng.standard_normal(lit.shape)
        look = np.where(lit[..., None], look, np.clip(rest, 0, 255)[..., None]).astype(np.uint8)
        fine, coarse, owners = fine * lit, coarse * lit, owners * lit
    numbers = _clear_regions(small, fine)
    wholes = {frozenset(np.unique(fine[group]).tolist()) for group in _groups(coarse, owners)}
    kept = np.zeros(int(fine.max()) + 1, np.int32)
    inside = set().union(*wholes) if wholes else set()
    for number in sorted({*numbers, *inside} - {0}):
        kept[number] = number
    return Scene(look, kept[fine], tuple(w for w in wholes if len(w) > 1), "regions")


def unlike_a_photo(
    rng: Generator, image: NDArray[np.uint8], difficulty: float
) -> NDArray[np.uint8]:
    """Grey, false or weak colours, weak contrast, uneven light, blur and speckle; (H, W, 3)."""
    size = image.shape[:2]
    mixed: NDArray[np.float64]
    kind = rng.random()
    if kind < 0.6:
        mixed = np.repeat((image @ rng.dirichlet((2, 2, 2)))[..., None], 3, axis=2)
        if kind < 0.25:  # one tint, as a stain or a camera gives
            mixed = 255 * (mixed / 255) ** np.exp(rng.normal(0, 0.5, 3))
    elif kind < 0.85:
        mixed = image @ rng.dirichlet((0.7, 0.7, 0.7), 3).T
    else:
        mixed = image[..., rng.permutation(3)].astype(np.float64)
    if rng.random() < 0.3:
        mixed = 255 - mixed
    strength = rng.uniform(1 - 0.75 * difficulty, 1)
    middle = rng.uniform(15, 200)
    mixed = middle + np.asarray(mixed - mixed.mean(), np.float64) * strength
    if rng.random() < 0.4:
        light = band_noise(rng, size, 2.0 / max(size))[..., None]
        mixed = mixed * (1 + 0.3 * rng.random() * light)
    if rng.random() < 0.5:
        blur = rng.uniform(0.5, 1.0 + 2.0 * difficulty)
        mixed = np.asarray(cv2.GaussianBlur(mixed, (0, 0), blur), np.float64)
    if rng.random() < 0.25:  # speckle is multiplied
        speckle = band_noise(rng, size, rng.uniform(0.2, 0.9))[..., None]
        mixed = mixed * (1 + rng.uniform(0.05, 0.4) * difficulty * speckle)
    if rng.random() < 0.4:
        grain = rng.standard_normal(size)[..., None]
        mixed = mixed + rng.uniform(1, 3 + 12 * difficulty) * grain
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _regions(rng: Generator, image: NDArray[np.uint8], owners: Labels) -> tuple[Labels, Labels]:
    """Numbers from 1 of fine regions and of coarse ones made of them, both within owners."""
    scale = math.exp(rng.uniform(math.log(40), math.log(400)))
    ragged = felzenszwalb(image, scale=scale, sigma=1.0, min_size=_SMALLEST)
    fine = _within(cv2.medianBlur(ragged.astype(np.uint16), 5), owners)
    colours = (
        np.stack([np.bincount(fine.ravel(), image[..., c].ravel()) for c in range(3)], axis=1)
        / np.maximum(np.bincount(fine.ravel()), 1)[:, None]
    )
    flat = colours[fine].astype(np.uint8)
    joined = felzenszwalb(flat, scale=5 * scale, sigma=0.0, min_size=4 * _SMALLEST)
    owner_of, group_of = _most_common(fine, owners), _most_common(fine, joined)
    return fine, _within(group_of[fine], owner_of[fine])


def _within(regions: NDArray[np.int64], owners: NDArray[np.integer]) -> Labels:
    """Connected numbers from 1 of the places where both numbers are the same."""
    pairs = regions.astype(np.int64) * (int(owners.max()) + 1) + owners
    return np.unique(pairs, return_inverse=True)[1].reshape(regions.shape).astype(np.int32) + 1


def _most_common(regions: Labels, values: NDArray[np.integer]) -> NDArray[np.int64]:
    """For each region's number the most common value in it."""
    table = np.zeros((int(regions.max()) + 1, int(values.max()) + 1), np.int64)
    np.add.at(table, (regions.ravel(), values.ravel()), 1)
    return np.asarray(table.argmax(1), np.int64)


def _clear_regions(image: NDArray[np.uint8], regions: Labels) -> list[int]:
    """Numbers of the regions whose outline differs most from their inside."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    slope = np.hypot(cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1)).max(-1)
    edge = cv2.dilate(regions.astype(np.float32), np.ones((3, 3))) != regions
    edge |= cv2.erode(regions.astype(np.float32), np.ones((3, 3))) != regions
    flat, count = regions.ravel(), int(regions.max()) + 1
    areas = np.bincount(flat, minlength=count)
    rims = np.bincount(flat, edge.ravel(), count)
    outline = np.bincount(flat, (slope * edge).ravel(), count) / np.maximum(rims, 1)
    inside = np.bincount(flat, (slope * ~edge).ravel(), count) / np.maximum(areas - rims, 1)
    good = (areas >= _SMALLEST) & (areas <= _LARGEST * regions.size) & (areas > 2 * rims)
    good[0] = False
    clearness = np.where(good, outline / (inside + 4), -1)
    best = np.argsort(-clearness)[:_CLEAREST]
    return [int(n) for n in best if good[n]]


def _groups(coarse: Labels, owners: Labels) -> list[NDArray[np.bool_]]:
    """Masks of the joined regions and of the labelled objects that are of a fitting size."""
    groups = []
    for numbers in (coarse, owners):
        areas = np.bincount(numbers.ravel())
        fits = (areas >= _SMALLEST) & (areas <= _LARGEST * numbers.size)
        fits[0] = False
        biggest = np.argsort(-np.where(fits, areas, 0))[:_CLEAREST]
        groups += [numbers == n for n in biggest if fits[n]]
    return groups


def _lit_field(rng: Generator, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) True inside a large disc or blob, around which the image is dark."""
    centre = (size[1] * rng.uniform(0.35, 0.65), size[0] * rng.uniform(0.35, 0.65))
    radius = max(size) * rng.uniform(0.3, 0.6)
    return random_shape(rng, size, centre, radius, str(rng.choice(["cell", "blob"])))
