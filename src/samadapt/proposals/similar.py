"""Proposals by similarity: further objects of an image that look like given ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.proposals.proposal import Proposal

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]

BATCH = 4
SECONDS = 3.0
_SIZES = 3.0
_COVERED = 0.3
_SIDE = 1024
_SHRINKAGE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class SimilarObjects:
    """The result of `propose_similar`.

    Attributes:
        proposals: the most likely first.
        tried: (x, y) of the clicks that gave no proposal.
        more: whether there are places left to click on.
    """

    proposals: tuple[Proposal, ...] = ()
    tried: tuple[tuple[float, float], ...] = ()
    more: bool = False


def propose_similar(
    model: SegmentationModel,
    embedding: ImageEmbedding,
    pixels: NDArray[np.uint8],
    examples: Sequence[Rle],
    others: Sequence[Rle],
    adapters: Sequence[Seams] = (),
    most: int = 40,
    seconds: float = SECONDS,
    rejected: Sequence[Rle] = (),
    tried: Sequence[tuple[float, float]] = (),
) -> SimilarObjects:
    """Propose objects that look like `examples`, the most likely first; scores are likeness.

    Every pixel is described by its colour, by its surroundings at the scale of the examples, and
    by how much its image features agree with theirs. Fisher's linear discriminant between the
    pixels inside the examples and those around them gives a map of likeness. Its peaks, apart
    from each other and from known objects, are clicked on, the highest first. Of the masks that
    come out, those are kept whose size and likeness are the examples', and that cover neither a
    known object nor a better proposal.

    Args:
        model: the model.
        embedding: the image.
        pixels: the image, (H, W, 3) uint8.
        examples: accepted objects of the wanted kind, at least one.
        others: all other objects of the image.
        adapters: in force.
        most: proposals.
        seconds: no further clicks after this time; it begins with the first one, so that every
            search comes a little further, however long the map takes.
        rejected: earlier proposals that were not wanted, or not as they were; they are not
            proposed again. What they look like is not held against others.
        tried: clicks of earlier searches that gave nothing; their places are left out.
    """
    wanted = _union(examples, pixels)
    known = _union([*examples, *others], pixels)
    closed = known | _union(rejected, pixels)
    if closed.all() or not wanted.any():
        return SimilarObjects()
    areas = np.array([rle.area for rle in examples], np.float64)
    radius = float(np.sqrt(np.median(areas) / np.pi))
    likeness, low, high = _likeness(embedding, pixels, wanted, known, radius)
    deadline = time.monotonic() + seconds
    found: list[Proposal] = []
    taken, failed, more = closed.copy(), list[tuple[float, float]](), False
    for prompts in _clicks(likeness, closed, (low + high) / 2, radius, tried):
        fresh = [p for p in prompts if not taken[int(p.points[0][1]), int(p.points[0][0])]]
        if fresh and (len(found) >= most or time.monotonic() > deadline):
            more = True
            break
        answers = model.predict(embedding, fresh, True, adapters) if fresh else []
        for prompt, answer in zip(fresh, answers, strict=True):
            # Of the three candidates, the one whose size is most like the examples'.
            masks = [_part(mask, prompt) for mask in answer.masks]
            gaps = [_size_gap(mask, areas) for mask in masks]
            index = int(np.argmin(gaps))
            mask = masks[index]
            covered = np.count_nonzero(mask & taken)
            alike = 0.0
            if gaps[index] <= np.log(_SIZES) and covered <= _COVERED * np.count_nonzero(mask):
                alike = float(np.clip((likeness[mask].mean() - low) / max(high - low, 1e-6), 0, 1))
            if alike >= 0.5:
                x, y = prompt.points[0]
                found.append(Proposal(Rle.from_mask(mask), alike, (x, y)))
                taken |= mask
            else:
                failed.append((prompt.points[0][0], prompt.points[0][1]))
    found.sort(key=lambda proposal: -proposal.score)
    return SimilarObjects(tuple(found[:most]), tuple(failed), more or len(found) > most)


def _union(rles: Sequence[Rle], pixels: NDArray[np.uint8]) -> Mask:
    mask = np.zeros(pixels.shape[:2], np.bool_)
    for rle in rles:
        mask |= rle.mask()
    return mask


def _likeness(
    embedding: ImageEmbedding,
    pixels: NDArray[np.uint8],
    wanted: Mask,
    known: Mask,
    radius: float,
) -> tuple[Map, float, float]:
    """Map of likeness (H, W), and its mean around the examples and inside them."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(wanted.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    taken = cv2.resize(known.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if not inside.any():  # objects that vanish when the image is shrunk
        inside[:] = cv2.resize(wanted.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    features = _features(embedding, small, inside, taken, max(radius * scale, 1.0))
    around = _ring(inside, max(radius * scale, 1.0)) & ~taken
    if not around.any():
        around = ~taken if not taken.all() else ~inside
    one, rest = features[inside], features[around]
    weights = _discriminant(one, rest)
    full = cv2.resize(features @ weights, (width, height), interpolation=cv2.INTER_LINEAR)
    return (
        np.asarray(full, np.float32),
        float((rest @ weights).mean()),
        float((one @ weights).mean()),
    )


def _features(
    embedding: ImageEmbedding, small: NDArray[np.uint8], inside: Mask, taken: Mask, radius: float
) -> Map:
    """What is known of every pixel, (h, w, F) float32, each with mean 0 and deviation 1."""
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    near = cv2.GaussianBlur(colour, (0, 0), max(0.35 * radius, 0.5))
    wide = cv2.GaussianBlur(colour, (0, 0), 2.5 * radius)
    grey = cv2.GaussianBlur(colour[..., 0], (0, 0), max(0.15 * radius, 0.5))
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    texture = cv2.GaussianBlur(edges, (0, 0), max(0.5 * radius, 0.5))
    agreement = _agreement(embedding, inside, taken)
    stack = np.dstack([near, near - wide, texture, agreement]).astype(np.float32)
    flat = stack.reshape(-1, stack.shape[-1])
    normal = (stack - flat.mean(0)) / np.maximum(flat.std(0), 1e-6)
    return np.asarray(normal, np.float32)


def _agreement(embedding: ImageEmbedding, inside: Mask, taken: Mask) -> Map:
    """Cosine of the image features with the examples' mean, less that with the rest's."""
    grid = embedding.image[0].permute(1, 2, 0).float()
    grid = F.normalize(grid - grid.mean((0, 1), keepdim=True), dim=-1)
    size = embedding.original_size

    def mean(mask: Mask) -> torch.Tensor:
        full = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        tensor = torch.from_numpy(full)[None, None].to(grid.device)
        share = embedding.geometry.to_decoder(tensor, embedding.grid)[0, 0]
        return F.normalize((grid * share[..., None]).sum((0, 1)), dim=0)

    difference = grid @ mean(inside) - grid @ mean(~taken)
    full = embedding.geometry.to_original(difference[None, None])[0, 0].cpu().numpy()
    shape = inside.shape[::-1]
    return np.asarray(cv2.resize(full, shape, interpolation=cv2.INTER_LINEAR), np.float32)


def _ring(inside: Mask, radius: float) -> Mask:
    """Pixels around the examples, a little apart from them."""

    def grown(by: float) -> Mask:
        reach = 2 * max(1, round(by)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        return np.asarray(cv2.dilate(inside.astype(np.uint8), kernel)) > 0

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


def _clicks(
    likeness: Map,
    known: Mask,
    least: float,
    radius: float,
    tried: Sequence[tuple[float, float]],
) -> Iterator[list[Prompt]]:
    """Clicks on the peaks of the map above `least`, the highest first, a few at a time.

    None lies within half a radius of where one was tried before.
    """
    smooth = cv2.GaussianBlur(likeness, (0, 0), max(0.4 * radius, 0.5))
    free = np.where(known, -1e9, smooth).astype(np.float32)
    reach = 2 * max(1, round(0.8 * radius)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    rows, columns = np.nonzero((free >= cv2.dilate(free, kernel)) & (free > least))
    order = np.argsort(-free[rows, columns], kind="stable")
    places = np.stack([columns[order], rows[order]], axis=1) + 0.5
    if tried:
        apart = places[:, None] - np.asarray(tried, np.float64)[None]
        places = places[np.hypot(*np.moveaxis(apart, -1, 0)).min(1) > radius / 2]
    points = [(float(x), float(y)) for x, y in places]
    for start in range(0, len(points), BATCH):
        yield [Prompt([point]) for point in points[start : start + BATCH]]


def _part(mask: Mask, prompt: Prompt) -> Mask:
    """The part of a mask that was clicked on; all of it when the click is outside."""
    x, y = (int(v) for v in prompt.points[0])
    if not mask[y, x]:
        return mask
    _, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return np.asarray(numbers == numbers[y, x])


def _size_gap(mask: Mask, areas: NDArray[np.float64]) -> float:
    """How far a mask's area is from the examples' range, as a logarithm; 0 inside it."""
    area = float(np.count_nonzero(mask))
    if area == 0:
        return float("inf")
    low, high = float(areas.min()), float(areas.max())
    return float(max(np.log(low / area), np.log(area / high), 0.0))
