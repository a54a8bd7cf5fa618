"""Output of the benchmark commands: files, tables and skipped images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from samadapt.cli import common
from samadapt.cli.groups import ReportOptions

if TYPE_CHECKING:
    from samadapt.benchmark.report import Report
    from samadapt.benchmark.results import BenchmarkResult, SkippedImage
    from samadapt.benchmark.tables import Table


def deliver(
    result: BenchmarkResult,
    skipped: Sequence[SkippedImage],
    tables: Sequence[Table],
    outputs: ReportOptions,
    report: Callable[[], Report] | None = None,
) -> None:
    """Write the files first, then print the tables, so that a closed output loses no result.

    Args:
        result: written as JSON.
        skipped: images that could not be evaluated.
        tables: for the terminal.
        outputs: the JSON file and the report to write.
        report: makes the report.
    """
    from rich.console import Console

    from samadapt.benchmark.report import write_report
    from samadapt.benchmark.tables import terminal_table

    if outputs.json_path is not None:
        result.save(outputs.json_path)
    if outputs.html_path is not None and report is not None:
        write_report(outputs.html_path, report())
    console = Console()
    for table in tables:
        console.print(terminal_table(table))
    _note_skipped(skipped)
    for path in (outputs.json_path, outputs.html_path):
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
