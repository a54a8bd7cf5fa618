"""The `samadapt` command and its sub-commands."""

from __future__ import annotations

from typing import Annotated

import typer

from samadapt.cli.annotate import annotate
from samadapt.cli.annotate_all import annotate_all
from samadapt.cli.benchmark import benchmark_app
from samadapt.cli.demo import demo
from samadapt.cli.doctor import doctor
from samadapt.cli.embed import embed
from samadapt.cli.export import export
from samadapt.cli.export_model import export_model
from samadapt.cli.fit import fit
from samadapt.cli.guard import CheckedCommand, GuardedGroup
from samadapt.cli.methods import methods
from samadapt.cli.models import models
from samadapt.cli.predict import predict
from samadapt.cli.serve import serve
from samadapt.cli.track import track

app = typer.Typer(
    name="samadapt",
    cls=GuardedGroup,
    help="Segment Anything that learns your images while you annotate them.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, predict, track, annotate, annotate_all, embed, export):
    app.command(cls=CheckedCommand)(command)
for command in (export_model, serve, fit):
    app.command(cls=CheckedCommand)(command)
app.add_typer(benchmark_app, name="benchmark")
for command in (models, methods, doctor):
    app.command(cls=CheckedCommand)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from samadapt.version import installed_version

        typer.echo(f"samadapt {installed_version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (or SAMADAPT_DEBUG=1).")
    ] = False,
) -> None:
    """Segment Anything that learns your images while you annotate them."""
    del version, debug  # both are handled before this runs
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
