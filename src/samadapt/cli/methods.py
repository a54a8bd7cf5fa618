"""`samadapt methods`: the methods of adaptation and their variants."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def methods(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the methods of adaptation, with their variants (METHOD:VARIANT)."""
    from samadapt.adapters.registry import get_method, method_names

    rows: list[dict[str, Any]] = []
    for name in method_names():
        method = get_method(name)
        rows.append(
            {
                "name": name,
                "about": method.about,
                "fitted": method.fitting is not None,
                "learns_in_session": method.learns_in_session,
                "variants": dict(method.variant_texts()),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        how = "samadapt fit" if row["fitted"] else "while you annotate"
        typer.echo(f"{row['name']}: {row['about']} ({how})")
        for variant, text in row["variants"].items():
            typer.echo(f"  {row['name']}:{variant}: {text}")
