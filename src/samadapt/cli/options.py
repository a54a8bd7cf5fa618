"""Options that several benchmark and fitting commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samadapt.cli import common
from samadapt.cli.common import DATA_VARIABLE
from samadapt.errors import DataError

PROTOCOL_PANEL = "Click protocol"


def protocol_option(metavar: str, text: str) -> Any:
    """Return an option of the click protocol, named after its parameter."""
    return typer.Option(metavar=metavar, help=text, rich_help_panel=PROTOCOL_PANEL)


ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of images.", metavar="DIR")
]
MasksOption = Annotated[
    Path | None,
    typer.Option("--masks", help="COCO file, or folder of mask images.", metavar="JSON|DIR"),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help=f"Instead of --images and --masks: ${DATA_VARIABLE}/NAME/images and SPLIT.json.",
    ),
]
DatasetsOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME[,NAME...]",
        help=f"Instead of --images and --masks: ${DATA_VARIABLE}/NAME/images and SPLIT.json.",
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="With --dataset: name of the split.")]
MaxObjectsOption = Annotated[
    int | None, typer.Option("--max-objects", metavar="N", help="Largest number of objects.")
]
MinAreaOption = Annotated[
    int, typer.Option("--min-area", metavar="PIXELS", help="Leave out smaller objects.")
]
MaxClicksOption = Annotated[int, protocol_option("N", "Largest number of clicks per object.")]
StopAtOption = Annotated[
    float,
    protocol_option(
        "IOU", "IoU at which the robot accepts a mask; measures at a higher IoU are left out."
    ),
]
AtFailureOption = Annotated[
    str,
    protocol_option("skip|accept|paint", "Treatment of an object that never reaches the IoU."),
]
DrawsOption = Annotated[
    int, typer.Option("--draws", metavar="N", help="Prompts of each kind per object.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
]
KeptJsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write everything as JSON; finished runs go to a folder beside it, FILE.runs, and "
        "are not run again.",
    ),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a report as one HTML file.")
]
GigabytesOption = Annotated[
    float,
    typer.Option(
        "--cache-gb",
        metavar="GB",
        help="Size limit of cached embeddings in gigabytes; 0 keeps none.",
    ),
]


def runs_folder(json_path: Path | None) -> Path | None:
    """Return the folder of finished runs beside a JSON file."""
    return None if json_path is None else json_path.with_name(f"{json_path.name}.runs")


def cache_bytes(gigabytes: float) -> int:
    """Return the bound of the cache in bytes.

    Raises:
        DataError: not a number of 0 or more.
    """
    if not 0 <= gigabytes < 1e6:
        raise DataError(f"--cache-gb {gigabytes:g}: give a number of gigabytes, 0 or more")
    return int(gigabytes * 1e9)


def split_names(option: str, given: Sequence[str] | None) -> list[str]:
    """Return the names of an option that is given once or several times, with commas.

    Raises:
        DataError: no name, or an empty one.
    """
    names = [part.strip() for text in given or () for part in text.split(",")]
    if not names or not all(names):
        raise DataError(f"no {option}: give --{option} NAME, or several with commas between them")
    return names


def split_numbers(option: str, text: str, example: str) -> list[int]:
    """Return the whole numbers of an option with commas.

    Raises:
        DataError: anything else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise DataError(
            f"--{option} {text}: give whole numbers with commas between them, such as {example}"
        ) from None


def dataset_paths(
    images: Path | None, masks: Path | None, dataset: str | None, split: str
) -> tuple[Path, Path]:
    """Return the image folder and the masks, given directly or by the name of a dataset.

    Raises:
        DataError: neither, both, or an unknown dataset.
    """
    if dataset is None:
        if images is None or masks is None:
            raise DataError(
                "no data: give --images DIR and --masks JSON|DIR, or --dataset NAME with the "
                f"folder of datasets in {DATA_VARIABLE}"
            )
        return images, masks
    if images is not None or masks is not None:
        raise DataError("--dataset replaces --images and --masks: give one or the other")
    return common.named_dataset(dataset, split, "--images and --masks")
