"""Projects out, in every format that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from samadapt.data.coco import CocoDataset
from samadapt.data.labelme import save_labelme
from samadapt.data.masks import save_label_maps, save_object_masks
from samadapt.data.voc import save_voc
from samadapt.data.yolo import save_yolo
from samadapt.errors import DataError

Writer = Callable[[CocoDataset, Path], None]

FORMATS: Mapping[str, Writer] = {
    "coco": lambda dataset, out: dataset.save(out),
    "coco-polygons": lambda dataset, out: dataset.save(out, "polygons"),
    "masks": save_object_masks,
    "label-maps": lambda dataset, out: save_label_maps(dataset, out, "smaller-on-top"),
    "yolo": save_yolo,
    "labelme": save_labelme,
    "voc": save_voc,
}
"""Formats by name. COCO is one file, all others are a new folder."""


def save_dataset(dataset: CocoDataset, name: str, out: Path) -> None:
    """Write a dataset, completely or not at all.

    Raises:
        DataError: an unknown format, or one that cannot hold these objects, or a place that
            cannot be written.
    """
    if name not in FORMATS:
        raise DataError(f"unknown format {name!r}: choose one of {', '.join(FORMATS)}")
    FORMATS[name](dataset, out)
