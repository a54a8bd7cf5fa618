"""Generated scenes like scans of a body: speckle, soft tissue with rings, folds of a wall."""

from __future__ import annotations

import math

import cv2
import numpy as np

from research.scenes.canvas import Canvas, Field
from research.scenes.shapes import random_shape
from research.scenes.textures import band_noise


def draw_speckle(canvas: Canvas) -> None:
    """Grainy grey scenes with soft-edged bodies, bright arcs and shadows behind them."""
    rng = canvas.rng
    canvas.softness = float(rng.uniform(1.0, 3.0))
    height, width = canvas.size
    ground = rng.uniform(25, 120)
    canvas.image[:] = ground * (1 + 0.4 * canvas.noise(rng.uniform(0.005, 0.02)))
    for _ in range(canvas.number(0, 7)):  # layers of tissue
        band = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.2, 0.6), "stroke")
        canvas.shade(band, np.full(3, rng.uniform(20, 190), np.float32), rng.uniform(0.2, 0.6))
    for _ in range(canvas.number(1, 6)):
        centre, radius = canvas.centre(), canvas.radius(0.05, 0.42)
        kind = "cell" if rng.random() < 0.6 else "blob"
        body = random_shape(rng, canvas.size, centre, radius, kind)
        level = ground + rng.choice([-1, 1]) * rng.uniform(40, 120) * canvas.contrast()
        canvas.lay(body, np.full(3, max(2.0, level), np.float32), rng.uniform(0.5, 1.0))
        if rng.random() < 0.6:
            _bright_wall(canvas, body, centre)
    grain = _anisotropic(canvas)
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    canvas.image *= np.exp(rng.uniform(0.15, 0.3 + 0.35 * canvas.difficulty) * grain)
    canvas.image *= 1 - rng.uniform(0, 0.6) * depth
    if rng.random() < 0.35:  # a fan with nothing outside
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        angle = np.arctan2(xs - width / 2, ys + 0.15 * height)
        reach = np.hypot(xs - width / 2, ys + 0.15 * height)
        outside = (np.abs(angle) > rng.uniform(0.5, 0.8)) | (reach > 1.1 * height)
        canvas.image[outside] = 0
        canvas.labels[outside] = 0


