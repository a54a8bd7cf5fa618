"""`Rle`: a mask as run lengths, checked before any C code sees it.

COCO stores the lengths of alternating runs of background and object, column by column, starting
with background; either as a list of numbers, or packed into a text: five bits per character
(offset 48, bit 6 says that more follow), signed, each number from the fourth on as its difference
to the one two before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.pixels import MAX_PIXELS
from samadapt.errors import DataError

_CHARACTERS = 7
_LONGEST_OUTLINE = 1 << 24
_FEWEST = 3
"""Least number of points of a polygon."""


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask, compressed. Always consistent: the runs fill the image exactly.

    Attributes:
        size: (height, width).
        counts: COCO's packed run lengths.

    Raises:
        DataError: characters or numbers that are no run lengths, or runs that do not add up to
            height x width.
    """

    size: tuple[int, int]
    counts: bytes

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_runs(_unpack(self.counts), self.size)

    @classmethod
    def from_mask(cls, mask: NDArray[Any]) -> Rle:
        """Encode a mask (H, W), bool or integers where everything but 0 is object."""
        from pycocotools import mask as coco

        if mask.ndim != 2 or mask.dtype.kind not in "bui":
            raise DataError(
                f"mask of shape {mask.shape} and type {mask.dtype}: give a bool mask "
                "(height, width)"
            )
        _check_size(mask.shape)
        packed = coco.encode(np.asfortranarray(mask != 0).view(np.uint8))
        return cls((int(mask.shape[0]), int(mask.shape[1])), bytes(packed["counts"]))

    @classmethod
    def from_runs(cls, runs: Sequence[int] | NDArray[Any], size: tuple[int, int]) -> Rle:
        """Compress run lengths: background, object, background, ..., column by column."""
        from pycocotools import mask as coco

        _check_size(size)
        checked = _canonical(_check_runs(_integers(runs), size))
        height, width = size
        packed = coco.frPyObjects(
            {"counts": checked.tolist(), "size": [height, width]}, height, width
        )
        return cls(size, bytes(packed["counts"]))

    @classmethod
    def from_crops(
        cls, crops: Iterable[tuple[NDArray[Any], int, int]], size: tuple[int, int]
    ) -> Rle:
        """The union of parts of a mask, each (h, w) with the x and y of its corner.

        Time and memory grow with the parts and not with the image, for masks on images of any
        size. Pixels outside the image are cut off.

        Raises:
            DataError: a part that is no mask.
        """
        return cls._from_ranges([_crop_ranges(crop, x, y, size) for crop, x, y in crops], size)

    @classmethod
    def union(cls, masks: Sequence[Rle]) -> Rle:
        """The union of masks of one size, without decoding any.

        Raises:
            DataError: no mask, or masks of different sizes.
        """
        if not masks or any(mask.size != masks[0].size for mask in masks):
            raise DataError("a union needs at least one mask, and all of one size")
        return cls._from_ranges([mask.ranges() for mask in masks], masks[0].size)

    @classmethod
    def _from_ranges(cls, parts: Sequence[NDArray[np.int64]], size: tuple[int, int]) -> Rle:
        """From ranges (N, 2) of pixels counted down the columns; they may overlap."""
        ranges = np.concatenate([np.zeros((0, 2), np.int64), *parts])
        ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
        if len(ranges) == 0:
            return cls.from_runs([size[0] * size[1]], size)
        ends = np.maximum.accumulate(ranges[:, 1])
        first = np.concatenate([[True], ranges[1:, 0] > ends[:-1]])
        last = np.concatenate([first[1:], [True]])
        edges = np.stack([ranges[first, 0], ends[last]], axis=1).reshape(-1)
        return cls.from_runs(np.diff(edges, prepend=0, append=size[0] * size[1]), size)

    @classmethod
    def from_polygons(cls, polygons: Sequence[Any], size: tuple[int, int]) -> Rle:
        """Rasterise the union of polygons [x0, y0, x1, y1, ...] as COCO's own tools do.

        Points may also be pairs [[x0, y0], [x1, y1], ...]. A polygon of fewer than three points
        encloses nothing and is ignored if there are others.
        """
        from pycocotools import mask as coco

        if polygons and (
            all(_is_number(value) for value in polygons)
            or (len(polygons) > _FEWEST - 1 and all(_is_point(value) for value in polygons))
        ):
            polygons = [polygons]
        if not polygons:
            raise DataError("the list of polygons is empty")
        merged = coco.merge(_drawn(polygons, size))
        return cls(size, bytes(merged["counts"]))

    @classmethod
    def even_odd(cls, polygons: Sequence[Any], size: tuple[int, int]) -> Rle:
        """Rasterise polygons by the even-odd rule: a polygon inside another one is a hole.

        Time grows with the sum of outlines and image, not with their product.
        """
        ends = [np.cumsum(_unpack(bytes(one["counts"])))[:-1] for one in _drawn(polygons, size)]
        # A pixel is inside an odd number of polygons where an odd number of runs began before it.
        edges, counts = np.unique(np.concatenate(ends), return_counts=True)
        pixels = size[0] * size[1]
        edges = edges[(counts % 2 == 1) & (edges < pixels)]
        return cls.from_runs(np.diff(edges, prepend=0, append=pixels), size)

    @classmethod
    def from_coco(cls, segmentation: Any, size: tuple[int, int]) -> Rle:
        """Read any COCO `segmentation`: polygons, a list of run lengths, or packed run lengths.

        Args:
            segmentation: the value in the JSON file.
            size: (height, width) of the image.

        Raises:
            DataError: anything else, broken run lengths, or a mask of another size.
        """
        if isinstance(segmentation, Rle):
            segmentation = segmentation.to_coco()
        if isinstance(segmentation, Sequence) and not isinstance(segmentation, str | bytes):
            return cls.from_polygons(segmentation, size)
        if not isinstance(segmentation, Mapping) or "counts" not in segmentation:
            raise DataError("the segmentation is neither polygons nor run lengths (RLE)")
        given = _given_size(segmentation.get("size"))
        if given != size:
            raise DataError(
                f"the mask is {given[1]} x {given[0]} pixels but its image {size[1]} x {size[0]} "
                "(width x height)"
            )
        counts = segmentation["counts"]
        if isinstance(counts, str):
            return cls(size, counts.encode("utf-8", "surrogatepass"))
        if isinstance(counts, bytes):
            return cls(size, counts)
        return cls.from_runs(counts, size)

    def runs(self) -> NDArray[np.int64]:
        """Run lengths: background, object, background, ..., column by column."""
        return _unpack(self.counts)

    def mask(self) -> NDArray[np.bool_]:
        """The mask (H, W)."""
        runs = self.runs()
        columns = np.repeat(np.arange(runs.size) % 2 == 1, runs)
        return np.ascontiguousarray(columns.reshape(self.size[::-1]).T)

    def cropped(self) -> tuple[NDArray[np.bool_], int, int]:
        """The part (h, w) of the mask within its box, and the box's corner (x, y)."""
        x, y, width, height = self.box
        if not width:
            return np.zeros((0, 0), np.bool_), x, y
        return self.crop(x, y, x + width, y + height), x, y

    def ranges(self) -> NDArray[np.int64]:
        """(N, 2): first pixel of each run of the object and the one after its last.

        Pixels are counted down the columns.
        """
        edges = np.cumsum(self.runs())
        return np.stack([edges[:-1:2], edges[1::2]], axis=1)

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
        """A part (y1 - y0, x1 - x0) of the mask, without decoding the rest.

        Raises:
            DataError: a window that is empty or leads out of the image.
        """
        height, width = self.size
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise DataError(f"window {(x0, y0, x1, y1)} of a mask of {width} x {height} pixels")
        ranges = self.ranges()
        low = np.searchsorted(ranges[:, 1], x0 * height, "right")
        high = np.searchsorted(ranges[:, 0], x1 * height, "left")
        inside = np.clip(ranges[low:high], x0 * height, x1 * height) - x0 * height
        # Whole columns lie between the window's rows in this order; each is cut to them.
        column, row = np.divmod(inside, height)
        steps = column * (y1 - y0) + np.clip(row - y0, 0, y1 - y0)
        flat = np.zeros((x1 - x0) * (y1 - y0) + 1, np.int32)
        np.add.at(flat, steps[:, 0], 1)
        np.add.at(flat, steps[:, 1], -1)
        filled = np.cumsum(flat[:-1]) > 0
        return np.ascontiguousarray(filled.reshape(x1 - x0, y1 - y0).T)

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return int(self.runs()[1::2].sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tight box (x, y, width, height) in pixels, COCO's order; all 0 for an empty mask."""
        from pycocotools import mask as coco

        boxes = coco.toBbox([{"size": list(self.size), "counts": self.counts}])
        x, y, width, height = (int(value) for value in boxes[0])
        return x, y, width, height

    def iou(self, other: Rle) -> float:
        """Intersection over union with a mask of the same image; 0 where the sizes differ."""
        return self._overlap(other, 0)

    def share_in(self, other: Rle) -> float:
        """The share of this mask that lies in another one; 0 where the sizes differ."""
        return self._overlap(other, 1)

    def _overlap(self, other: Rle, is_crowd: int) -> float:
        from pycocotools import mask as coco

        if self.size != other.size or not self.area:
            return 0.0
        packed = [[{"size": list(one.size), "counts": one.counts}] for one in (self, other)]
        return float(coco.iou(*packed, [is_crowd])[0][0])

    def to_coco(self) -> dict[str, Any]:
        """The value for a COCO JSON file."""
        return {"size": list(self.size), "counts": self.counts.decode("ascii")}


def _crop_ranges(crop: NDArray[Any], x: int, y: int, size: tuple[int, int]) -> NDArray[np.int64]:
    """Ranges of pixels, counted down the image's columns, of a part whose corner is (x, y)."""
    if crop.ndim != 2 or crop.dtype.kind not in "bui":
        raise DataError(
            f"mask of shape {crop.shape} and type {crop.dtype}: give a bool mask (height, width)"
        )
    height, width = size
    shown = crop[max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)] != 0
    if shown.size == 0:
        return np.zeros((0, 2), np.int64)
    columns = np.zeros((shown.shape[1], shown.shape[0] + 2), np.int8)
    columns[:, 1:-1] = shown.T
    steps = np.diff(columns, axis=1)
    column, start = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    corner = (column + max(x, 0)) * height + max(y, 0)
    return np.stack([corner + start, corner + end], axis=1).astype(np.int64)


