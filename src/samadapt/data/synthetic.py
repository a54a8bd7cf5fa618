"""Generated scenes: images with exact masks, in unlimited supply.

Dead leaves (opaque random shapes that occlude one another; Lee, Mumford and Huang 2001) with
solid, noisy, striped, graded and photographic textures, and scenes that resemble what annotators
meet: cells, grains, speckle, defects, vessels, leaves. All of it is drawn from random numbers.
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

from samadapt.data.shapes import random_shape
from samadapt.data.textures import band_noise, random_colour, random_texture
from samadapt.errors import DataError

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]


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
) -> Scene:
    """Draw one scene.

    Args:
        rng: source of all randomness; the same state gives the same scene.
        size: (height, width) in pixels, at least 16 each.
        kind: one of `SCENE_KINDS`; drawn at random when None.
        photos: RGB images whose patches may serve as textures.

    Raises:
        DataError: unknown kind, or a size below 16 pixels.
    """
    if min(size) < 16:
        raise DataError(f"scene of size {size}: at least 16 x 16 pixels are needed")
    if kind is None:
        kinds, weights = zip(*_KIND_WEIGHTS.items(), strict=True)
        kind = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
    if kind not in SCENE_KINDS:
        raise DataError(f"unknown kind of scene {kind!r}: choose from {', '.join(SCENE_KINDS)}")
    canvas = _Canvas(rng, size, photos)
    SCENE_KINDS[kind](canvas)
    return Scene(canvas.finished(), canvas.labels, tuple(canvas.wholes), kind)


class _Canvas:
    """A scene being drawn: float image 0..255, labels, and the shared randomness."""

    def __init__(self, rng: Generator, size: tuple[int, int], photos: Sequence[Pixels]) -> None:
        self.rng = rng
        self.size = size
        self.photos = photos
        self.image: Field = np.zeros((*size, 3), np.float32)
        self.labels: NDArray[np.int32] = np.zeros(size, np.int32)
        self.wholes: list[frozenset[int]] = []
        self.count = 0
        self.softness = float(rng.choice([0.0, 0.6, 1.0, 1.6], p=[0.3, 0.3, 0.25, 0.15]))

    @property
    def side(self) -> int:
        return max(self.size)

    def texture(self) -> Field:
        return random_texture(self.rng, self.size, self.photos)

    def centre(self) -> tuple[float, float]:
        height, width = self.size
        return float(self.rng.uniform(0, width)), float(self.rng.uniform(0, height))

    def radius(self, low: float, high: float) -> float:
        """Log-uniform between two shares of the longer side."""
        return self.side * math.exp(self.rng.uniform(math.log(low), math.log(high)))

    def paint(self, shape: NDArray[np.bool_], texture: Field, opacity: float = 1.0) -> int:
        """Lay `texture` (H, W, 3) over `shape`; returns the new label, 0 if nothing shows."""
        if not shape.any():
            return 0
        alpha = shape.astype(np.float32)
        if self.softness:
            alpha = cv2.GaussianBlur(alpha, (0, 0), self.softness)
        alpha = (alpha * opacity)[..., None]
        self.image = self.image * (1 - alpha) + texture * alpha
        self.count += 1
        self.labels[shape] = self.count
        return self.count

    def finished(self) -> Pixels:
        """Blur, light, noise: what a camera would add."""
        rng, image = self.rng, self.image
        if rng.random() < 0.35:
            light = band_noise(rng, self.size, 2.0 / self.side)
            image = image * (1 + 0.35 * rng.random() * light)[..., None]
        if rng.random() < 0.3:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
        if rng.random() < 0.5:
            grain = rng.normal(0, rng.uniform(1, 14), self.size).astype(np.float32)
            image = image + grain[..., None]
        return np.clip(image, 0, 255).astype(np.uint8)


def _dead_leaves(canvas: _Canvas) -> None:
    rng = canvas.rng
    canvas.image[:] = canvas.texture()
    prototypes = [canvas.texture() for _ in range(int(rng.integers(2, 7)))]
    largest = rng.uniform(0.12, 0.45)
    for _ in range(int(rng.integers(6, 40))):
        shape = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.02, largest))
        texture = prototypes[int(rng.integers(len(prototypes)))]
        if rng.random() < 0.3:
            texture = texture * rng.uniform(0.7, 1.2) + rng.uniform(-25, 25)
        canvas.paint(shape, texture)


def _parts(canvas: _Canvas) -> None:
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


def _cells(canvas: _Canvas) -> None:
    """Many alike round bodies, bright on dark or stained on bright, some with a nucleus."""
    rng = canvas.rng
    dark = rng.random() < 0.5
    ground = random_colour(rng) * (0.25 if dark else 0.5) + (0 if dark else 120)
    canvas.image[:] = ground + 6 * band_noise(rng, canvas.size, 0.03)[..., None]
    tone = random_colour(rng) * 0.6 + (90 if dark else -30)
    contrast = rng.uniform(0.35, 1.0)
    typical, spread = canvas.radius(0.012, 0.08), rng.uniform(0.05, 0.35)
    nuclei = rng.random() < 0.3
    for _ in range(int(rng.integers(8, 70))):
        centre, radius = canvas.centre(), typical * math.exp(rng.normal(0, spread))
        shape = random_shape(rng, canvas.size, centre, radius, kind="blob")
        if (canvas.labels[shape] > 0).mean() > rng.choice([0.0, 0.1, 0.4]) if shape.any() else True:
            continue
        shade = ground * (1 - contrast) + tone * contrast * rng.uniform(0.7, 1.2)
        texture = shade + rng.uniform(0, 16) * band_noise(rng, canvas.size, 0.12)[..., None]
        body = canvas.paint(shape, texture.astype(np.float32))
        if nuclei and body:
            inner = random_shape(rng, canvas.size, centre, radius * 0.45, kind="blob") & shape
            core = canvas.paint(inner, texture.astype(np.float32) * rng.uniform(0.3, 0.7))
            if core:
                canvas.wholes.append(frozenset({body, core}))


def _grains(canvas: _Canvas) -> None:
    """A mosaic of regions with visible seams: membranes, grains, fields seen from above."""
    rng = canvas.rng
    height, width = canvas.size
    seeds = rng.uniform(0, 1, (int(rng.integers(8, 90)), 2)) * (height, width)
    warp = canvas.side * rng.uniform(0, 0.04)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    ys = ys + warp * band_noise(rng, canvas.size, 0.03)
    xs = xs + warp * band_noise(rng, canvas.size, 0.03)
    squared = np.stack([(ys - y) ** 2 + (xs - x) ** 2 for y, x in seeds])
    nearest = np.argpartition(squared, 1, axis=0)[:2]
    first, second = np.sqrt(np.take_along_axis(squared, nearest, axis=0))
    seam = np.abs(second - first) < canvas.side * rng.uniform(0.004, 0.02)
    owner = nearest[0] if (first <= second).all() else np.argmin(squared, axis=0)
    tones = random_colour(rng) + rng.normal(0, rng.uniform(2, 45), (len(seeds), 1))
    canvas.image[:] = tones[owner].astype(np.float32)
    canvas.image += rng.uniform(0, 25) * band_noise(rng, canvas.size, 0.25)[..., None]
    canvas.image[seam] = random_colour(rng) * rng.uniform(0.1, 1.0)
    canvas.image = cv2.GaussianBlur(canvas.image, (0, 0), 0.5 + canvas.softness)
    canvas.labels[:] = np.where(seam, 0, owner + 1)


def _speckle(canvas: _Canvas) -> None:
    """Grainy grey scenes with few soft-edged bodies, as in ultrasound or radar."""
    rng = canvas.rng
    canvas.softness = rng.uniform(1.0, 3.0)
    canvas.image[:] = rng.uniform(20, 140) * (
        1 + 0.5 * band_noise(rng, canvas.size, rng.uniform(0.005, 0.02))[..., None]
    )
    for _ in range(int(rng.integers(1, 5))):
        centre, radius = canvas.centre(), canvas.radius(0.06, 0.4)
        body = random_shape(rng, canvas.size, centre, radius, kind="blob")
        level = np.full((*canvas.size, 3), rng.uniform(5, 220), np.float32)
        canvas.paint(body, level, opacity=rng.uniform(0.3, 1.0))
        if rng.random() < 0.5:  # a bright wall around it
            kernel = np.ones((3, 3), np.uint8)
            thick = int(rng.integers(1, 5))
            rim = cv2.dilate(body.astype(np.uint8), kernel, iterations=thick).astype(bool) & ~body
            gain = np.where(rng.random() < 0.5, 90.0, 50.0)
            canvas.image[rim] += gain * rng.uniform(0.3, 1.0)
    grain = band_noise(rng, canvas.size, rng.uniform(0.2, 0.6))[..., None]
    canvas.image *= np.exp(rng.uniform(0.15, 0.5) * grain)


def _defects(canvas: _Canvas) -> None:
    """Scratches, pits and stains on an even surface."""
    rng = canvas.rng
    canvas.image[:] = random_texture(rng, canvas.size, (), contrast=rng.uniform(0.1, 0.5))
    for _ in range(int(rng.integers(1, 12))):
        kind = str(rng.choice(["stroke", "blob", "star", "polygon"]))
        shape = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.02, 0.3), kind)
        shift = rng.uniform(18, 90) * rng.choice([-1, 1])
        rough = rng.uniform(0, 20) * band_noise(rng, canvas.size, 0.2)[..., None]
        canvas.paint(shape, canvas.image + np.float32(shift) + rough)


def _vessels(canvas: _Canvas) -> None:
    """Long curved bands that cross one another."""
    rng = canvas.rng
    canvas.image[:] = random_texture(rng, canvas.size, (), contrast=0.4)
    tone = random_texture(rng, canvas.size, (), contrast=0.3)
    for _ in range(int(rng.integers(2, 12))):
        shape = random_shape(
            rng, canvas.size, canvas.centre(), canvas.radius(0.15, 0.5), kind="stroke"
        )
        canvas.paint(shape, tone * rng.uniform(0.8, 1.2), opacity=rng.uniform(0.4, 1.0))


def _plants(canvas: _Canvas) -> None:
    """Alike leaves, alone or in rosettes, on rough ground."""
    rng = canvas.rng
    canvas.image[:] = random_texture(rng, canvas.size, canvas.photos, contrast=0.8)
    tone = random_texture(rng, canvas.size, (), contrast=0.25)
    for _ in range(int(rng.integers(2, 14))):
        centre, radius = canvas.centre(), canvas.radius(0.03, 0.2)
        turn, leaves = rng.uniform(0, 2 * math.pi), int(rng.integers(1, 7))
        plant = np.zeros(canvas.size, bool)
        for k in range(leaves):
            angle = turn + 2 * math.pi * k / leaves + rng.normal(0, 0.2)
            spot = (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
            plant |= random_shape(rng, canvas.size, spot, radius, "leaf", angle)
        canvas.paint(plant, tone * rng.uniform(0.75, 1.25))


SCENE_KINDS: Mapping[str, Callable[[_Canvas], None]] = MappingProxyType(
    {
        "dead-leaves": _dead_leaves,
        "parts": _parts,
        "cells": _cells,
        "grains": _grains,
        "speckle": _speckle,
        "defects": _defects,
        "vessels": _vessels,
        "plants": _plants,
    }
)
"""The kinds of scenes that `generate_scene` draws."""

_KIND_WEIGHTS = {
    "dead-leaves": 4,
    "parts": 2,
    "cells": 4,
    "grains": 2,
    "speckle": 2,
    "defects": 2,
    "vessels": 1,
    "plants": 2,
}
