"""`samadapt doctor`: is this machine fit?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from samadapt.cli.common import ThreadsOption, set_threads

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "bold red")}


def doctor(
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine: software, processor, memory, the shipped model, a real click.

    Exits with 0 if everything that samadapt needs is there, with 1 if not.
    """
    from samadapt.cli.checks import all_checks

    set_threads(threads)
    checks = all_checks()
    is_fit = all(check.status != "problem" for check in checks)
    if as_json:
        rows = [{"name": c.name, "status": c.status, "detail": c.detail} for c in checks]
        typer.echo(json.dumps({"fit": is_fit, "checks": rows}, indent=1))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            table.add_row(Text(*_MARKS[check.status]), check.name, Text(check.detail))
        console = Console()
        console.print(table)
        verdict = "This machine is fit." if is_fit else "This machine is not fit yet: see above."
        console.print(verdict, style="bold")
    raise typer.Exit(0 if is_fit else 1)
