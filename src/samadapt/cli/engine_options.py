"""Options of the engine that works on many images."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "Processes and cluster"

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
        help="With ray: address of a running cluster, or auto; default: a cluster for this run.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        rich_help_panel=PANEL,
        help="Number of workers, one core each; default: the number of cores (or --gpus).",
    ),
]
GpusOption = Annotated[
    float,
    typer.Option(
        "--gpus", metavar="G", rich_help_panel=PANEL, help="With ray: GPUs that workers share."
    ),
]
