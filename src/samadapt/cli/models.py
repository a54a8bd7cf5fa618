"""`samadapt models`: the models that can be loaded."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from samadapt.models.registry import ModelInfo


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that can be loaded by name, and mark those on this machine."""
    from samadapt.models.places import MODELS_VARIABLE, model_folders
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
    for heading in ("name", "family", "weights", "download", "here", "terms"):
        right = heading in ("weights", "download")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for info in known:
        table.add_row(
            Text(info.name, style="bold" if info.offline else ""),
            info.family,
            f"{info.parameters / 1e6:.1f} M",
            "-" if info.shipped else f"{info.megabytes} MB",
            Text("yes", style="green") if info.offline else Text("no", style="dim"),
            info.terms,
        )
    console = Console()
    console.print(table)
    console.print(
        "\nA model of the Hugging Face Hub that is not here is downloaded when it is first used. "
        "For a machine without\nnetwork, run\n  hf download NAME --local-dir FOLDER\non another "
        "one, copy the folder, and give its path to --model.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"\nFiles, to be given by their path, or by name when they lie in {model_folders()[0]}\n"
        f"(or in a folder that {MODELS_VARIABLE} names):",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for info in known:
        if _is_file_alone(info):
            console.print(
                f"  {info.name}: {info.files[0]} from {info.source}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    console.print(
        "\nThe original files of the others work too (sam_vit_b_01ec64.pth, sam2.1_hiera_tiny.pt, "
        "sam_hq_vit_b.pth, ...),\nand fine-tuned ones: they are recognised by their tensors.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _is_file_alone(info: ModelInfo) -> bool:
    """Whether the model is a file to download by hand, not a repository on the Hub."""
    return bool(info.files) and info.source != f"https://huggingface.co/{info.name}"


def _get(info: ModelInfo) -> str:
    """How to get a model onto this machine."""
    if info.shipped:
        return "ships with samadapt"
    if _is_file_alone(info):
        return f"download {info.files[0]} from {info.source}"
    return f"hf download {info.name}"
