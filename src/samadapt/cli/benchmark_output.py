"""Output of the benchmark commands: files, tables and skipped images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from samadapt.cli import common

if TYPE_CHECKING:
    from samadapt.benchmark.report import Report
    from samadapt.benchmark.results import BenchmarkResult, SkippedImage
    from samadapt.benchmark.tables import Table


def deliver(
    result: BenchmarkResult,
    skipped: Sequence[SkippedImage],
    tables: Sequence[Table],
    json_path: Path | None,
    html_path: Path | None = None,
    report: Callable[[], Report] | None = None,
) -> None:
    """Write the files, then print the tables: no result is lost because nobody reads it.

    Args:
        result: written as JSON.
        skipped: images that could not be evaluated.
        tables: for the terminal.
        json_path: of the JSON file; None writes none.
        html_path: of the report; None writes none.
        report: makes the report.
    """
    from rich.console import Console

    from samadapt.benchmark.report import write_report
    from samadapt.benchmark.tables import terminal_table

    if json_path is not None:
        result.save(json_path)
    if html_path is not None and report is not None:
        write_report(html_path, report())
    console = Console()
    for table in tables:
        console.print(terminal_table(table))
    _note_skipped(skipped)
    for path in (json_path, html_path):
        if path is not None:
            typer.echo(f"wrote {path}")


def _note_skipped(skipped: Sequence[SkippedImage]) -> None:
    for skip in skipped:
        reason = " ".join(skip.reason.splitlines())
        common.progress_console().print(f"skipped: {reason}", markup=False, soft_wrap=True)
    if skipped:
        objects = sum(len(skip.annotation_ids) for skip in skipped)
        verb = "image with {} objects was" if len(skipped) == 1 else "images with {} objects were"
        typer.echo(f"{len(skipped)} {verb.format(objects)} skipped", err=True)
