"""`LikenessMap`: how much every place of an image looks like some examples, at a bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.models.embedding import ImageEmbedding

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]

SIDE = 1024
"""Longer side of all maps: time and memory do not grow with the image beyond that."""
_SHRINKAGE = 0.05
"""Ridge of the discriminant, for features of unit variance; chosen by hand."""
_LARGEST_SIGMA = 12.0


class Frame:
    """An image's pixels (H, W) and those of its maps (h, w), of which each stands for a block.

    Args:
        size: (H, W).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.scale = min(1.0, SIDE / max(size))
        height, width = (max(1, round(side * self.scale)) for side in size)
        self.shape = height, width
        self._rows = _middles(height, size[0])
        self._columns = _middles(width, size[1])

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """(row, column) of the map at a place (x, y) of the image."""
        (height, width), (h, w) = self.size, self.shape
        row = min(max(int(y * h / height), 0), h - 1)
        return row, min(max(int(x * w / width), 0), w - 1)

    def place(self, row: int, column: int) -> tuple[float, float]:
        """(x, y) of the image in the middle of a map's pixel."""
        return float(self._columns[column]) + 0.5, float(self._rows[row]) + 0.5

    def sampled(self, rle: Rle) -> Mask:
        """A mask at the map's size; a few pixels that lie between its samples become one.

        Nothing of the image's size is made on the way.
        """
        found = np.zeros(self.shape, np.bool_)
        x, y, width, height = rle.box
        if not width:
            return found
        rows, columns = _between(self._rows, y, height), _between(self._columns, x, width)
        ends = np.cumsum(rle.runs())
        at = self._columns[columns][None, :] * self.size[0] + self._rows[rows][:, None]
        found[rows, columns] = np.searchsorted(ends, at, side="right") % 2 == 1
        if not found.any():
            column, row = divmod(int(ends[0]), self.size[0])
            found[self.cell(column, row)] = True
        return found

    def union(self, rles: Sequence[Rle]) -> Mask:
        """Return the union of masks at the map's size."""
        found = np.zeros(self.shape, np.bool_)
        for rle in rles:
            found |= self.sampled(rle)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class LikenessMap:
    """Likeness (h, w), and its means around the examples (low) and inside them (high)."""

    values: Map
    low: float
    high: float

    @classmethod
    def of(
        cls,
        embedding: ImageEmbedding,
        pixels: NDArray[np.uint8],
        frame: Frame,
        inside: Mask,
        taken: Mask,
        radius: float,
    ) -> LikenessMap:
        """The map of an image.

        Args:
            embedding: the image.
            pixels: the image, (H, W, 3).
            frame: its size and the map's.
            inside: the examples, (h, w).
            taken: they and all other known objects, (h, w).
            radius: of the examples, in pixels of the map.
        """
        small = cv2.resize(pixels, frame.shape[::-1], interpolation=cv2.INTER_AREA)
        features = _features(embedding, np.asarray(small, np.uint8), inside, taken, radius)
        around = _ring(inside, radius) & ~taken
        if not around.any():
            around = ~taken if not taken.all() else ~inside
        one, rest = features[inside], features[around]
        weights = _discriminant(one, rest)
        return cls(
            np.asarray(features @ weights, np.float32),
            float((rest @ weights).mean()),
            float((one @ weights).mean()),
        )


def blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian blur whose time does not grow with its width."""
    height, width = values.shape[:2]
    factor = max(1.0, sigma / _LARGEST_SIGMA)
    if factor > 1:
        size = max(1, round(width / factor)), max(1, round(height / factor))
        values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
    done = cv2.GaussianBlur(values, (0, 0), sigma / factor)
    if factor > 1:
        done = cv2.resize(done, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(done, np.float32)


def _middles(count: int, length: int) -> NDArray[np.int64]:
    """The pixels in the middle of `count` equal parts of `length` pixels."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)


def _between(middles: NDArray[np.int64], first: int, length: int) -> slice:
    """Those of the middles that lie in a range of pixels."""
    return slice(*np.searchsorted(middles, (first, first + length)).tolist())


def _features(
    embedding: ImageEmbedding, small: NDArray[np.uint8], inside: Mask, taken: Mask, radius: float
) -> Map:
    """What is known of every pixel, (h, w, F) float32, each with mean 0 and deviation 1."""
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    near = blurred(colour, max(0.35 * radius, 0.5))
    wide = blurred(colour, 2.5 * radius)
    grey = blurred(np.ascontiguousarray(colour[..., 0]), max(0.15 * radius, 0.5))
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    texture = blurred(edges, max(0.5 * radius, 0.5))
    agreement = _agreement(embedding, inside, taken)
    stack = np.dstack([near, near - wide, texture, agreement]).astype(np.float32)
    flat = stack.reshape(-1, stack.shape[-1])
    normal = (stack - flat.mean(0)) / np.maximum(flat.std(0), 1e-6)
    return np.asarray(normal, np.float32)


def _agreement(embedding: ImageEmbedding, inside: Mask, taken: Mask) -> Map:
    """Cosine of the image features with the examples' mean, less that with the rest's."""
    grid = embedding.image[0].permute(1, 2, 0).float()
    grid = F.normalize(grid - grid.mean((0, 1), keepdim=True), dim=-1)
    # The same geometry from the map's pixels instead of the image's.
    geometry = replace(embedding.geometry, original=inside.shape)

    def mean(mask: Mask) -> torch.Tensor:
        tensor = torch.from_numpy(mask.astype(np.uint8))[None, None].to(grid.device)
        share = geometry.to_decoder(tensor, embedding.grid)[0, 0]
        return F.normalize((grid * share[..., None]).sum((0, 1)), dim=0)

    difference = grid @ mean(inside) - grid @ mean(~taken)
    full = geometry.to_original(difference[None, None])[0, 0].cpu().numpy()
    return np.asarray(full, np.float32)


def _ring(inside: Mask, radius: float) -> Mask:
    """Pixels around the examples, a little apart from them."""
    apart = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    def grown(by: float) -> Mask:
        return np.asarray(apart <= max(1, round(by)) + 0.5)

    ring: Mask = grown(1.5 * radius) & ~grown(0.3 * radius)
    return ring


def _discriminant(one: Map, rest: Map) -> Map:
    """Fisher's linear discriminant (F,) of two sets of pixels (N, F), covariance shrunk."""
    spread = (np.cov(one.T) * (len(one) > 1) if len(one) > 1 else 0) + (
        np.cov(rest.T) if len(rest) > 1 else 0
    )
    count = one.shape[1]
    matrix = np.asarray(spread, np.float64) + _SHRINKAGE * np.eye(count)
    weights = np.linalg.solve(matrix, (one.mean(0) - rest.mean(0)).astype(np.float64))
    return np.asarray(weights / max(float(np.linalg.norm(weights)), 1e-12), np.float32)
