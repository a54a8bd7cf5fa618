"""Options that several benchmark and fitting commands have, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli.common import DATA_VARIABLE

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
SplitOption = Annotated[str, typer.Option("--split", help="With --dataset: which file.")]
MaxObjectsOption = Annotated[
    int | None, typer.Option("--max-objects", metavar="N", help="At most so many objects.")
]
DrawsOption = Annotated[
    int, typer.Option("--draws", metavar="N", help="Prompts of each kind per object.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Folder of embeddings, which runs may share."),
]
