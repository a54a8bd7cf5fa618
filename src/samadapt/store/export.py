"""Projects out, in every format that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from samadapt.data.coco import CocoDataset
from samadapt.data.labelme import save_labelme
from samadapt.data.masks import save_label_maps, save_object_masks
from samadapt.data.voc import save_voc
from samadapt.data.yolo import save_yolo
from samadapt.errors import DataError
from samadapt.store.dataset import to_dataset
from samadapt.store.format_limits import fitting
from samadapt.store.projects import Project

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


LEFT_OUT = "samadapt_left_out"
"""Entry of a COCO file's "info": a line about each thing of the project that is not in it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export: the files written, and a line about each record left out."""

    dataset: CocoDataset
    left_out: tuple[str, ...]


def export_project(
    project: Project, folder: Path | None, format: str, out: Path, *, done_only: bool = False
) -> Exported:
    """Write all of a project that can be written in a format; name the rest.

    Args:
        project: what to write.
        folder: its images.
        format: one of `FORMATS`.
        out: a file (COCO) or a new folder; it appears only when everything is written.
        done_only: only images that are marked as done.

    Raises:
        DataError: an unknown format, or a place that cannot be written.
    """
    check_format(format)
    left_out: list[str] = []
    dataset = to_dataset(project, folder, done_only=done_only, left_out=left_out)
    return save_dataset(dataset, format, out, left_out)


def save_dataset(
    dataset: CocoDataset, format: str, out: Path, left_out: Iterable[str] = ()
) -> Exported:
    """Write the part of a dataset that a format can hold, and report the rest after `left_out`.

    Raises:
        DataError: as `export_project`.
    """
    check_format(format)
    dataset, more = fitting(dataset, format)
    missing = (*left_out, *more)
    if missing:
        info = {**dataset.extra.get("info", {}), LEFT_OUT: list(missing)}
        dataset = replace(dataset, extra={**dataset.extra, "info": info})
    FORMATS[format](dataset, out)
    return Exported(dataset, missing)


def check_format(format: str) -> None:
    """Raise `DataError` when there is no such format."""
    if format not in FORMATS:
        raise DataError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}")