def _bright_wall(canvas: Canvas, body: np.ndarray, centre: tuple[float, float]) -> None:
    """A rim that is bright where it faces up or down, with a shadow below some of it."""
    rng = canvas.rng
    thick = int(rng.integers(1, max(2, round(canvas.side * 0.015)) + 1))
    kernel = np.ones((3, 3), np.uint8)
    rim = cv2.dilate(body.view(np.uint8), kernel, iterations=thick).astype(bool) & ~body
    ys, xs = np.nonzero(rim)
    if not len(ys):
        return
    facing = np.abs(np.sin(np.arctan2(ys - centre[1], xs - centre[0])))
    gaps = 0.6 + 0.4 * band_noise(rng, canvas.size, 0.02)[ys, xs]
    gain = rng.uniform(40, 150) * canvas.contrast() * (0.2 + 0.8 * facing) * np.clip(gaps, 0, 1.5)
    canvas.image[ys, xs] += gain[:, None].astype(np.float32)
    if rng.random() < 0.4:
        shadow = np.zeros(canvas.size, bool)
        left, right = int(xs.min()), int(xs.max())
        first = int(rng.integers(left, right + 1))
        last = min(right, first + int(rng.integers(4, max(5, (right - left) // 2 + 1))))
        shadow[int(ys.max()) :, first:last] = True
        canvas.shade(shadow, np.zeros(3, np.float32), rng.uniform(0.3, 0.8), 4.0)


def _anisotropic(canvas: Canvas) -> Field:
    """Speckle (H, W, 1) that is wider than high."""
    height, width = canvas.size
    wide = canvas.rng.uniform(1.5, 4.0)
    narrow = (height, max(8, round(width / wide)))
    noise = band_noise(canvas.rng, narrow, canvas.rng.uniform(0.3, 0.8))
    return np.asarray(cv2.resize(noise, (width, height)), np.float32)[..., None]


def draw_tissue(canvas: Canvas) -> None:
    """Soft grey bodies in a body, some of them rings round a bright or dark pool."""
    rng = canvas.rng
    height, width = canvas.size
    canvas.softness = float(rng.uniform(0.8, 1.8))
    canvas.image[:] = rng.uniform(0, 18)
    middle = (width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6))
    trunk = random_shape(rng, canvas.size, middle, canvas.side * rng.uniform(0.45, 0.7), "cell")
    level = rng.uniform(40, 120)
    canvas.shade(trunk, np.full(3, rng.uniform(120, 220), np.float32))
    kernel = np.ones((3, 3), np.uint8)
    steps = max(1, round(canvas.side * rng.uniform(0.01, 0.05)))
    inner = cv2.erode(trunk.view(np.uint8), kernel, iterations=steps).astype(bool)
    rough = canvas.noise(0.03) + 0.6 * canvas.noise(0.1)
    canvas.shade(inner, (level * (1 + 0.15 * rough)).repeat(3, 2).astype(np.float32))
    for _ in range(canvas.number(2, 12)):
        body = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.03, 0.22), "cell")
        apart = rng.choice([-1, 1]) * rng.uniform(25, 90) * canvas.contrast()
        tone = np.clip(level + apart, 5, 240) * (1 + 0.08 * rough)
        canvas.lay(body & inner, tone.repeat(3, 2).astype(np.float32))
    for _ in range(int(rng.integers(1, 3))):
        _ring(canvas, level)
    bias = 1 + 0.35 * rng.random() * canvas.noise(2.0 / canvas.side)
    canvas.image = np.asarray(canvas.image * bias, np.float32)


def _ring(canvas: Canvas, level: float) -> None:
    """A pool within a wall: the pool, the wall, and both together are objects."""
    rng = canvas.rng
    x, y = canvas.centre()
    centre = (0.25 * canvas.size[1] + 0.5 * x, 0.25 * canvas.size[0] + 0.5 * y)
    radius = canvas.radius(0.05, 0.2)
    outer = random_shape(rng, canvas.size, centre, radius, "cell")
    pool = random_shape(rng, canvas.size, centre, radius * rng.uniform(0.45, 0.75), "cell") & outer
    sign = 1 if rng.random() < 0.75 else -1
    strength = 70 * canvas.contrast()
    wall_tone, pool_tone = np.clip([level - sign * strength * 0.6, level + sign * strength], 5, 250)
    wall = canvas.lay(outer, np.full(3, wall_tone, np.float32))
    inside = canvas.lay(pool, np.full(3, pool_tone, np.float32))
    for _ in range(int(rng.integers(0, 4))):  # muscles within the pool belong to it
        spot = (centre[0] + rng.normal(0, radius * 0.3), centre[1] + rng.normal(0, radius * 0.3))
        muscle = random_shape(rng, canvas.size, spot, radius * 0.1, "cell") & pool
        canvas.shade(muscle, np.full(3, wall_tone, np.float32), 0.8)
    if wall and inside:
        canvas.wholes.append(frozenset({wall, inside}))


def draw_folds(canvas: Canvas) -> None:
    """A smooth wet wall with folds, highlights, a dark opening, bumps and tools."""
    rng = canvas.rng
    height, width = canvas.size
    canvas.softness = float(rng.uniform(1.0, 2.5))
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    light = (width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.8))
    opening = canvas.centre()
    reach = np.hypot(xs - opening[0], ys - opening[1]) / canvas.side
    bend = 0.08 * band_noise(rng, canvas.size, 0.012)
    folds = np.abs(np.sin((reach + bend) * rng.uniform(5, 16))) ** rng.uniform(0.3, 0.8)
    far = np.hypot(xs - light[0], ys - light[1]) / canvas.side
    tone = np.array([200, 105, 85]) + rng.normal(0, 18, 3)
    height_map = (0.55 + 0.45 * folds) * np.clip(1.15 - far, 0.25, 1.2)
    fine = 1 + 0.04 * canvas.noise(0.08) + 0.03 * canvas.noise(0.3)
    canvas.image[:] = tone * height_map[..., None] * fine
    _veins(canvas)
    if rng.random() < 0.5:
        hole = random_shape(rng, canvas.size, opening, canvas.radius(0.06, 0.2), "cell")
        canvas.lay(hole, np.array([35, 12, 10], np.float32), rng.uniform(0.7, 1.0))
    for _ in range(int(rng.integers(1, 3))):
        _bump(canvas)
    if rng.random() < 0.3:
        tool = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.2, 0.5), "stroke")
        shine = 60 + 150 * band_noise(rng, canvas.size, 0.03)[..., None].clip(0, 1)
        canvas.lay(tool, shine.repeat(3, 2).astype(np.float32))
    for _ in range(int(rng.integers(0, 30))):  # highlights belong to what they lie on
        spot = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.003, 0.018), "blob")
        if height_map[spot].mean() > 0.6 if spot.any() else False:
            canvas.shade(spot, np.full(3, 250, np.float32), softness=0.7)
    if rng.random() < 0.4:
        corner = np.hypot((xs / width - 0.5), (ys / height - 0.5)) > rng.uniform(0.56, 0.66)
        canvas.image[corner] = rng.uniform(0, 10)
        canvas.labels[corner] = 0


def _veins(canvas: Canvas) -> None:
    for _ in range(int(canvas.rng.integers(0, 8))):
        vein = random_shape(
            canvas.rng, canvas.size, canvas.centre(), canvas.radius(0.05, 0.3), "stroke"
        )
        thin = cv2.erode(vein.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        canvas.shade(thin, np.array([130, 40, 45], np.float32), 0.25, 1.2)


def _bump(canvas: Canvas) -> None:
    """A round thing on the wall: lit from one side, shaded on the other, slightly another tint."""
    rng = canvas.rng
    centre, radius = canvas.centre(), canvas.radius(0.05, 0.25)
    shape = random_shape(rng, canvas.size, centre, radius, "cell")
    if not shape.any():
        return
    strength = canvas.contrast()
    depth = cv2.distanceTransform(shape.view(np.uint8), cv2.DIST_L2, 3)
    dome = np.sqrt(depth / max(1.0, float(depth.max())))
    ys, xs = np.mgrid[: canvas.size[0], : canvas.size[1]].astype(np.float32)
    turn = rng.uniform(0, 2 * math.pi)
    side = ((xs - centre[0]) * math.cos(turn) + (ys - centre[1]) * math.sin(turn)) / radius
    shading = 1 + strength * (0.3 * (dome - 0.5) + 0.25 * np.clip(side, -1, 1))
    around = cv2.dilate(shape.view(np.uint8), np.ones((3, 3), np.uint8), iterations=3).astype(bool)
    canvas.shade(around, canvas.image * np.float32(1 - 0.35 * strength), 0.8, 3.0)
    tint = 1 + strength * rng.normal(0, 0.12, 3)
    local = canvas.image[shape].mean(0)
    mixed = (0.5 * canvas.image + 0.5 * local) * tint * shading[..., None]
    rough = 1 + 0.06 * rng.random() * canvas.noise(0.2)
    canvas.lay(shape, (mixed * rough).astype(np.float32))
