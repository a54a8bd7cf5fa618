"""`samadapt benchmark robustness`: quality of masks by quality of prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import groups as grp
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation


@grp.with_groups
def robustness(
    ctx: typer.Context,
    *,
    source: grp.DataOptions,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="Name, folder or Hub id of an adapter, A+B for several together; one row for "
            "each value.",
        ),
    ] = None,
    max_objects: opt.MaxObjectsOption = None,
    draws: opt.DrawsOption = 20,
    prompts: Annotated[
        str,
        typer.Option(
            metavar="KIND[,KIND...]",
            help="Kinds of prompts: box, box0.4 (noise of 0.4), 3p (3 clicks), ...",
        ),
    ] = "box,box0.2,box0.4,box0.6,1p,3p,5p,10p",
    seed: common.SeedOption = 0,
    run: grp.ModelOptions,
    workers: grp.WorkerOptions,
    outputs: grp.ReportOptions,
) -> None:
    """Prompt for real objects with exact and noisy boxes and 1 to 10 clicks, many of each kind.

    Reports overlap (mIoU), overlap of boundaries (mBIoU) and stability (mSF) for
    each kind of prompt, with 95 % intervals, and the time per click.
    """
    outputs.check((source.paths()[1], run.model, *(adapter or ())))
    from samadapt.benchmark.robustness.report import robustness_report, robustness_table
    from samadapt.benchmark.robustness.run import RobustnessOptions, run_robustness
    from samadapt.store.embeddings import EmbeddingStore
    from samadapt.training.prompt_sampling import kinds

    options = RobustnessOptions(
        kinds=kinds(name.strip() for name in prompts.split(",") if name.strip()),
        draws=draws,
        max_objects=max_objects,
        seed=seed,
    )
    data = source.open()
    loaded = run.load()
    with common.progress_bar("prompting") as progress:
        result = run_robustness(
            data,
            loaded,
            adapter or (),
            options,
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
            store=EmbeddingStore(is_cyclic=True),
            elsewhere=workers.elsewhere(loaded, run),
        )
    common.tell_untrained(adapter or ())
    deliver(
        result,
        result.skipped,
        [robustness_table(result)],
        outputs,
        lambda: robustness_report(result),
    )
