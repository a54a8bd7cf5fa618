"""Thin and branching things: wires, twigs, roots, cracks, blades of grass."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from research.scenes.canvas import Canvas, Shape
from research.scenes.textures import random_colour

_SHIFT = 4
_STEPS = 32

Points = NDArray[np.float64]


def draw_wires(canvas: Canvas) -> None:
    """Cables that sag or wind across the scene, each one object, some bundled, some tangled.

    Some scenes have cables that shine along their middle, or that throw shadows.
    """
    rng = canvas.rng
    canvas.image[:] = canvas.texture()
    colours = [random_colour(rng) for _ in range(int(rng.integers(1, 5)))]
    bundle = _course(canvas)
    apart = canvas.side * rng.uniform(0.01, 0.06)
    is_bundled, shines, is_lit = rng.random() < 0.4, rng.random() < 0.5, rng.random() < 0.3
    for number in range(canvas.number(2, 14)):
        path = np.add(bundle, (0.0, number * apart)) if is_bundled else _course(canvas)
        colour = colours[int(rng.integers(len(colours)))] + np.float32(rng.normal(0, 8))
        thick = max(1, round(canvas.side * rng.choice([0.004, 0.008, 0.02, 0.035])))
        shape = _line(canvas, path, thick)
        if is_lit:
            canvas.shade(np.roll(shape, (thick, thick), (0, 1)), np.zeros(3, np.float32), 0.3, 1.5)
        label = _lay(canvas, shape, colour)
        if shines and thick > 2:
            middle = _line(canvas, path, thick // 3) & (canvas.labels == label)
            canvas.shade(middle, np.minimum(colour + 60, 255).astype(np.float32), 0.6, 0.6)


def draw_branches(canvas: Canvas) -> None:
    """Trees, roots or cracks: a stem that forks into ever thinner branches, one object each."""
    rng = canvas.rng
    canvas.image[:] = canvas.texture()
    for _ in range(canvas.number(1, 5)):
        shape = np.zeros(canvas.size, np.uint8)
        length = canvas.radius(0.1, 0.45)
        thick = max(1.0, length * rng.uniform(0.02, 0.14))
        heading = float(rng.uniform(0, 2 * math.pi))
        _fork(canvas, shape, canvas.centre(), heading, length, thick, int(rng.integers(2, 5)))
        if rng.random() < 0.5:
            _lay(canvas, shape.astype(bool), random_colour(rng))
        else:
            canvas.paint(shape.astype(bool), canvas.texture())


def draw_blades(canvas: Canvas) -> None:
    """Tufts of long thin leaves over soil or leaves, a tuft is one object."""
    rng = canvas.rng
    canvas.image[:] = canvas.texture()
    hue = random_colour(rng)
    for _ in range(canvas.number(2, 12)):
        x, y = canvas.centre()
        shape = np.zeros(canvas.size, np.uint8)
        reach = canvas.radius(0.05, 0.3)
        for _ in range(int(rng.integers(2, 9))):
            angle = float(rng.uniform(0, 2 * math.pi))
            bend = float(rng.normal(0, 0.5))
            _blade(shape, (x, y), angle, bend, reach * rng.uniform(0.5, 1), rng.uniform(0.02, 0.1))
        _lay(canvas, shape.astype(bool), hue + rng.normal(0, 14, 3).astype(np.float32))


def _lay(canvas: Canvas, shape: Shape, colour: NDArray[np.float32]) -> int:
    rough = canvas.noise(0.25) * np.float32(canvas.rng.uniform(0, 14))
    return canvas.paint(shape, np.clip(colour + rough, 0, 255).astype(np.float32))


def _course(canvas: Canvas) -> Points:
    """Points (N, 2) of a curve through most of the scene: straight, sagging, or winding."""
    rng = canvas.rng
    height, width = canvas.size
    along = np.linspace(-0.1, 1.1, _STEPS)
    x, y = along * width, np.full(_STEPS, rng.uniform(0.05, 0.95) * height)
    y = y + rng.normal(0, 0.3) * height * (along - 0.5)
    y = y + rng.normal(0, 0.25) * height * (2 * along - 1) ** 2
    if rng.random() < 0.5:
        waves = rng.uniform(0.5, 2.5)
        swing = rng.uniform(0.03, 0.25) * height
        y = y + swing * np.sin(2 * math.pi * (waves * along + rng.random()))
        x = x + swing * np.sin(2 * math.pi * (waves * 0.7 * along + rng.random()))
    points = np.stack([x, y], axis=1)
    if rng.random() < 0.4:
        points = points[:, ::-1] * (width / height, height / width)
    first = int(rng.integers(0, _STEPS // 2)) if rng.random() < 0.4 else 0
    return np.asarray(points[first:])


def _line(canvas: Canvas, points: Points, thickness: int) -> Shape:
    shape = np.zeros(canvas.size, np.uint8)
    fixed = np.round((points - 0.5) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(shape, [fixed], False, 1, thickness, shift=_SHIFT)
    return shape.astype(bool)


def _fork(
    canvas: Canvas,
    shape: NDArray[np.uint8],
    start: tuple[float, float],
    heading: float,
    length: float,
    thickness: float,
    depth: int,
) -> None:
    """Draw a branch on `shape` and, `depth` times, the branches that leave it."""
    rng = canvas.rng
    turns = heading + np.cumsum(rng.normal(0, 0.12, 10))
    steps = np.stack([np.cos(turns), np.sin(turns)], 1) * length / 10
    points = np.concatenate([[start], start + np.cumsum(steps, axis=0)])
    fixed = np.round((points - 0.5) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(shape, [fixed], False, 1, max(1, round(thickness)), shift=_SHIFT)
    if depth == 0:
        return
    for _ in range(int(rng.integers(2, 4))):
        at = points[int(rng.integers(4, len(points)))]
        turn = heading + float(rng.choice([-1, 1]) * rng.uniform(0.3, 1.1))
        shorter = length * float(rng.uniform(0.45, 0.8))
        _fork(canvas, shape, (at[0], at[1]), turn, shorter, thickness * 0.65, depth - 1)


def _blade(
    shape: NDArray[np.uint8],
    root: tuple[float, float],
    angle: float,
    bend: float,
    length: float,
    width: float,
) -> None:
    """A leaf from its root: widest at a third of its length, pointed at its end."""
    along = np.linspace(0, 1, 12)
    turns = angle + bend * along
    spine = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1), axis=0) * length / len(along)
    normal = np.stack([-np.sin(turns), np.cos(turns)], 1)
    half = (width * length * np.sqrt(along) * (1 - along) * 1.6 + 0.4)[:, None] * normal
    outline = np.concatenate([spine + half, (spine - half)[::-1]]) + root
    fixed = np.round((outline - 0.5) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(shape, [fixed], 1, shift=_SHIFT)
