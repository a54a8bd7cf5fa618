"""Moving scenes with exact masks: objects of generated scenes that drift, turn and swell slowly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from research.scenes.scene import generate_scene


@dataclass(frozen=True, slots=True, eq=False)
class MovingScene:
    """Frames and the visible objects of each.

    Attributes:
        frames: (N, H, W, 3) uint8.
        labels: (N, H, W) int32, 0 background; an object keeps its number.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Motion:
    """Shifts in pixels per frame, turns in radians per frame, and how the size swings."""

    shift: tuple[float, float]
    turn: float
    swell: float
    period: float

    def matrix(self, frame: int, centre: tuple[float, float]) -> NDArray[np.float64]:
        """2 x 3, from where the object was in frame 0."""
        scale = 1 + self.swell * math.sin(2 * math.pi * frame / self.period)
        matrix: NDArray[np.float64] = cv2.getRotationMatrix2D(
            centre, math.degrees(self.turn * frame), scale
        )
        # It turns round before it is far away, so that it stays in the picture.
        swing = math.sin(2 * math.pi * frame / (2 * self.period)) * self.period / math.pi
        matrix[:, 2] += np.array(self.shift) * swing
        return matrix


def moving_scene(
    rng: Generator,
    length: int,
    size: tuple[int, int] = (256, 256),
    kind: str = "cells",
    speed: float = 1.5,
    most: int = 8,
    noise: float = 4.0,
    difficulty: float = 0.4,
) -> MovingScene:
    """Draw a moving scene.

    Args:
        rng: source of all randomness.
        length: frames.
        size: (height, width).
        kind: of `SCENE_KINDS`, from which the objects are cut.
        speed: pixels per frame that objects drift, at most.
        most: objects.
        noise: standard deviation of what is added to each frame.
        difficulty: of the scene, 0..1.
    """
    scene = generate_scene(rng, size, kind, difficulty=difficulty)
    numbers, areas = np.unique(scene.labels[scene.labels > 0], return_counts=True)
    large = numbers[areas >= 0.001 * scene.labels.size]
    chosen = rng.permutation(large)[:most]
    covered = cv2.dilate((scene.labels > 0).astype(np.uint8), np.ones((9, 9), np.uint8))
    ground = cv2.inpaint(scene.image, covered, 3, cv2.INPAINT_TELEA)
    pieces = []
    for number in chosen:
        mask = (scene.labels == number).astype(np.float32)
        rows, columns = np.nonzero(mask)
        angle, pace = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1) * speed
        motion = _Motion(
            (pace * math.cos(angle), pace * math.sin(angle)),
            rng.normal(0, 0.01 * speed),
            rng.uniform(0, 0.15),
            rng.uniform(25, 60),
        )
        pieces.append((mask, (float(columns.mean()), float(rows.mean())), motion))
    frames = np.empty((length, *size, 3), np.uint8)
    labels = np.zeros((length, *size), np.int32)
    for frame in range(length):
        image = ground.astype(np.float32)
        for number, (mask, centre, motion) in enumerate(pieces, 1):
            matrix = motion.matrix(frame, centre)
            there = cv2.warpAffine(mask, matrix, size[::-1], flags=cv2.INTER_LINEAR)
            look = cv2.warpAffine(
                scene.image,
                matrix,
                size[::-1],
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )
            image += there[..., None] * (look.astype(np.float32) - image)
            labels[frame][there > 0.5] = number
        image += rng.normal(0, noise, image.shape).astype(np.float32)
        frames[frame] = np.clip(image, 0, 255).astype(np.uint8)
    return MovingScene(frames, labels)
