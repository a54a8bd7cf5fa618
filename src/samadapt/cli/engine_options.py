"""Options that say where work on many images is done."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "Where the work is done"

EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="local|ray",
        rich_help_panel=PANEL,
        help="Processes of this machine, or a Ray cluster (pip install 'samadapt\\[ray]').",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        rich_help_panel=PANEL,
        help="With ray: of a running cluster, or auto; one for this run alone if left out.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        rich_help_panel=PANEL,
        help="Workers of one core each; as many as there are cores (or --gpus) if left out.",
    ),
]
GpusOption = Annotated[
    float,
    typer.Option(
        "--gpus", metavar="G", rich_help_panel=PANEL, help="With ray: GPUs that workers share."
    ),
]
