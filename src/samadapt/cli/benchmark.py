"""`samadapt benchmark ...`: measure a model on real objects."""

from __future__ import annotations

import typer

from samadapt.cli.benchmark_adaptation import adaptation
from samadapt.cli.benchmark_baselines import baselines
from samadapt.cli.benchmark_interactive import interactive
from samadapt.cli.benchmark_robustness import robustness
from samadapt.cli.benchmark_task import task
from samadapt.cli.guard import CheckedCommand

benchmark_app = typer.Typer(help="Measure a model on images with reference masks.")
for command in (adaptation, interactive, baselines, robustness, task):
    benchmark_app.command(cls=CheckedCommand)(command)


@benchmark_app.callback(invoke_without_command=True)
def group(ctx: typer.Context) -> None:
    """Measure a model on images with reference masks."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
