"""Prediction for one prompt on an image larger than memory, in a window that holds the object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.data.tiled import TiledImage
from samadapt.errors import PromptError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.prompts import Box, Prompt

_MARGIN = 1.6
"""The first window is this many times as wide as the extent of the prompt."""
_GROWTH = 2.0
_MOST_TILES = 64
"""Largest number of windows for refining an outline; more would take minutes."""

Window = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class HugeAnswer:
    """The mask of one object of a huge image.

    Attributes:
        rle: its mask, in pixels of the whole image.
        score: the model's own estimate of the mask's IoU.
        window: (x0, y0, x1, y1) of the prediction.
        scale: pixels of the image per pixel of the model's input.
        refined: whether the outline was refined at full resolution.
    """

    rle: Rle
    score: float
    window: Window
    scale: float
    refined: bool


def predict_in_window(
    model: SegmentationModel,
    image: TiledImage,
    prompt: Prompt,
    adapters: Sequence[Seams] = (),
    *,
    side: int = 1024,
    multimask: bool = False,
) -> HugeAnswer:
    """Predict the mask for a prompt in a window of a huge image.

    The first window is around the clicks and the box, at full resolution if it fits into `side`
    pixels. If the object reaches the window's edge, it is predicted again in a window twice as
    wide, at a coarser level, until it fits. A mask from a coarser level is refined: along its
    outline it is predicted again in windows at full resolution, with the coarse mask as prompt.

    Args:
        model: predicts the masks.
        image: the image.
        prompt: clicks and a box in pixels of the image; no mask.
        adapters: applied in order.
        side: longer side of the model's input, in pixels.
        multimask: use the best of three candidates.

    Raises:
        PromptError: a mask in the prompt, or a click outside the image.
        ImageError: a window that cannot be read.
    """
    if prompt.mask is not None:
        raise PromptError("a huge image takes clicks and a box: leave the mask out")
    prompt.check_inside(image.size)
    height, width = image.size
    x0, y0, x1, y1 = _extent(prompt, image.size)
    extent = max(side, _MARGIN * max(x1 - x0, y1 - y0))
    while True:
        window = _around(((x0 + x1) / 2, (y0 + y1) / 2), extent, image.size)
        pixels = image.view(window, side)
        scale = (window[2] - window[0]) / pixels.shape[1]
        found = model.predict(
            model.encode(pixels), _moved(prompt, window, scale), multimask, adapters
        )
        mask, score = found.masks[found.best], float(found.scores[found.best])
        is_all = window == (0, 0, width, height)
        if is_all or not _is_cut(mask, window, image.size):
            break
        extent *= _GROWTH
    full, refined = _full(model, image, mask, window, scale, adapters, side)
    return HugeAnswer(full, score, window, scale, refined)


def refine_outline(
    model: SegmentationModel,
    image: TiledImage,
    mask: Rle,
    reach: float,
    adapters: Sequence[Seams] = (),
    *,
    side: int = 1024,
) -> Rle | None:
    """Refine the outline of a mask at full resolution, window by window.

    Args:
        model: predicts the masks.
        image: the image.
        mask: in pixels of the image.
        reach: pixels on each side of the outline within which the refinement applies.
        adapters: applied in order.
        side: pixels of a window along each side.

    Returns:
        The mask; None if its outline runs through more than 64 windows.

    Raises:
        ImageError: a window that cannot be read.
    """
    x, y, width, height = mask.box
    parts = []
    for tile in _tiles((x, y, x + width, y + height), side):
        part = mask.crop(*tile)
        if part.any():
            parts.append((tile, part))
    if sum(not part.all() for _, part in parts) > _MOST_TILES:
        return None
    crops = []
    for tile, part in parts:
        if not part.all():
            part = _refined(model, image.read(0, *tile), part, reach, adapters)
        crops.append((part, tile[0], tile[1]))
    return Rle.from_crops(crops, image.size)


# -- private ------------------------------------------------------------------------------


def _extent(prompt: Prompt, size: tuple[int, int]) -> tuple[float, float, float, float]:
    corners = [(click.x, click.y) for click in prompt.clicks]
    if isinstance(prompt.box, Box):
        b = prompt.box
        corners += [(max(b.x0, 0), max(b.y0, 0)), (min(b.x1, size[1]), min(b.y1, size[0]))]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _around(centre: tuple[float, float], extent: float, size: tuple[int, int]) -> Window:
    """A square window around a point, moved and cut to lie inside the image."""
    spans = []
    for middle, length in zip(centre, size[::-1], strict=True):
        wanted = min(round(extent), length)
        start = min(max(round(middle - wanted / 2), 0), length - wanted)
        spans.append((start, start + wanted))
    (x0, x1), (y0, y1) = spans
    return x0, y0, x1, y1


def _moved(prompt: Prompt, window: Window, scale: float) -> Prompt:
    """The prompt in pixels of the model's input."""
    x, y = window[:2]
    points = [((px - x) / scale, (py - y) / scale) for px, py in prompt.points]
    box = None
    if isinstance(prompt.box, Box):
        b = prompt.box
        box = Box((b.x0 - x) / scale, (b.y0 - y) / scale, (b.x1 - x) / scale, (b.y1 - y) / scale)
    return Prompt(points, prompt.labels, box)


