"""`samadapt models`: the models that can be loaded."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from samadapt.models.registry import ModelInfo


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that can be loaded by name, and which of them are on this machine."""
    from samadapt.models.registry import known_models

    known = known_models()
    if as_json:
        rows = [{**dataclasses.asdict(info), "get": _get(info)} for info in known]
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading, justify in (
        ("name", "left"),
        ("family", "left"),
        ("weights", "right"),
        ("download", "right"),
        ("here", "left"),
    ):
        table.add_column(heading, justify="right" if justify == "right" else "left", no_wrap=True)
    for info in known:
        table.add_row(
            Text(info.name, style="bold" if info.offline else ""),
            info.family,
            f"{info.parameters / 1e6:.1f} M",
            "-" if info.shipped else f"{info.megabytes} MB",
            Text("yes", style="green") if info.offline else Text("no", style="dim"),
        )
    console = Console()
    console.print(table)
    console.print(
        "\nA model that is not here is downloaded when it is first used. For a machine without "
        "network, run\n  hf download NAME --local-dir FOLDER\non another one, copy the folder, "
        "and give its path to --model. Other Hub ids, folders and\nsegment-anything .pth "
        "checkpoints (vit_b, vit_l, vit_h) work too.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _get(info: ModelInfo) -> str:
    """How to get a model onto this machine."""
    if info.shipped:
        return "ships with samadapt"
    return f"hf download {info.name}"