def _check_size(size: tuple[int, ...]) -> None:
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise DataError(f"a mask of {width} x {height} pixels cannot be stored")


def _given_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (int(v) for v in size)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"the run lengths (RLE) have the size {size!r}, not [height, width]"
        ) from None
    return height, width


def _integers(runs: Any) -> NDArray[np.int64]:
    try:
        array = np.asarray(runs)
    except (TypeError, ValueError):
        array = np.empty(0, object)
    # float64 holds whole numbers exactly up to 2^53, far more than any image has pixels.
    if array.ndim == 1 and array.dtype.kind in "uif" and bool((np.abs(array) < 2.0**53).all()):
        whole = array.astype(np.int64)
        if bool((whole == array).all()):
            return whole
    raise DataError("the run lengths (RLE) are not a list of whole numbers")


def _check_runs(runs: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    pixels = size[0] * size[1]
    if runs.size == 0 or runs.min() < 0 or runs.max() > pixels:
        raise DataError("the run lengths (RLE) are broken: empty, negative or too long")
    if int(runs.sum()) != pixels:
        raise DataError(
            f"the run lengths (RLE) are broken: they add up to {int(runs.sum())} pixels, the "
            f"image has {size[1]} x {size[0]} = {pixels}"
        )
    return runs


def _canonical(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same runs without empty ones, but for the first: equal masks have equal runs."""
    kept = np.flatnonzero(runs)
    parity = kept % 2
    starts = np.flatnonzero(np.diff(parity, prepend=-1))
    merged: NDArray[np.int64] = np.add.reduceat(runs[kept], starts)
    return np.concatenate([[0], merged]) if parity[0] else merged


def _unpack(counts: bytes) -> NDArray[np.int64]:
    """Decode and check packed run lengths."""
    characters = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if characters.size == 0 or characters.min() < 0 or characters.max() > 63:
        raise DataError("the run lengths (RLE) are broken: characters that do not belong there")
    ends = np.flatnonzero(characters & 32 == 0)
    if ends.size == 0 or ends[-1] != characters.size - 1:
        raise DataError("the run lengths (RLE) are broken: the text ends too early")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _CHARACTERS:
        raise DataError("the run lengths (RLE) are broken: a number is too long")
    place = np.arange(characters.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((characters & 31) << (5 * place), starts)
    negative = characters[ends] & 16 != 0
    numbers[negative] -= np.int64(1) << (5 * lengths[negative])
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_point(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def _is_line(points: Any) -> bool:
    """Whether a polygon is sound but has less than three points."""
    if not isinstance(points, Sequence) or isinstance(points, str | bytes):
        return False
    if all(_is_point(value) for value in points):
        return len(points) < _FEWEST
    return all(_is_number(v) for v in points) and len(points) in range(0, 2 * _FEWEST, 2)


def _drawn(polygons: Sequence[Any], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Packed run lengths of every polygon that encloses something, as COCO's tools draw it."""
    from pycocotools import mask as coco

    _check_size(size)
    enclosing = [(i, p) for i, p in enumerate(polygons, 1) if not _is_line(p)]
    checked = [_polygon(p, size, i) for i, p in enclosing or enumerate(polygons, 1)]
    if sum(map(_length, checked)) > _LONGEST_OUTLINE:
        raise DataError("the outlines of the polygons are too long to draw: store them as RLE")
    found: list[dict[str, Any]] = coco.frPyObjects([one.tolist() for one in checked], *size)
    return found


def _length(polygon: NDArray[np.float64]) -> float:
    """Return the number of points that a polygon is drawn with."""
    return float(np.abs(np.diff(polygon.reshape(-1, 2), axis=0)).max(axis=1).sum())


def _polygon(points: Any, size: tuple[int, int], index: int) -> NDArray[np.float64]:
    """Check one polygon so that rasterising it can neither fail nor run out of memory."""
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"polygon {index} is not a list of numbers x0, y0, x1, y1, ...") from None
    if array.ndim == 2 and array.shape[1] == 2:
        array = array.reshape(-1)
    if array.ndim != 1 or array.size < 2 * _FEWEST or array.size % 2:
        raise DataError(
            f"polygon {index} has {array.size} numbers: it needs x and y of at least 3 points"
        )
    longest = max(size)
    if not (np.isfinite(array).all() and array.min() >= -longest and array.max() <= 2 * longest):
        raise DataError(
            f"polygon {index} has points far outside the image of {size[1]} x {size[0]} pixels"
        )
    if _length(array) > _LONGEST_OUTLINE:
        raise DataError(f"polygon {index} has an outline too long to draw: store it as RLE")
    return array
