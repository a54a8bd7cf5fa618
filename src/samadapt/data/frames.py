"""`Frame`: a part of a large image at a coarser level, and masks in it as run lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import DataError

Mask: TypeAlias = NDArray[np.bool_]
_COARSEST = 1 << 15


@dataclass(frozen=True, slots=True)
class Frame:
    """A part of an image at a coarser level: each point stands for `step` x `step` pixels.

    Attributes:
        x, y: top-left corner, in pixels of the image.
        width, height: in pixels of the image, multiples of `step`.
        step: pixels of the image per point, along both axes.

    Raises:
        DataError: a frame without a point, or sides that are no multiples of the step.
    """

    x: int
    y: int
    width: int
    height: int
    step: int = 1

    def __post_init__(self) -> None:
        if not (
            1 <= self.step <= _COARSEST
            and self.x >= 0
            and self.y >= 0
            and self.width >= self.step
            and self.height >= self.step
            and self.width % self.step == self.height % self.step == 0
        ):
            raise DataError(f"{self} is no part of an image")

    @classmethod
    def around(
        cls, box: tuple[float, float, float, float], size: tuple[int, int], side: int, step: int = 1
    ) -> Frame:
        """A frame around a box that lies in the image, of at most `side` x `side` points.

        Args:
            box: (x0, y0, x1, y1) in pixels of the image.
            size: (height, width) of the image.
            side: points along each axis.
            step: the finest allowed step; a coarser one is used if the box does not fit.
        """
        x0, y0, x1, y1 = box
        coarsest = min(*size, _COARSEST)
        while max(x1 - x0, y1 - y0) > side * step and 2 * step <= coarsest:
            step *= 2
        step = min(step, coarsest)
        (x, width), (y, height) = (
            _span(middle, side, length, step)
            for middle, length in (((x0 + x1) / 2, size[1]), ((y0 + y1) / 2, size[0]))
        )
        return cls(x, y, width, height, step)

    @classmethod
    def over(cls, box: tuple[int, int, int, int], most: int) -> Frame:
        """The frame over a box (x, y, width, height), as fine as `most` points allow."""
        x, y, width, height = (max(0, box[0]), max(0, box[1]), max(1, box[2]), max(1, box[3]))
        step = 1
        while -(-width // step) * -(-height // step) > most:
            step *= 2
        return cls(x, y, -(-width // step) * step, -(-height // step) * step, step)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in points."""
        return self.height // self.step, self.width // self.step

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) in pixels of the image."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    def inside(self, x: float, y: float) -> tuple[float, float]:
        """Convert a place in the image to points of the frame, clamped to the frame."""
        rows, columns = self.size
        point = (x - self.x) / self.step, (y - self.y) / self.step
        return min(max(point[0], 0.0), float(columns)), min(max(point[1], 0.0), float(rows))

    def outside(self, x: float, y: float) -> tuple[float, float]:
        """Convert a point of the frame to a place in the image."""
        return self.x + x * self.step, self.y + y * self.step

    def has(self, x: float, y: float) -> bool:
        """Return whether a place of the image lies in the frame."""
        return 0 <= x - self.x <= self.width and 0 <= y - self.y <= self.height

    def points(self, rle: Rle) -> Mask:
        """The points (h, w) with a pixel of a mask; only the frame's part is decoded."""
        rows, columns = self.size
        height, width = rle.size
        x1, y1 = min(self.x + self.width, width), min(self.y + self.height, height)
        steps = np.zeros((columns, rows + 1), np.int32)
        if self.x < x1 and self.y < y1:
            column, first, last = _runs_in(rle, (self.x, self.y, x1, y1))
            column = (column - self.x) // self.step
            np.add.at(steps, (column, (first - self.y) // self.step), 1)
            np.add.at(steps, (column, -(-(last - self.y) // self.step)), -1)
        return np.ascontiguousarray((np.cumsum(steps[:, :-1], axis=1) > 0).T)

    def pixels(self, rle: Rle) -> NDArray[np.int64]:
        """How many pixels of a mask of the image each point (h, w) covers, without decoding it."""
        (rows, columns), step = self.size, self.step
        height, width = rle.size
        x1, y1 = min(self.x + self.width, width), min(self.y + self.height, height)
        whole = np.zeros((columns, rows + 1), np.int64)
        missing = np.zeros((columns, rows), np.int64)
        if self.x < x1 and self.y < y1:
            column, first, last = _runs_in(rle, (self.x, self.y, x1, y1))
            column, first, last = (column - self.x) // step, first - self.y, last - self.y
            top, bottom = first // step, (last - 1) // step
            np.add.at(whole, (column, top), step)
            np.add.at(whole, (column, bottom + 1), -step)
            np.add.at(missing, (column, top), first - top * step)
            np.add.at(missing, (column, bottom), (bottom + 1) * step - last)
        return np.ascontiguousarray((np.cumsum(whole[:, :-1], axis=1) - missing).T)

    def rle(self, mask: Mask, size: tuple[int, int]) -> Rle:
        """The mask of an image of `size` = (height, width) whose points are these (h, w).

        Incomplete points at the image's border cover the remaining pixels.

        Raises:
            DataError: another number of points than the frame has.
        """
        if mask.shape != self.size:
            raise DataError(f"a mask of {mask.shape} points for a frame of {self.size}")
        rows, columns = self.size
        starts = np.arange(columns + 1) * self.step + self.x
        ends = np.arange(rows + 1) * self.step + self.y
        for edges, length in ((starts, size[1]), (ends, size[0])):
            np.minimum(edges, length, out=edges)
            if length - edges[-1] < self.step:
                edges[-1] = length
        padded = np.zeros((columns, rows + 2), np.int8)
        padded[:, 1:-1] = mask.T
        change = np.diff(padded, axis=1)
        column, first = np.nonzero(change == 1)
        _, last = np.nonzero(change == -1)
        repeats = starts[column + 1] - starts[column]
        total = np.cumsum(repeats)
        nth = np.arange(int(total[-1]) if total.size else 0) - np.repeat(total - repeats, repeats)
        corner = (np.repeat(starts[column], repeats) + nth) * size[0]
        ranges = np.stack(
            [corner + np.repeat(ends[first], repeats), corner + np.repeat(ends[last], repeats)], 1
        )
        return rle_of_ranges(ranges, size)


def rle_of_ranges(ranges: NDArray[np.int64], size: tuple[int, int]) -> Rle:
    """A mask from ranges (N, 2) of pixels, counted down the columns, that do not overlap."""
    if not len(ranges):
        return Rle.from_runs([size[0] * size[1]], size)
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    return Rle.from_runs(np.diff(ranges.reshape(-1), prepend=0, append=size[0] * size[1]), size)


def placed(part: Rle, x: int, y: int, step: int, size: tuple[int, int]) -> Rle:
    """A mask of an image of `size` from a part in points, with its corner at (x, y).

    Raises:
        DataError: the part extends beyond the image.
    """
    height, width = part.size
    if x + (width - 1) * step >= size[1] or y + (height - 1) * step >= size[0]:
        raise DataError(f"the mask does not lie inside the image of {size[1]} x {size[0]} pixels")
    if step > 1:
        return Frame(x, y, width * step, height * step, step).rle(part.mask(), size)
    first, last = _by_column(part.ranges(), height).T
    column, row = np.divmod(first, height)
    corner = (column + x) * size[0] + y + row
    return rle_of_ranges(np.stack([corner, corner + last - first], 1), size)


def part_of(mask: Rle, box: tuple[int, int, int, int]) -> Rle:
    """The part of a mask in a box (x, y, width, height), without decoding."""
    x, y, width, height = box
    column, first, last = _runs_in(mask, (x, y, x + width, y + height))
    corner = (column - x) * height - y
    return rle_of_ranges(np.stack([corner + first, corner + last], 1), (height, width))


def without(mask: Rle, taken: Rle) -> Rle:
    """A mask without the pixels of another one of the same size.

    Raises:
        DataError: masks of different sizes.
    """
    size = mask.size
    if taken.size != size:
        raise DataError("masks of different sizes have no pixels in common")
    own, other = mask.ranges().ravel(), taken.ranges().ravel()
    at = np.unique(np.concatenate([own, other]))
    held = np.searchsorted(own, at, "right") % 2 == 1
    held &= np.searchsorted(other, at, "right") % 2 == 0
    ends = np.append(at[1:], size[0] * size[1])
    return rle_of_ranges(np.stack([at[held], ends[held]], 1), size)


def outside_of(mask: Rle, frame: Frame) -> Rle:
    """A mask without its pixels in a frame."""
    full = np.ones(frame.size, np.bool_)
    return without(mask, frame.rle(full, mask.size))


def changed_in(mask: Rle, frame: Frame, change: Callable[[Mask], Mask]) -> Rle:
    """Apply a change to a mask's points in a frame; the mask keeps its detail elsewhere."""
    before = frame.points(mask)
    after = change(before)
    more, less = after & ~before, before & ~after
    found = mask
    if more.any():
        found = Rle.union([found, frame.rle(more, mask.size)])
    if less.any():
        found = without(found, frame.rle(less, mask.size))
    return found


def _span(middle: float, side: int, length: int, step: int) -> tuple[int, int]:
    """Start and length of at most `side` points around a place, inside the image."""
    wanted = min(side, length // step) * step
    start = min(max(round(middle - wanted / 2), 0), length - wanted)
    return start, wanted


def _runs_in(
    rle: Rle, window: tuple[int, int, int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Column, first row and row after the last, of the runs inside a window, column by column."""
    x0, y0, x1, y1 = window
    height = rle.size[0]
    ranges = rle.ranges()
    low = np.searchsorted(ranges[:, 1], x0 * height, "right")
    high = np.searchsorted(ranges[:, 0], x1 * height, "left")
    cut = _by_column(np.clip(ranges[low:high], x0 * height, x1 * height), height)
    column, first = np.divmod(cut[:, 0], height)
    last = cut[:, 1] - column * height
    first, last = np.maximum(first, y0), np.minimum(last, y1)
    kept = first < last
    return column[kept], first[kept], last[kept]


def _by_column(ranges: NDArray[np.int64], height: int) -> NDArray[np.int64]:
    """Ranges cut at the ends of columns."""
    ranges = ranges[ranges[:, 0] < ranges[:, 1]]
    if not len(ranges):
        return np.zeros((0, 2), np.int64)
    begin, end = ranges[:, 0] // height, (ranges[:, 1] - 1) // height
    counts = end - begin + 1
    total = np.cumsum(counts)
    nth = np.arange(int(total[-1])) - np.repeat(total - counts, counts)
    column = np.repeat(begin, counts) + nth
    first = np.maximum(np.repeat(ranges[:, 0], counts), column * height)
    last = np.minimum(np.repeat(ranges[:, 1], counts), (column + 1) * height)
    return np.stack([first, last], 1)
