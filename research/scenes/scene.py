"""Generated scenes: images with exact masks, in unlimited supply.

Dead leaves (opaque random shapes that occlude one another; Lee, Mumford and Huang 2001) with
solid, noisy, striped, graded and photographic textures, and scenes that resemble what annotators
meet: cells, grains, speckle, tissue, folds, defects, vessels, plants. All of it is drawn from
random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from research.scenes.canvas import Canvas, Field, Pixels
from research.scenes.microscopy import draw_cells, draw_grains
from research.scenes.scans import draw_folds, draw_speckle, draw_tissue
from research.scenes.shapes import random_shape
from research.scenes.textures import band_noise, random_texture
from research.scenes.thin import draw_blades, draw_branches, draw_wires
from samadapt.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A generated image with its exact masks.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) int32, 0 background, otherwise the visible object's number.
        wholes: objects made of several labels (a cell with its nucleus), as sets of numbers.
        kind: which generator drew it.
    """

    image: Pixels
    labels: NDArray[np.int32]
    wholes: tuple[frozenset[int], ...]
    kind: str

    def masks(self, min_area: int = 1) -> list[NDArray[np.bool_]]:
        """(H, W) bool masks of all visible objects and wholes of at least `min_area` pixels."""
        groups = [frozenset({int(n)}) for n in np.unique(self.labels) if n > 0]
        masks = [np.isin(self.labels, list(group)) for group in (*groups, *self.wholes)]
        return [mask for mask in masks if mask.sum() >= min_area]


def generate_scene(
    rng: Generator,
    size: tuple[int, int] = (256, 256),
    kind: str | None = None,
    photos: Sequence[Pixels] = (),
    difficulty: float = 0.5,
) -> Scene:
    """Draw one scene.

    Args:
        rng: source of all randomness; the same state gives the same scene.
        size: (height, width) in pixels, at least 16 each.
        kind: one of `SCENE_KINDS`; drawn at random when None.
        photos: RGB images whose patches may serve as textures.
        difficulty: from 0 (few objects that stand out) to 1 (many, faint, blurred, noisy).

    Raises:
        DataError: unknown kind, a size below 16 pixels, or a difficulty outside 0..1.
    """
    if min(size) < 16:
        raise DataError(f"scene of size {size}: at least 16 x 16 pixels are needed")
    if not 0 <= difficulty <= 1:
        raise DataError(f"difficulty {difficulty}: give a number from 0 to 1")
    if kind is None:
        kinds, weights = zip(*_KIND_WEIGHTS.items(), strict=True)
        kind = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
    if kind not in SCENE_KINDS:
        raise DataError(f"unknown kind of scene {kind!r}: choose from {', '.join(SCENE_KINDS)}")
    canvas = Canvas(rng, size, photos, difficulty)
    SCENE_KINDS[kind](canvas)
    wholes = tuple(whole for whole in canvas.wholes if whole)
    return Scene(canvas.finished(), canvas.labels, wholes, kind)


def _dead_leaves(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.image[:] = canvas.texture()
    prototypes = [canvas.texture() for _ in range(int(rng.integers(2, 7)))]
    largest = rng.uniform(0.12, 0.45)
    for _ in range(canvas.number(8, 60)):
        shape = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.02, largest))
        texture = prototypes[int(rng.integers(len(prototypes)))]
        if rng.random() < 0.3:
            texture = texture * rng.uniform(0.7, 1.2) + rng.uniform(-25, 25)
        canvas.paint(shape, texture)


def _parts(canvas: Canvas) -> None:
    """Objects made of parts: the whole, a part, and a part of the part share their middle."""
    rng = canvas.rng
    canvas.image[:] = canvas.texture()
    for _ in range(int(rng.integers(1, 5))):
        centre, radius = canvas.centre(), canvas.radius(0.1, 0.4)
        body = random_shape(rng, canvas.size, centre, radius)
        labels = [canvas.paint(body, canvas.texture())]
        for _ in range(int(rng.integers(1, 4))):
            angle, reach = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0, 0.7)
            spot = (centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle))
            part = random_shape(rng, canvas.size, spot, radius * rng.uniform(0.15, 0.5))
            labels.append(canvas.paint(part & body, canvas.texture()))
        canvas.wholes.append(frozenset(n for n in labels if n))


def _defects(canvas: Canvas) -> None:
    """Scratches, pits, patches and holes on metal, on asphalt, or on any even surface."""
    look = str(canvas.rng.choice(["plain", "metal", "asphalt"], p=[0.3, 0.4, 0.3]))
    {"plain": _flaws, "metal": _worn_metal, "asphalt": _holes}[look](canvas)


