"""Random shapes as bool masks, for generated scenes."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

KINDS = ("blob", "polygon", "star", "ring", "stroke", "leaf", "cell", "scratch")


def random_shape(
    rng: Generator,
    size: tuple[int, int],
    centre: tuple[float, float],
    radius: float,
    kind: str | None = None,
    angle: float | None = None,
) -> NDArray[np.bool_]:
    """A filled shape on a canvas of `size` (height, width), cut off at its edges.

    Args:
        rng: source of randomness.
        size: (height, width) of the mask.
        centre: (x, y) in pixels.
        radius: typical extent in pixels.
        kind: one of `KINDS`, drawn at random when None.
        angle: orientation in radians, drawn at random when None.
    """
    kind = kind or str(rng.choice(KINDS, p=[0.4, 0.22, 0.1, 0.06, 0.14, 0.08, 0, 0]))
    angle = float(rng.uniform(0, 2 * math.pi)) if angle is None else angle
    canvas = np.zeros(size, np.uint8)
    if kind in ("stroke", "scratch"):
        thickest = 0.25 if kind == "stroke" else 0.05
        _draw_stroke(rng, canvas, centre, radius, angle, thickest)
        return canvas.astype(bool)
    outline = _outline(rng, kind, radius)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = outline @ turn.T + centre
    cv2.fillPoly(canvas, [_fixed(points)], 1, shift=_SHIFT)
    if kind == "ring":
        hole = (outline * rng.uniform(0.4, 0.8)) @ turn.T + centre
        cv2.fillPoly(canvas, [_fixed(hole)], 0, shift=_SHIFT)
    return canvas.astype(bool)


_SHIFT = 4


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """OpenCV's fixed-point coordinates, in which an integer is a pixel's centre."""
    return np.asarray(np.round((points - 0.5) * 2**_SHIFT), np.int32)


def _outline(rng: Generator, kind: str, radius: float) -> NDArray[np.float64]:
    """Points (N, 2) around the origin."""
    if kind == "polygon":
        corners = int(rng.integers(3, 8))
        turns = np.sort(rng.uniform(0, 2 * math.pi, corners))
        if corners == 4:
            turns = np.arange(4) * math.pi / 2 + math.pi / 4
        reach = radius * rng.uniform(0.75, 1.1, corners)
        stretch = np.array([1.0, rng.uniform(0.3, 1.0)])
        return np.asarray(_around(turns, reach) * stretch)
    if kind == "star":
        spikes = int(rng.integers(4, 10))
        turns = np.arange(2 * spikes) * math.pi / spikes
        reach = radius * np.where(np.arange(2 * spikes) % 2, rng.uniform(0.3, 0.7), 1.0)
        return _around(turns, reach)
    turns = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    if kind == "leaf":
        width = rng.uniform(0.15, 0.4)
        across = width * np.sin(turns) * np.abs(np.sin(turns))
        return np.asarray(np.stack([np.cos(turns), across], 1) * radius)
    if kind == "cell":  # rounder than a blob
        lobes = zip((2, 3, 5), rng.normal(0, (0.07, 0.05, 0.02)), strict=True)
        reach = 1 + sum(size * np.cos(k * turns + rng.uniform(0, 2 * math.pi)) for k, size in lobes)
        return np.asarray(_around(turns, radius * reach) * (1.0, rng.uniform(0.6, 1.0)))
    reach = np.ones_like(turns)
    for order in range(2, 7):
        reach += rng.normal(0, 0.25 / order) * np.cos(order * turns + rng.uniform(0, 2 * math.pi))
    stretch = np.array([1.0, rng.uniform(0.5, 1.0)])
    return np.asarray(_around(turns, radius * reach) * stretch)


def _around(turns: NDArray[np.float64], reach: NDArray[np.float64] | float) -> NDArray[np.float64]:
    circle = np.stack([np.cos(turns), np.sin(turns)], 1)
    return np.asarray(circle * np.asarray(reach)[..., None])


def _draw_stroke(
    rng: Generator,
    canvas: NDArray[np.uint8],
    centre: tuple[float, float],
    radius: float,
    angle: float,
    thickest: float,
) -> None:
    """A band along a random walk of slowly changing direction."""
    steps = 24
    headings = angle + np.cumsum(
        rng.normal(0, rng.uniform(0.02, 0.3 if thickest > 0.1 else 0.06), steps)
    )
    walk = np.cumsum(np.stack([np.cos(headings), np.sin(headings)], 1), axis=0)
    points = (walk - walk.mean(0)) * (2 * radius / steps) + centre
    thickness = max(1, round(radius * rng.uniform(0.16 * thickest, thickest)))
    cv2.polylines(canvas, [_fixed(points)], False, 1, thickness, shift=_SHIFT)
