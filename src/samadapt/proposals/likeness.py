"""`LikenessMap`: similarity of every place of an image to some examples, at a bounded size."""

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
"""Longest side of all maps, so that time and memory do not grow with the image."""
_SHRINKAGE = 0.05
"""Ridge of the discriminant, for features of unit variance; chosen by hand."""
_LARGEST_SIGMA = 12.0


class Frame:
    """Correspondence of an image's pixels (H, W) and the pixels of its maps (h, w)."""

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
        """A mask at the map's size, with at least one pixel for a small object.

        No array of the image's size is allocated.
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
class ExampleImage:
    """An image with examples of a kind of object.

    Attributes:
        embedding: the image.
        pixels: the same, (H, W, 3) uint8.
        examples: masks of the kind, at least one.
        others: masks of all its other objects.
    """

    embedding: ImageEmbedding
    pixels: NDArray[np.uint8]
    examples: Sequence[Rle]
    others: Sequence[Rle] = ()

    @property
    def radius(self) -> float:
        """Median radius of the examples, in pixels of the image."""
        areas = [rle.area for rle in self.examples]
        return float(np.sqrt(np.median(np.array(areas, np.float64)) / np.pi))


@dataclass(frozen=True, slots=True, eq=False)
class LikenessMap:
    """Likeness (h, w), and its means around the examples (low) and inside them (high)."""

    values: Map
    low: float
    high: float


class Likeness:
    """Similarity to examples, learned from one image or several.

    Args:
        images: with examples each; at least one.
    """

    def __init__(self, images: Sequence[ExampleImage]) -> None:
        places = [_Examples(image) for image in images]
        self._direction = torch.stack([place.direction for place in places]).mean(0)
        self._known: dict[int, Map] = {}
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        inside, around = list[Map](), list[Map]()
        for place in places:
            stack = _stacked(place.embedding, place.small, place.near, self._direction)
            if len(places) == 1:  # it is looked at next
                self._known[id(place.embedding)] = stack
            flat = stack.reshape(-1, stack.shape[-1])
            count += len(flat)
            total = total + flat.sum(0, np.float64)
            squares = squares + np.einsum("nf,nf->f", flat, flat, dtype=np.float64)
            inside.append(stack[place.inside])
            around.append(stack[place.around])
        mean = total / count
        self._mean = np.asarray(mean, np.float32)
        variance = np.maximum(squares / count - mean**2, 1e-12)
        self._deviation = np.asarray(np.sqrt(variance), np.float32)
        one, rest = (self._normal(np.concatenate(parts)) for parts in (inside, around))
        self._weights = _discriminant(one, rest)
        self.low = float((rest @ self._weights).mean())
        self.high = float((one @ self._weights).mean())

    def on(
        self, embedding: ImageEmbedding, pixels: NDArray[np.uint8], frame: Frame, radius: float
    ) -> LikenessMap:
        """The likeness of all places of an image.

        Args:
            embedding: the image.
            pixels: the same, (H, W, 3).
            frame: its size and the map's.
            radius: of the wanted objects, in pixels of the map.
        """
        stack = self._known.get(id(embedding))
        if stack is None:
            stack = _stacked(embedding, _small(pixels, frame), radius, self._direction)
        values = np.asarray(self._normal(stack) @ self._weights, np.float32)
        return LikenessMap(values, self.low, self.high)

    def _normal(self, values: Map) -> Map:
        return np.asarray((values - self._mean) / self._deviation, np.float32)


class _Examples:
    """The examples of one image, on its maps."""

    def __init__(self, image: ExampleImage) -> None:
        self.embedding = image.embedding
        frame = Frame((image.pixels.shape[0], image.pixels.shape[1]))
        self.small = _small(image.pixels, frame)
        self.near = max(image.radius * frame.scale, 1.0)
        self.inside = frame.union(image.examples)
        taken = self.inside | frame.union(image.others)
        around = _ring(self.inside, self.near) & ~taken
        if not around.any():
            around = ~taken if not taken.all() else ~self.inside
        self.around = around
        self.direction = _direction(self.embedding, self.inside, taken)


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
    """The slice of the middles that lie in a range of pixels."""
    return slice(*np.searchsorted(middles, (first, first + length)).tolist())


def _small(pixels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    small = cv2.resize(pixels, frame.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _stacked(
    embedding: ImageEmbedding, small: NDArray[np.uint8], radius: float, direction: torch.Tensor
) -> Map:
    """Features of every pixel, (h, w, F) float32."""
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    near = blurred(colour, max(0.35 * radius, 0.5))
    wide = blurred(colour, 2.5 * radius)
    grey = blurred(np.ascontiguousarray(colour[..., 0]), max(0.15 * radius, 0.5))
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    texture = blurred(edges, max(0.5 * radius, 0.5))
    agreement = _agreement(embedding, small.shape[:2], direction)
    return np.dstack([near, near - wide, texture, agreement]).astype(np.float32)


def _centred(embedding: ImageEmbedding) -> torch.Tensor:
    """The image features (h, w, C), their mean taken away, of length 1 each."""
    grid = embedding.image[0].permute(1, 2, 0).float()
    return F.normalize(grid - grid.mean((0, 1), keepdim=True), dim=-1)


def _direction(embedding: ImageEmbedding, inside: Mask, taken: Mask) -> torch.Tensor:
    """Mean features (C,) of the examples minus those of the background."""
    grid = _centred(embedding)
    # The same geometry from the map's pixels instead of the image's.
    geometry = replace(embedding.geometry, original=inside.shape)

    def mean(mask: Mask) -> torch.Tensor:
        tensor = torch.from_numpy(mask.astype(np.uint8))[None, None].to(grid.device)
        share = geometry.to_decoder(tensor, embedding.grid)[0, 0]
        return F.normalize((grid * share[..., None]).sum((0, 1)), dim=0)

    return mean(inside) - mean(~taken)


def _agreement(embedding: ImageEmbedding, shape: tuple[int, ...], direction: torch.Tensor) -> Map:
    """Projection (h, w) of the image features onto a direction."""
    geometry = replace(embedding.geometry, original=(shape[0], shape[1]))
    difference = _centred(embedding) @ direction
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
