"""Prompts: clicks, boxes and earlier masks, as validated, immutable values.

Coordinates are (x, y) floats in pixels of the original image, with the origin at the top-left
corner of the top-left pixel: a pixel's centre is at +0.5. Boxes are (x0, y0, x1, y1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.errors import PromptError

OBJECT = 1
BACKGROUND = 0


@dataclass(frozen=True, slots=True)
class Click:
    """One click: a position, and True for the object or False for the background."""

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise PromptError(f"click at ({self.x}, {self.y}): coordinates must be finite numbers")

    @property
    def label(self) -> int:
        """1 for the object, 0 for the background."""
        return OBJECT if self.positive else BACKGROUND


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box with x0 < x1 and y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in self.as_tuple()):
            raise PromptError(f"box {self.as_tuple()}: coordinates must be finite numbers")
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise PromptError(
                f"box {self.as_tuple()} is empty: give (x0, y0, x1, y1) with x0 < x1 and y0 < y1"
            )

    def as_tuple(self) -> tuple[float, float, float, float]:
        """The four numbers (x0, y0, x1, y1)."""
        return (self.x0, self.y0, self.x1, self.y1)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Points, a box and an earlier mask, in any combination; at least one of them.

    Args:
        points: (x, y) pairs, N of them.
        labels: N numbers, 1 for the object and 0 for the background; all 1 when left out.
        box: (x0, y0, x1, y1).
        mask: earlier logits (h, w) float at the decoder's resolution, as in `Prediction.logits`,
            or a bool mask (H, W) at the image's original size (a saved mask, a brush stroke).
        window: the part of the image that earlier logits show, as in `Prediction.window`; None
            for all of it.

    Raises:
        PromptError: nothing given, NaN or infinite numbers, labels and points of different
            length, a label other than 0 and 1, an empty box, a mask of the wrong shape or type, a
            window without logits.
    """

    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] | None = None
    box: Box | Sequence[float] | None = None
    mask: NDArray[Any] | None = field(default=None, repr=False)
    window: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        points = tuple(_pair(p) for p in _rows(self.points))
        labels = self._checked_labels(len(points))
        for (x, y), label in zip(points, labels, strict=True):
            Click(x, y, bool(label))
        box = _checked_box(self.box)
        mask = _checked_mask(self.mask)
        if not points and box is None and mask is None:
            raise PromptError("the prompt is empty: give at least one point, a box or a mask")
        if self.window is not None and (mask is None or mask.dtype == np.bool_):
            raise PromptError(
                f"window {self.window}: it belongs to earlier logits; give the mask that a "
                "Prediction came with, or no window"
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "mask", mask)

    def _checked_labels(self, count: int) -> tuple[int, ...]:
        if self.labels is None:
            return (OBJECT,) * count
        try:
            given = tuple(np.asarray(self.labels).ravel().tolist())
        except ValueError:
            raise PromptError(f"labels {self.labels!r}: give one label per point") from None
        if len(given) != count:
            raise PromptError(
                f"{count} points but {len(given)} labels: give one label (1 object, "
                "0 background) per point"
            )
        for label in given:
            if label not in (OBJECT, BACKGROUND):
                raise PromptError(f"label {label}: use 1 for the object and 0 for the background")
        return tuple(int(label) for label in given)

    @classmethod
    def from_clicks(
        cls,
        clicks: Iterable[Click],
        box: Box | None = None,
        mask: NDArray[Any] | None = None,
        window: tuple[int, int, int, int] | None = None,
    ) -> Prompt:
        """A prompt of these clicks, in order, with an optional box and earlier mask."""
        clicks = tuple(clicks)
        return cls([(c.x, c.y) for c in clicks], [c.label for c in clicks], box, mask, window)

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The points with their labels, in the order given."""
        labels = self.labels or ()
        return tuple(Click(x, y, bool(k)) for (x, y), k in zip(self.points, labels, strict=True))

    def with_mask(
        self, mask: NDArray[Any] | None, window: tuple[int, int, int, int] | None = None
    ) -> Prompt:
        """The same prompt with another earlier mask, of the part of the image in `window`."""
        return replace(self, mask=mask, window=window)

    def check_inside(self, size: tuple[int, int]) -> None:
        """Check that every click lies on an image of `size` = (H, W), and the box touches it.

        Raises:
            PromptError: a click outside the image, or a box that lies wholly outside.
        """
        height, width = size
        for x, y in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise PromptError(
                    f"click at ({x:g}, {y:g}) is outside the image of {width} x {height} pixels "
                    "(width x height); coordinates are (x, y) from the top-left corner"
                )
        box = self.box
        if isinstance(box, Box) and (
            box.x1 <= 0 or box.y1 <= 0 or box.x0 >= width or box.y0 >= height
        ):
            raise PromptError(
                f"box {box.as_tuple()} lies outside the image of {width} x {height} pixels"
            )


def _rows(points: Any) -> list[Any]:
    if points is None:
        return []
    try:
        return list(points.tolist() if isinstance(points, np.ndarray) else points)
    except TypeError:
        raise PromptError(f"points {points!r}: give a list of pairs (x, y)") from None


def _pair(point: Any) -> tuple[float, float]:
    try:
        x, y = point
        return float(x), float(y)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"point {point!r}: give each point as a pair (x, y)") from None


def _checked_box(box: Box | Sequence[float] | None) -> Box | None:
    if box is None or isinstance(box, Box):
        return box
    try:
        x0, y0, x1, y1 = (float(v) for v in box)
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"box {box!r}: give four numbers (x0, y0, x1, y1)") from None
    return Box(x0, y0, x1, y1)


def _checked_mask(mask: NDArray[Any] | None) -> NDArray[Any] | None:
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.size == 0:
        raise PromptError(f"prompt mask of shape {array.shape}: give one mask, (height, width)")
    if array.dtype == np.bool_:
        array = array.copy()
    elif np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise PromptError("prompt mask has NaN or infinite logits")
    else:
        raise PromptError(
            f"prompt mask of type {array.dtype}: give logits (float) as in Prediction.logits, "
            "or a bool mask at the image's size"
        )
    array.setflags(write=False)
    return array
