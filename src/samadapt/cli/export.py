"""`samadapt export`: a project's objects in the formats of other tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samadapt.cli import common
from samadapt.cli.guard import PARTLY_DONE
from samadapt.errors import DataError


def export(
    project: Annotated[
        str,
        typer.Argument(
            help="The annotated folder, its project file, or the URL of a database.",
            metavar="PROJECT",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file (COCO) or new folder (all others).")
    ],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="coco (run lengths), coco-polygons, masks (one PNG per object), label-maps, yolo, "
            "labelme, voc; of stacks: label-volume (TIFF), ctc (Cell Tracking Challenge).",
        ),
    ] = "coco",
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the images, if not beside the project."),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="FILE|URL",
            help="The project, if PROJECT is only the folder of its images, as in `annotate`.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the project, in a database of several.")
    ] = None,
    done_only: Annotated[
        bool, typer.Option("--done-only", help="Only images that were marked as done.")
    ] = False,
    approved_only: Annotated[
        bool, typer.Option("--approved-only", help="Only images that a review approved.")
    ] = False,
    untouched: Annotated[
        bool,
        typer.Option(
            "--untouched", help="Include images without objects that were not marked as done."
        ),
    ] = False,
    simplify: Annotated[
        float,
        typer.Option(
            metavar="PIXELS",
            help="Fewer corners: outlines in polygon formats may move by at most this distance. "
            "Neighbours keep their common border.",
        ),
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a project's objects: true areas, all parts and holes, the same ids every time.

    Images, objects and classes have the same ids in every export. Objects that
    cannot be written are named; the exit code is 3 then.
    """
    from samadapt.store.export import ALL_FORMATS, ONE_FILE, check_format, export_project
    from samadapt.store.projects import Project

    for option, given in (("--done-only", done_only), ("--approved-only", approved_only)):
        if given and untouched:
            raise DataError(f"--untouched: leave it out, {option} exports only marked images")
    for option, tolerance in (("--format", 0.0), ("--simplify", simplify)):
        try:
            check_format(format, tolerance, ALL_FORMATS)
        except DataError as error:
            raise DataError(f"{option}: {error}") from None
    if format in ONE_FILE:
        common.check_outputs(("--out", out))
    else:
        common.check_output_folder("--out", out)
    if other is not None:
        if images is not None or not Path(project).is_dir():
            raise DataError("--project: give the folder of the images before it, without --images")
        project, images = other, Path(project)
    where, folder = common.project_place(project), images
    if isinstance(where, Path):
        folder = folder or where.parent
    with Project.open(where, name, create=False) as opened:
        exported = export_project(
            opened,
            folder,
            format,
            out,
            done_only=done_only,
            approved_only=approved_only,
            untouched=untouched,
            tolerance=simplify,
        )
    dataset, left_out = exported.dataset, exported.left_out
    result: dict[str, Any] = {
        "out": str(out),
        "format": format,
        "images": len(dataset.images),
        "objects": len(dataset.annotations),
        "categories": [category.name for category in dataset.categories],
        "left_out": list(left_out),
    }
    if exported.overlaps:
        result["simplified"] = _lost(exported.overlaps)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(f"{out}: {exported.summary()} ({format})")
        if exported.overlaps:
            lost = _lost(exported.overlaps)
            typer.echo(
                f"simplified by {simplify:g} px: {lost['mean_iou_lost']:.4f} IoU lost on average, "
                f"{lost['most_iou_lost']:.4f} at most"
            )
    common.tell_left_out(left_out)
    if left_out:
        raise typer.Exit(PARTLY_DONE)


def _lost(overlaps: Sequence[float]) -> dict[str, float]:
    """The IoU that simplified outlines lost against their masks."""
    return {
        "mean_iou_lost": round(1 - sum(overlaps) / len(overlaps), 5),
        "most_iou_lost": round(1 - min(overlaps), 5),
    }
