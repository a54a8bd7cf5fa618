"""Export of projects in all formats."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from samadapt.data.coco import CocoDataset
from samadapt.data.labelme import save_labelme
from samadapt.data.masks import save_label_maps, save_object_masks
from samadapt.data.outlines import Outlines, check_tolerance
from samadapt.data.voc import save_voc
from samadapt.data.yolo import save_yolo
from samadapt.errors import DataError
from samadapt.store.dataset import to_dataset
from samadapt.store.format_limits import fitting
from samadapt.store.projects import Project
from samadapt.store.stack_export import (
    VOLUME_FORMATS,
    ProjectStacks,
    save_stacks,
    with_file_names,
    with_tracks,
)

Writer = Callable[[CocoDataset, Path, Outlines], None]

FORMATS: Mapping[str, Writer] = {
    "coco": lambda dataset, out, _: dataset.save(out),
    "coco-polygons": lambda dataset, out, outlines: dataset.save(out, "polygons", outlines),
    "masks": lambda dataset, out, _: save_object_masks(dataset, out),
    "label-maps": lambda dataset, out, _: save_label_maps(dataset, out, "smaller-on-top"),
    "yolo": save_yolo,
    "labelme": save_labelme,
    "voc": lambda dataset, out, _: save_voc(dataset, out),
}
"""Formats of images by name; they write one file (`ONE_FILE`) or a new folder."""

ALL_FORMATS = (*FORMATS, *VOLUME_FORMATS)
"""Formats of images and of stacks."""

ONE_FILE = ("coco", "coco-polygons")
"""Formats that are one file."""

POLYGON_FORMATS = ("coco-polygons", "yolo", "labelme")
"""Formats whose outlines can be simplified."""

LEFT_OUT = "samadapt_left_out"
"""Entry of a COCO file's "info" with a line about everything of the project that is left out."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export: the files written, and a line about each record left out.

    Attributes:
        dataset: the written data.
        left_out: lines about records that are left out.
        overlaps: IoU of each simplified outline with its mask; empty for exact ones.
    """

    dataset: CocoDataset
    left_out: tuple[str, ...]
    overlaps: tuple[float, ...] = ()

    def summary(self) -> str:
        """Summary of the export in one line."""
        counts = (len(self.dataset.annotations), "object"), (len(self.dataset.images), "image")
        texts = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts]
        return f"{texts[0]} on {texts[1]}"


def export_project(
    project: Project,
    folder: Path | None,
    format: str,
    out: Path,
    *,
    done_only: bool = False,
    approved_only: bool = False,
    untouched: bool = False,
    tolerance: float = 0.0,
) -> Exported:
    """Write everything of a project that a format can hold, and report the rest.

    Args:
        project: the project.
        folder: of its images.
        format: one of `ALL_FORMATS`.
        out: a file (COCO) or a new folder; it appears only when everything is written.
        done_only: only images that are marked as done.
        approved_only: only images that a review approved.
        untouched: images without objects that are not marked as done, too.
        tolerance: largest move of simplified outlines, in pixels; only for `POLYGON_FORMATS`.

    Raises:
        DataError: an unknown format, a tolerance for a format without outlines, or an output that
            cannot be written.
    """
    check_format(format, tolerance, ALL_FORMATS)
    left_out: list[str] = []
    dataset = to_dataset(
        project,
        folder,
        done_only=done_only,
        approved_only=approved_only,
        untouched=untouched,
        left_out=left_out,
    )
    stacks = ProjectStacks.of(project, folder)
    if format in VOLUME_FORMATS:
        dataset = save_stacks(dataset, stacks, format, out, left_out)
        return Exported(dataset, tuple(left_out))
    dataset = with_tracks(dataset, stacks)
    if format not in ONE_FILE:
        dataset = with_file_names(dataset)
    return save_dataset(dataset, format, out, left_out, tolerance)


def save_dataset(
    dataset: CocoDataset,
    format: str,
    out: Path,
    left_out: Iterable[str] = (),
    tolerance: float = 0.0,
) -> Exported:
    """Write the part of a dataset that a format can hold, and report the rest after `left_out`.

    Raises:
        DataError: as `export_project`.
    """
    check_format(format, tolerance)
    dataset, more = fitting(dataset, format)
    missing = (*left_out, *more)
    if missing:
        info = {**dataset.extra.get("info", {}), LEFT_OUT: list(missing)}
        dataset = replace(dataset, extra={**dataset.extra, "info": info})
    outlines = Outlines(dataset, tolerance)
    FORMATS[format](dataset, out, outlines)
    return Exported(dataset, missing, tuple(outlines.overlaps.values()))


def check_format(
    format: str, tolerance: float = 0.0, formats: Collection[str] = tuple(FORMATS)
) -> None:
    """Raise `DataError` when there is no such format, or its outlines cannot be simplified."""
    if format not in formats:
        raise DataError(f"unknown format {format!r}: choose one of {', '.join(formats)}")
    check_tolerance(tolerance)
    if tolerance and format not in POLYGON_FORMATS:
        raise DataError(
            f"{format} has no outlines to simplify: choose one of {', '.join(POLYGON_FORMATS)}, "
            "or leave --simplify out"
        )
