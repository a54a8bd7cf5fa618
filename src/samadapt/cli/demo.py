"""`samadapt demo`: annotation with adaptation on real images, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli.common import DeviceOption, DtypeOption, ModelOption, SeedOption
from samadapt.cli.options import MaxObjectsOption
from samadapt.errors import DataError


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")
    ] = Path("samadapt-demo"),
    model: ModelOption = "nano",
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Adapter to compare with the frozen model; default: the annotator's. none for "
            "the frozen model alone.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    seed: SeedOption = 0,
    max_objects: MaxObjectsOption = None,
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser at the end.")
    ] = False,
) -> None:
    """Let a robot annotate real photographs and microscopy images, offline.

    Takes a few minutes and writes JSON results and an HTML report with
    pictures: each object annotated with the frozen model and with a model that
    learns, side by side. --adapter none runs only the frozen model.
    """
    from rich.console import Console

    if max_objects is not None and max_objects < 1:
        raise DataError(f"--max-objects {max_objects}: ask for at least one object")
    common.check_output_folder("--out", out)
    from samadapt.adapters.registry import default_specs
    from samadapt.benchmark import demo as the_demo
    from samadapt.benchmark.interactive.tables import summary_table
    from samadapt.benchmark.tables import terminal_table

    loaded = common.load_model(model, device, dtype)
    chosen = None if adapter == "none" else adapter or next(iter(default_specs(loaded)), None)
    with common.progress_bar("annotating") as progress:
        results = the_demo.run_demo(out, loaded, seed, max_objects, chosen, progress)
    report = out / the_demo.REPORT
    console = Console()
    console.print(terminal_table(summary_table(results)))
    for line in the_demo.savings(results):
        console.print(line)
    console.print(f"Pictures of every object and click: {report}")
    if open_report:
        typer.launch(str(report.resolve()))
