"""Generated scenes like those under a microscope: cells, stained tissue, membranes, grains."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from research.scenes.canvas import Canvas, Field, Shape
from research.scenes.shapes import random_shape
from research.scenes.textures import band_noise, random_colour


def draw_cells(canvas: Canvas) -> None:
    """Many alike round bodies: bright on dark, stained on bright, or with a rim on grey."""
    look = str(canvas.rng.choice(["glow", "stain", "phase"], p=[0.4, 0.35, 0.25]))
    {"glow": _glowing, "stain": _stained, "phase": _rimmed}[look](canvas)


def draw_grains(canvas: Canvas) -> None:
    """A mosaic of regions with visible seams: grains, or membranes round textured cytoplasm."""
    if canvas.rng.random() < 0.5:
        _membranes(canvas)
    else:
        _even_grains(canvas)


def _glowing(canvas: Canvas) -> None:
    rng = canvas.rng
    tint = rng.uniform(0.1, 1.0, 3) if rng.random() < 0.5 else np.ones(3)
    tint = (tint / tint.max()).astype(np.float32)
    ground = rng.uniform(3, 40)
    count = _place_bodies(canvas)
    brightness = (50 + 170 * rng.random()) * canvas.contrast()
    level = ground + brightness * np.exp(rng.normal(0, 0.3, count + 1))
    depth = cv2.distanceTransform(_inner(canvas.labels).astype(np.uint8), cv2.DIST_L2, 3)
    deepest = np.ones(count + 1, np.float32)
    np.maximum.at(deepest, canvas.labels.ravel(), depth.ravel())
    dome = 0.65 + 0.35 * np.sqrt(depth / deepest[canvas.labels])[..., None]
    rough = 1 + rng.uniform(0.03, 0.22) * (canvas.noise(0.15) + 0.7 * canvas.noise(0.05))
    canvas.image[:] = ground * (1 + 0.25 * canvas.noise(0.01)) * tint
    bodies = level[canvas.labels][..., None] * dome * rough * tint
    canvas.shade(canvas.labels > 0, bodies.astype(np.float32))
    haze = cv2.GaussianBlur(canvas.image, (0, 0), canvas.side * 0.02)
    canvas.image += np.float32(0.3 * canvas.difficulty * rng.random()) * haze


def _stained(canvas: Canvas) -> None:
    rng = canvas.rng
    shift = rng.normal(0, 18, 3)
    ground: NDArray[np.floating[Any]] = np.clip(np.array([225, 165, 200]) + shift, 40, 250)
    if rng.random() < 0.25:
        ground = random_colour(rng) * 0.4 + 140
    fibres = canvas.noise(0.02) + 0.6 * canvas.noise(0.08) + 0.3 * canvas.noise(0.3)
    canvas.image[:] = ground + rng.uniform(6, 14 + 14 * canvas.difficulty) * fibres
    gaps = band_noise(rng, canvas.size, rng.uniform(0.01, 0.03)) > rng.uniform(1.0, 2.2)
    canvas.shade(gaps, np.full(3, 242, np.float32), softness=1.5)
    stain = np.clip(np.array([95, 60, 140]) + shift + rng.normal(0, 15, 3), 10, 200)
    count = _place_bodies(canvas)
    share = np.clip(canvas.contrast() * np.exp(rng.normal(0, 0.2, count + 1)), 0.15, 1.1)
    rough = canvas.noise(0.25) + canvas.noise(0.08)
    bodies = ground + (stain - ground) * share[canvas.labels][..., None]
    texture = (bodies + rng.uniform(4, 18) * rough).astype(np.float32)
    inside = canvas.labels > 0
    canvas.shade(inside, texture)
    if rng.random() < 0.6:
        inner = _inner(canvas.labels)
        canvas.shade(inside & ~inner, texture * np.float32(0.75), 0.7, 0.6)
        canvas.shade(inner, texture + np.float32(rng.uniform(-5, 25)), 0.5, 1.0)


def _rimmed(canvas: Canvas) -> None:
    """Nearly transparent bodies with a dark or bright outline, some with a nucleus."""
    rng = canvas.rng
    grey = random_colour(rng) * 0.3 + rng.uniform(60, 160)
    canvas.image[:] = grey + rng.uniform(2, 9) * (canvas.noise(0.02) + canvas.noise(0.2))
    rim = np.float32(rng.choice([-1, 1]) * 90 * canvas.contrast())
    body = np.float32(rng.uniform(-40, 40) * canvas.contrast())
    rough = 8 * canvas.noise(0.12)
    count = _place_bodies(canvas)
    inside, inner = canvas.labels > 0, _inner(canvas.labels)
    halo = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~inside
    canvas.shade(inside, (grey + body + rough).astype(np.float32))
    canvas.shade(halo, (grey - rim * 0.5).astype(np.float32), 0.6, 0.7)
    canvas.shade(inside & ~inner, (grey + rim).astype(np.float32), 0.8, 0.7)
    if rng.random() < 0.5:
        tone = (grey + 2 * body - rim * 0.4).astype(np.float32)
        for label in range(1, count + 1):
            _nucleus(canvas, label, inner & (canvas.labels == label), tone)


def _nucleus(canvas: Canvas, cell: int, inner: Shape, tone: Field) -> None:
    ys, xs = np.nonzero(inner)
    if len(ys) < 60:
        return
    radius = 0.45 * math.sqrt(len(ys) / math.pi)
    spot = (float(xs.mean()), float(ys.mean()))
    core = canvas.lay(random_shape(canvas.rng, canvas.size, spot, radius, "cell") & inner, tone)
    if core:
        canvas.wholes.append(frozenset({cell, core}))


def _inner(labels: NDArray[np.int32]) -> Shape:
    """Pixels whose 3 x 3 neighbours all have their own label; never background."""
    values = labels.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    same = cv2.erode(values, kernel) == cv2.dilate(values, kernel)
    return np.asarray(same & (labels > 0))


def _place_bodies(canvas: Canvas) -> int:
    """Label round shapes of similar size that touch but do not cover one another; their number.

    Loose or in clumps; nothing is coloured.
    """
    rng = canvas.rng
    typical = canvas.radius(0.012, 0.09)
    spread = rng.uniform(0.05, 0.15 + 0.25 * canvas.difficulty)
    most = round(0.5 * canvas.size[0] * canvas.size[1] / (math.pi * typical**2))
    wanted = min(canvas.number(6, 140), max(3, most))
    clumps = rng.uniform(0, 1, (max(1, wanted // 8), 2)) * canvas.size[::-1]
    clumped = rng.random() < 0.3 + 0.5 * canvas.difficulty
    for _ in range(2 * wanted):
        centre = canvas.centre()
        if clumped and rng.random() < 0.85:
            middle = clumps[int(rng.integers(len(clumps)))]
            x, y = middle + rng.normal(0, 2.2 * typical, 2)
            centre = (float(x), float(y))
        radius = typical * math.exp(rng.normal(0, spread))
        shape = random_shape(rng, canvas.size, centre, radius, "cell")
        free = shape & (canvas.labels == 0)
        area = np.count_nonzero(shape)
        if area < 12 or np.count_nonzero(free) < (1 - 0.35 * canvas.difficulty) * area:
            continue
        canvas.count += 1
        canvas.labels[free] = canvas.count
        if canvas.count == wanted:
            break
    return canvas.count


def _membranes(canvas: Canvas) -> None:
    """Grey cells of very different sizes between dark membranes, with organelles inside."""
    rng = canvas.rng
    owner, distance = _mosaic(canvas, canvas.number(8, 120), uneven=True)
    wide = canvas.side * rng.uniform(0.003, 0.01)
    thick = wide * (1 + 0.6 * band_noise(rng, canvas.size, 0.02))
    seam = distance < np.maximum(thick, 1.0)
    ground = rng.uniform(130, 205)
    tones = ground + rng.normal(0, 4 + 10 * canvas.difficulty, int(owner.max()) + 1)
    canvas.image[:] = tones[owner][..., None]
    grain = canvas.noise(0.5) + 0.8 * canvas.noise(0.15) + 0.4 * canvas.noise(0.05)
    canvas.image += rng.uniform(4, 10 + 16 * canvas.difficulty) * grain
    canvas.labels[:] = np.where(seam, 0, owner + 1)
    canvas.count = int(owner.max()) + 1
    dark = np.float32(ground * (1 - 0.75 * min(1.0, canvas.contrast())))
    inside = cv2.erode((~seam).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    as_objects = rng.random() < 0.6
    for _ in range(int(rng.integers(0, 8 + round(60 * canvas.difficulty)))):
        shape = random_shape(rng, canvas.size, canvas.centre(), canvas.radius(0.008, 0.03), "cell")
        cells = np.unique(canvas.labels[shape])
        if len(cells) != 1 or not cells[0] or not inside[shape].all():
            continue
        stripes = 18 * np.sin(np.arange(canvas.size[1], dtype=np.float32) * rng.uniform(0.5, 1.5))
        texture = np.repeat((dark + 45 + stripes)[None, :, None], canvas.size[0], 0)
        texture = np.repeat(texture, 3, 2).astype(np.float32)
        if as_objects:
            _within(canvas, int(cells[0]), canvas.lay(shape, texture, 0.8))
        else:
            canvas.shade(shape, texture, 0.8)
    canvas.shade(seam, np.full(3, dark, np.float32), rng.uniform(0.7, 1.0), 0.8)


def _within(canvas: Canvas, cell: int, part: int) -> None:
    """Note that `part` lies in `cell`, which together are one whole."""
    for index, whole in enumerate(canvas.wholes):
        if cell in whole:
            canvas.wholes[index] = whole | {part}
            return
    canvas.wholes.append(frozenset({cell, part}))


def _even_grains(canvas: Canvas) -> None:
    rng = canvas.rng
    owner, distance = _mosaic(canvas, canvas.number(8, 90))
    seam = distance < max(1.0, canvas.side * rng.uniform(0.004, 0.02))
    spread = rng.uniform(2, 45) * canvas.contrast()
    tones = random_colour(rng) + rng.normal(0, spread, (int(owner.max()) + 1, 1))
    canvas.image[:] = tones[owner].astype(np.float32)
    canvas.image += rng.uniform(0, 25) * canvas.noise(0.25)
    ground = canvas.image.mean((0, 1))
    line = random_colour(rng) * rng.uniform(0.1, 1.0)
    if np.abs(line - ground).max() < 40:
        line = ground + np.float32(60 if ground.mean() < 128 else -60)
    canvas.image[seam] = ground + (line - ground) * np.float32(canvas.contrast())
    canvas.image = cv2.GaussianBlur(canvas.image, (0, 0), 0.5 + canvas.softness)
    canvas.labels[:] = np.where(seam, 0, owner + 1)


def _mosaic(canvas: Canvas, count: int, uneven: bool = False) -> tuple[NDArray[np.int64], Field]:
    """Nearest of `count` seeds per pixel (H, W), and how far the border with the next is.

    Computed at half resolution, on coordinates that smooth noise bends.
    """
    rng = canvas.rng
    height, width = canvas.size
    small = ((height + 1) // 2, (width + 1) // 2)
    seeds = rng.uniform(0, 1, (count, 2)) * (height, width)
    if uneven:
        dense = rng.random(count) < 0.6
        middle = rng.uniform(0, 1, 2) * (height, width)
        seeds[dense] = middle + (seeds[dense] - middle) * rng.uniform(0.3, 0.7)
    warp = canvas.side * rng.uniform(0.005, 0.04)
    ys, xs = (2 * np.mgrid[: small[0], : small[1]]).astype(np.float32)
    ys = ys + warp * band_noise(rng, small, 0.06)
    xs = xs + warp * band_noise(rng, small, 0.06)
    first = np.full(small, np.inf, np.float32)
    second = first.copy()
    owner, rival = np.zeros((2, *small), np.int32)
    for number, (y, x) in enumerate(seeds.astype(np.float32)):
        squared = (ys - y) ** 2 + (xs - x) ** 2
        nearest, nearer = squared < first, squared < second
        second = np.where(nearest, first, np.where(nearer, squared, second))
        rival = np.where(nearest, owner, np.where(nearer, number, rival))
        first = np.where(nearest, squared, first)
        owner[nearest] = number
    apart = np.hypot(*np.moveaxis(seeds[owner] - seeds[rival], -1, 0)).astype(np.float32)
    bisector = (second - first) / (2 * np.maximum(apart, 1))
    distance = cv2.resize(bisector, (width, height))
    full = cv2.resize(owner.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    return full.astype(np.int64), np.asarray(distance, np.float32)
