"""Find similar: proposes objects that look like accepted objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce as fold

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.models.signature import REACH_OF_ONE, Signature
from samadapt.prompts import Prompt
from samadapt.proposals.likeness import (
    ExampleImage,
    Frame,
    Likeness,
    LikenessMap,
    Map,
    Mask,
    blurred,
)
from samadapt.proposals.proposal import Proposal

BATCH = 4
SECONDS = 3.0
_ALIKE = 0.5
"""Least likeness: half-way between the surroundings and the examples, where Fisher's discriminant
decides between two classes of equal prior."""
_SIZES = 3.0
"""Largest factor between the sizes of an object and of the examples; chosen by hand."""
_COVERED = 0.3
"""Largest share of a proposal that may lie in known objects; chosen by hand."""
_PEAK_RADIUS = 12.0
"""The examples' radius in pixels of the map in which peaks are searched."""
_MASK_BYTES = 1 << 28
"""Memory limit of the masks of one batch, which has at least one prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class SimilarObjects:
    """Result of a search.

    Attributes:
        proposals: the most likely first; the score is the similarity to the examples.
        tried: (x, y) of the clicks that gave no proposal.
        more: whether there are places left to click on.
        looked: number of places tried.
        places: number of all places.
        is_unlike: whether the examples are on other images from another domain, so that the
            similarity is unreliable.
    """

    proposals: tuple[Proposal, ...] = ()
    tried: tuple[tuple[float, float], ...] = ()
    more: bool = False
    looked: int = 0
    places: int = 0
    is_unlike: bool = False


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
    progress: Callable[[int, int], None] = lambda looked, places: None,
    elsewhere: Sequence[ExampleImage] = (),
) -> SimilarObjects:
    """Propose objects that look like `examples`, the most likely first.

    Every pixel is described by its colour, by its surroundings at the scale of the examples, and
    by how much its image features agree with theirs. Fisher's linear discriminant between the
    pixels inside the examples and those around them gives a map of likeness. Its peaks, apart
    from each other and from known objects, are clicked on, the highest first. A mask is kept if
    its size and likeness match the examples, and if it covers neither a known object nor a better
    proposal.

    All maps are at most 1024 pixels wide or high, and masks are kept compressed: apart from single
    predictions, neither time nor memory grows with the image.

    Args:
        model: the model.
        embedding: the image.
        pixels: the image, (H, W, 3) uint8.
        examples: accepted objects of the wanted kind.
        others: all other objects of the image.
        adapters: in use.
        most: largest number of proposals.
        seconds: no further clicks after this time. It is counted from the first click, so that
            every search makes progress even if the map takes long.
        rejected: earlier proposals that were rejected or corrected; they are not proposed again.
            Similar objects are still proposed.
        tried: clicks of earlier searches without a proposal; their places are left out.
        progress: called with the number of places tried and of all.
        elsewhere: other images with examples, which are used if this one has none.
    """
    frame = Frame((pixels.shape[0], pixels.shape[1]))
    closed = frame.union([*examples, *others, *rejected])
    here = ExampleImage(embedding, pixels, examples, others)
    images = [here] if examples else list(elsewhere)
    shown = [rle for image in images for rle in image.examples if rle.area]
    if closed.all() or not shown:
        return SimilarObjects()
    areas = np.array([rle.area for rle in shown], np.float64)
    radius = float(np.sqrt(np.median(areas) / np.pi))
    near = max(radius * frame.scale, 1.0)
    likeness = Likeness(images).on(embedding, pixels, frame, near)
    least = (likeness.low + likeness.high) / 2
    points = _peaks(likeness.values, closed, least, near, frame)
    points = _untried(points, tried, radius)
    deadline = time.monotonic() + seconds
    found: list[Proposal] = []
    taken, failed, more, looked = closed.copy(), list[tuple[float, float]](), False, 0
    for batch in _batches(points, frame.size):
        progress(looked, len(points))
        looked += len(batch)
        fresh = [Prompt([point]) for point in batch if not taken[frame.cell(*point)]]
        if fresh and (len(found) >= most or time.monotonic() > deadline):
            more, looked = True, looked - len(batch)
            break
        answers = model.predict(embedding, fresh, True, adapters) if fresh else []
        for prompt, answer in zip(fresh, answers, strict=True):
            proposal = _judged(answer, prompt, areas, frame, taken, likeness)
            if proposal is not None:
                found.append(proposal)
                taken |= frame.sampled(proposal.rle)
            else:
                failed.append((prompt.points[0][0], prompt.points[0][1]))
    progress(looked, len(points))
    found.sort(key=lambda proposal: -proposal.score)
    more = more or len(found) > most
    unlike = not examples and _is_unlike(embedding, images)
    return SimilarObjects(tuple(found[:most]), tuple(failed), more, looked, len(points), unlike)


def _is_unlike(embedding: ImageEmbedding, images: Sequence[ExampleImage]) -> bool:
    """Return True if an image is unlike those with examples (`Signature.reach`)."""
    first, *others = [Signature.of(image.embedding) for image in images]
    kind = fold(Signature.joined, others, first)
    return kind.distance(Signature.of(embedding)) > kind.reach(REACH_OF_ONE)


def _judged(
    answer: Prediction,
    prompt: Prompt,
    areas: NDArray[np.float64],
    frame: Frame,
    taken: Mask,
    likeness: LikenessMap,
) -> Proposal | None:
    """The candidate of the most similar size, if it looks like the examples and is unoccupied."""
    parts = [_part(mask, prompt) for mask in answer.masks]
    gaps = [_size_gap(part.area, areas) for part in parts]
    index = int(np.argmin(gaps))
    if gaps[index] > np.log(_SIZES):
        return None
    small = frame.sampled(parts[index])
    if np.count_nonzero(small & taken) > _COVERED * np.count_nonzero(small):
        return None
    span = max(likeness.high - likeness.low, 1e-6)
    alike = float(np.clip((likeness.values[small].mean() - likeness.low) / span, 0, 1))
    return Proposal(parts[index], alike, prompt.points[0]) if alike >= _ALIKE else None


def _batches(
    points: Sequence[tuple[float, float]], size: tuple[int, int]
) -> Iterator[Sequence[tuple[float, float]]]:
    """Batches of points; smaller where three masks of each take much memory."""
    count = max(1, min(BATCH, _MASK_BYTES // (3 * size[0] * size[1])))
    for start in range(0, len(points), count):
        yield points[start : start + count]


def _peaks(
    likeness: Map, known: Mask, least: float, radius: float, frame: Frame
) -> list[tuple[float, float]]:
    """Places (x, y) of the peaks of the map above `least`, the highest first.

    Large objects are searched on a coarser map, so that peaks of large and small objects are
    compared with the same number of pixels around them.
    """
    smooth = blurred(likeness, max(0.4 * radius, 0.5))
    free = np.where(known, -1e9, smooth).astype(np.float32)
    step = max(1, round(radius / _PEAK_RADIUS))
    coarse = free[step // 2 :: step, step // 2 :: step] if min(free.shape) > step else free
    step = step if coarse is not free else 1
    reach = 2 * max(1, round(0.8 * radius / step)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    coarse = np.ascontiguousarray(coarse)
    rows, columns = np.nonzero((coarse >= cv2.dilate(coarse, kernel)) & (coarse > least))
    order = np.argsort(-coarse[rows, columns], kind="stable")
    at = [(int(rows[k]) * step + step // 2, int(columns[k]) * step + step // 2) for k in order]
    return [frame.place(row, column) for row, column in at]


def _untried(
    points: list[tuple[float, float]], tried: Sequence[tuple[float, float]], radius: float
) -> list[tuple[float, float]]:
    """Places that are not within half a radius of a place tried before."""
    if not tried or not points:
        return points
    before = np.asarray(tried, np.float64)
    return [p for p in points if np.hypot(*(before - p).T).min() > radius / 2]


def _part(mask: Mask, prompt: Prompt) -> Rle:
    """The part of a mask that was clicked on; all of it when the click is outside."""
    x, y = (int(v) for v in prompt.points[0])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    size = int(mask.shape[0]), int(mask.shape[1])
    if not rows.size:
        return Rle.from_crops([], size)
    top, left = int(rows[0]), int(columns[0])
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    if mask[y, x]:
        _, numbers = cv2.connectedComponents(crop.astype(np.uint8), connectivity=4)
        crop = numbers == numbers[y - top, x - left]
    return Rle.from_crops([(crop, left, top)], size)


def _size_gap(area: int, areas: NDArray[np.float64]) -> float:
    """Distance of an area from the examples' range, as a logarithm; 0 inside it."""
    if area == 0:
        return float("inf")
    low, high = float(areas.min()), float(areas.max())
    return float(max(np.log(low / area), np.log(area / high), 0.0))