def _flaws(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.image[:] = random_texture(rng, canvas.size, (), contrast=rng.uniform(0.1, 0.5))
    for _ in range(canvas.number(1, 14)):
        kind = str(rng.choice(["stroke", "blob", "star", "polygon"]))
        shape = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.02, 0.3), kind)
        shift = rng.uniform(40, 90) * canvas.contrast() * rng.choice([-1, 1])
        rough = rng.uniform(0, 20) * canvas.noise(0.2)
        canvas.lay(shape, canvas.image + np.float32(shift) + rough)


def _worn_metal(canvas: Canvas) -> None:
    """Brushed grey with scratches, speckled patches and clusters of pits."""
    rng = canvas.rng
    height, width = canvas.size
    brushed = band_noise(rng, (max(8, height // 8), width), 1.0)
    brushed = cv2.resize(brushed, (width, height))[..., None]
    if rng.random() < 0.5:
        brushed = np.rot90(cv2.resize(brushed, (height, width)))[..., None]
    grey = rng.uniform(70, 190)
    canvas.image[:] = grey + rng.uniform(2, 20) * brushed + rng.uniform(2, 20) * canvas.noise(0.02)
    canvas.image += rng.uniform(2, 6 + 10 * canvas.difficulty) * canvas.noise(0.5)
    tilt = rng.uniform(0, math.pi)
    sign = rng.choice([-1, 1])
    for _ in range(canvas.number(1, 9)):
        kind = str(rng.choice(["scratch", "patch", "pits"]))
        strength = np.float32(sign * 75 * canvas.contrast())
        centre, radius = canvas.centre(), canvas.radius(0.04, 0.3)
        if kind == "scratch":
            turn = tilt + rng.normal(0, 0.15)
            shape = random_shape(rng, canvas.size, centre, 2 * radius, "scratch", turn)
            canvas.lay(shape, canvas.image + strength)
        elif kind == "patch":
            shape = random_shape(rng, canvas.size, centre, radius, "blob")
            edge = band_noise(rng, canvas.size, 0.1) * 0.15 * radius
            depth = cv2.distanceTransform(shape.view(np.uint8), cv2.DIST_L2, 3)
            shape = shape & (depth > edge)
            blotches = np.clip(0.6 + 0.5 * canvas.noise(0.15), 0, 1.4)
            canvas.lay(shape, canvas.image + strength * blotches)
        else:
            shape = np.zeros(canvas.size, bool)
            for _ in range(canvas.number(2, 14)):
                spot = np.add(centre, rng.normal(0, 0.5 * radius, 2))
                size = radius * rng.uniform(0.05, 0.25)
                shape |= random_shape(rng, canvas.size, (spot[0], spot[1]), size, "cell")
            canvas.lay(shape, canvas.image + strength)


def _holes(canvas: Canvas) -> None:
    """Asphalt or stone with flat holes: dark inside, one rim in light, some with water."""
    rng = canvas.rng
    grey = rng.uniform(75, 165) + rng.normal(0, 5, 3)
    stones = 14 * canvas.noise(0.9) + 10 * canvas.noise(0.35)
    canvas.image[:] = grey + rng.uniform(0.5, 1.6) * stones + 10 * canvas.noise(0.015)
    for _ in range(int(rng.integers(0, 5))):  # cracks and stains that are not meant
        crack = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.1, 0.5), "scratch")
        canvas.shade(crack, canvas.image * np.float32(0.6), 0.8)
    light = rng.uniform(0, 2 * math.pi)
    for _ in range(canvas.number(1, 6)):
        centre, radius = canvas.centre(), canvas.radius(0.04, 0.3)
        shape = random_shape(rng, canvas.size, centre, radius, "blob")
        flat = cv2.resize(shape.view(np.uint8), None, fx=1.0, fy=rng.uniform(0.45, 1.0))
        shape = np.zeros(canvas.size, bool)
        top = max(0, min(round(centre[1]) - flat.shape[0] // 2, canvas.size[0] - flat.shape[0]))
        shape[top : top + flat.shape[0]] = flat > 0
        strength = min(1.0, canvas.contrast())
        water = rng.random() < 0.3
        inside = grey * (1 - 0.45 * strength) + (4 * canvas.noise(0.02) if water else 2 * stones)
        if water:
            inside = inside + rng.uniform(-20, 70) * strength
        if not canvas.lay(shape, inside.astype(np.float32)):
            continue
        reach = max(1, round(0.06 * radius))
        step = (round(reach * math.sin(light)), round(reach * math.cos(light)))
        shade = shape & ~np.roll(shape, step, (0, 1))
        shine = shape & ~np.roll(shape, (-step[0], -step[1]), (0, 1))
        canvas.shade(shade, canvas.image * np.float32(1 - 0.4 * strength), 0.9, 1.0)
        canvas.shade(shine, canvas.image * np.float32(1 + 0.4 * strength), 0.9, 1.0)


def _vessels(canvas: Canvas) -> None:
    """Long curved bands that cross one another."""
    rng = canvas.rng
    canvas.image[:] = random_texture(rng, canvas.size, (), contrast=0.4)
    tone = random_texture(rng, canvas.size, (), contrast=0.3)
    for _ in range(canvas.number(2, 14)):
        shape = random_shape(
            rng, canvas.size, canvas.centre(), canvas.radius(0.15, 0.5), kind="stroke"
        )
        canvas.paint(shape, tone * rng.uniform(0.8, 1.2), opacity=rng.uniform(0.4, 1.0))


def _plants(canvas: Canvas) -> None:
    """Rosettes of alike leaves in soil, with weeds of another kind between them."""
    rng = canvas.rng
    if rng.random() < 0.25:
        canvas.image[:] = random_texture(rng, canvas.size, canvas.photos, contrast=0.8)
    else:
        soil = rng.uniform(45, 150) * np.array(
            [1.0, rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.9)]
        )
        crumbs = canvas.noise(0.4) + 0.8 * canvas.noise(0.12) + 0.5 * canvas.noise(0.03)
        canvas.image[:] = soil * (1 + rng.uniform(0.08, 0.3) * crumbs)
    crop, weed = (_leaf_colour(canvas) for _ in range(2))
    singly = rng.random() < 0.5
    for _ in range(canvas.number(2, 16)):
        _plant(canvas, crop, canvas.radius(0.04, 0.18), int(rng.integers(2, 8)), singly)
    for _ in range(canvas.number(0, 24)):
        _plant(canvas, weed, canvas.radius(0.012, 0.06), int(rng.integers(2, 5)), False)
    rough = 1 + np.float32(0.08) * (canvas.noise(0.15) + canvas.noise(0.4))
    canvas.image = np.where(canvas.labels[..., None] > 0, canvas.image * rough, canvas.image)


def _leaf_colour(canvas: Canvas) -> Field:
    green = np.array([canvas.rng.uniform(40, 150), canvas.rng.uniform(95, 200), 60.0])
    ground = canvas.image.mean((0, 1))
    return np.asarray(ground + (green - ground) * canvas.contrast(), np.float32)


def _plant(canvas: Canvas, colour: Field, radius: float, leaves: int, singly: bool) -> None:
    """One plant; with `singly` its leaves are objects too."""
    rng = canvas.rng
    centre, turn = canvas.centre(), rng.uniform(0, 2 * math.pi)
    tone = colour * np.float32(rng.uniform(0.8, 1.2))
    plant = np.zeros(canvas.size, bool)
    labels = []
    for k in range(leaves):
        angle = turn + 2 * math.pi * k / leaves + rng.normal(0, 0.25)
        size = radius * rng.uniform(0.6, 1.1)
        spot = (centre[0] + size * math.cos(angle), centre[1] + size * math.sin(angle))
        leaf = random_shape(rng, canvas.size, spot, size, "leaf", angle)
        if not leaf.any():
            continue
        plant |= leaf
        canvas.shade(np.roll(leaf, (2, 2), (0, 1)), np.zeros(3, np.float32), 0.3, 1.5)
        texture = tone * np.float32(rng.uniform(0.85, 1.15))
        if singly:
            labels.append(canvas.lay(leaf, texture))
        else:
            canvas.shade(leaf, texture)
        rib = random_shape(rng, canvas.size, spot, size * 0.8, "scratch", angle) & leaf
        canvas.shade(rib, texture * np.float32(1.2), 0.5, 0.6)
    if labels:
        canvas.wholes.append(frozenset(labels))
    elif plant.any():
        canvas.count += 1
        canvas.labels[plant] = canvas.count


SCENE_KINDS: Mapping[str, Callable[[Canvas], None]] = MappingProxyType(
    {
        "dead-leaves": _dead_leaves,
        "parts": _parts,
        "cells": draw_cells,
        "grains": draw_grains,
        "speckle": draw_speckle,
        "tissue": draw_tissue,
        "folds": draw_folds,
        "defects": _defects,
        "vessels": _vessels,
        "plants": _plants,
        "wires": draw_wires,
        "branches": draw_branches,
        "blades": draw_blades,
    }
)
"""The kinds of scenes that `generate_scene` draws."""

_KIND_WEIGHTS = {
    "dead-leaves": 4,
    "parts": 2,
    "cells": 4,
    "grains": 3,
    "speckle": 2,
    "tissue": 2,
    "folds": 2,
    "defects": 3,
    "vessels": 1,
    "plants": 2,
    "wires": 10,
    "branches": 4,
    "blades": 3,
}
