"""Outlines of a dataset's objects for formats that hold polygons, exact or simplified."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from samadapt.data.polygons import rle_to_polygons
from samadapt.data.records import Id
from samadapt.data.rle import Rle
from samadapt.data.simplify import simplified
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.data.coco import CocoDataset


class Outlines:
    """The polygons of a dataset's objects, image by image.

    Args:
        dataset: with the masks.
        tolerance: in pixels; 0 for polygons that preserve masks exactly. Otherwise the objects of
            an image are simplified together, so that neighbours keep their border.

    Raises:
        DataError: an invalid tolerance.
    """

    def __init__(self, dataset: CocoDataset, tolerance: float = 0.0) -> None:
        check_tolerance(tolerance)
        self._dataset = dataset
        self.tolerance = tolerance
        self.overlaps: dict[Id, float] = {}
        """IoU of each requested simplified object with its mask."""
        self._image: Id | None = None
        self._polygons: dict[Id, list[list[int]]] = {}

    def polygons(self, annotation_id: Id) -> list[list[int]]:
        """The polygons [x0, y0, x1, y1, ...] of an object with a mask, one per part."""
        if not self.tolerance:
            return rle_to_polygons(self._dataset.rle(annotation_id))
        image_id = self._dataset.annotation(annotation_id).image_id
        if image_id != self._image or annotation_id not in self._polygons:
            self._simplify(image_id)
        return self._polygons[annotation_id]

    def drawn(self, annotation_id: Id) -> Rle:
        """The mask of the polygons."""
        rle = self._dataset.rle(annotation_id)
        if not self.tolerance:
            return rle
        return Rle.from_polygons(self.polygons(annotation_id), rle.size)

    def _simplify(self, image_id: Id) -> None:
        members = [
            a.id
            for a in self._dataset.annotations_of(image_id)
            if a.segmentation is not None and not a.iscrowd
        ]
        masks = [self._dataset.rle(member) for member in members]
        found = simplified(masks, self.tolerance)
        self._image, self._polygons = image_id, dict(zip(members, found, strict=True))
        for member, mask in zip(members, masks, strict=True):
            if mask.area:
                self.overlaps[member] = self.drawn(member).iou(mask)


def check_tolerance(tolerance: float) -> None:
    """Raise `DataError` when outlines cannot be simplified by `tolerance` pixels."""
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise DataError(f"tolerance {tolerance:g}: give a number of pixels from 0, such as 1.5")
