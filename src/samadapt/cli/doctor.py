"""`samadapt doctor`: check this machine, or check and repair a project."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from samadapt.cli.common import ThreadsOption, project_place, set_threads

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "bold red")}


def doctor(
    project: Annotated[
        str | None,
        typer.Argument(
            help="An annotated folder, its project file, or the URL of a database to check and "
            "repair, instead of this machine.",
            metavar="[PROJECT]",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the project, without changes.")
    ] = False,
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine; or check a project, and repair it from its copies.

    Exits with 0 if everything is in order or was repaired, else with 1. A
    replaced file is kept beside the new one.
    """
    if project is not None:
        raise typer.Exit(_examine(project, check, as_json))
    from samadapt.cli.checks import all_checks

    set_threads(threads)
    checks = all_checks()
    is_fit = all(one.status != "problem" for one in checks)
    if as_json:
        rows = [{"name": c.name, "status": c.status, "detail": c.detail} for c in checks]
        typer.echo(json.dumps({"fit": is_fit, "checks": rows}, indent=1))
    else:
        _print(
            ((c.status, c.name, c.detail) for c in checks),
            "This machine is fit." if is_fit else "This machine is not fit yet: see above.",
        )
    raise typer.Exit(0 if is_fit else 1)


def _examine(project: str, check: bool, as_json: bool) -> int:
    """Check and repair a project; returns the exit code."""
    from samadapt.store.recovery import examine

    found = examine(str(project_place(project)), repair=not check)
    if as_json:
        values = {
            "whole": found.is_whole,
            "repaired": found.is_repaired,
            "recovered": found.recovered,
            "lost": found.lost,
            "lines": [{"status": status, "detail": text} for status, text in found.lines],
        }
        typer.echo(json.dumps(values, indent=1))
    else:
        verdict = "This project is whole." if found.is_whole else "Something is missing: see above."
        _print(((status, text) for status, text in found.lines), verdict)
    return 0 if found.is_whole else 1


def _print(rows: Iterable[tuple[str, ...]], verdict: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for status, *texts in rows:
        table.add_row(Text(*_MARKS[status]), *map(Text, texts))
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[-1].overflow = "fold"
    console = Console()
    console.print(table)
    console.print(verdict, style="bold")