def _is_cut(mask: NDArray[np.bool_], window: Window, size: tuple[int, int]) -> bool:
    """Whether a mask reaches an edge of its window inside the image."""
    x0, y0, x1, y1 = window
    return bool(
        (x0 > 0 and mask[:, 0].any())
        or (y0 > 0 and mask[0].any())
        or (x1 < size[1] and mask[:, -1].any())
        or (y1 < size[0] and mask[-1].any())
    )


def _full(
    model: SegmentationModel,
    image: TiledImage,
    mask: NDArray[np.bool_],
    window: Window,
    scale: float,
    adapters: Sequence[Seams],
    side: int,
) -> tuple[Rle, bool]:
    """The mask in pixels of the image, tile by tile, refined along its outline."""
    if scale <= 1:
        return Rle.from_crops([(mask, window[0], window[1])], image.size), False
    crops = []
    for tile in _tiles(window, side):
        part = _enlarged(mask, tile, window, scale)
        if part.any():
            crops.append((part, tile[0], tile[1]))
    coarse = Rle.from_crops(crops, image.size)
    found = refine_outline(model, image, coarse, 2 * scale, adapters, side=side)
    return (coarse, False) if found is None else (found, True)


def _tiles(window: Window, side: int) -> Iterator[Window]:
    for y in range(window[1], window[3], side):
        for x in range(window[0], window[2], side):
            yield x, y, min(x + side, window[2]), min(y + side, window[3])


def _enlarged(
    mask: NDArray[np.bool_], tile: Window, window: Window, scale: float
) -> NDArray[np.bool_]:
    """A tile of the coarse mask at full resolution, its outline smooth."""
    rows = (np.arange(tile[1], tile[3]) + 0.5 - window[1]) / scale - 0.5
    columns = (np.arange(tile[0], tile[2]) + 0.5 - window[0]) / scale - 0.5
    grid_x, grid_y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    soft = cv2.remap(
        mask.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(soft > 1 / 2)


def _refined(
    model: SegmentationModel,
    pixels: NDArray[np.uint8],
    coarse: NDArray[np.bool_],
    reach: float,
    adapters: Sequence[Seams],
) -> NDArray[np.bool_]:
    """The coarse mask, with the prediction at full resolution near its outline."""
    embedding = model.encode(pixels)
    inside = cv2.distanceTransform(np.pad(coarse, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    prompt = Prompt([(float(column) + 0.5, float(row) + 0.5)], mask=coarse)
    answer = model.predict(embedding, prompt, adapters=adapters)
    fine = answer.masks[answer.best]
    outside = cv2.distanceTransform((~coarse).astype(np.uint8), cv2.DIST_L2, 5)
    own = cv2.distanceTransform(coarse.astype(np.uint8), cv2.DIST_L2, 5)
    near = np.where(coarse, own, outside) <= reach
    return np.asarray(np.where(near, fine, coarse))
