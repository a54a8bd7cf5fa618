"""`samadapt benchmark robustness`: how much worse masks get when prompts do."""

from __future__ import annotations

from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli import options as opt
from samadapt.cli.benchmark_output import deliver
from samadapt.cli.guard import Invocation


def robustness(
    ctx: typer.Context,
    images: opt.ImagesOption = None,
    masks: opt.MasksOption = None,
    dataset: opt.DatasetOption = None,
    split: opt.SplitOption = "test",
    crowds: common.CrowdsOption = False,
    model: common.ModelOption = "nano",
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            metavar="SPEC",
            help="Name, folder or Hub id of an adapter, A+B for several at once; each one given "
            "is a row of its own.",
        ),
    ] = None,
    max_objects: opt.MaxObjectsOption = None,
    draws: opt.DrawsOption = 20,
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            metavar="KIND[,KIND...]",
            help="Kinds of prompts: box, box0.4 (noise of 0.4), 3p (3 clicks), ...",
        ),
    ] = "box,box0.2,box0.4,box0.6,1p,3p,5p,10p",
    seed: common.SeedOption = 0,
    device: common.DeviceOption = "auto",
    dtype: common.DtypeOption = "auto",
    threads: common.ThreadsOption = None,
    json_path: opt.JsonOption = None,
    html_path: opt.HtmlOption = None,
) -> None:
    """Exact and noisy boxes and 1 to 10 clicks for real objects, many of each kind.

    Reports overlap (mIoU), overlap of boundaries (mBIoU) and stability (mSF) for
    each kind of prompt, with 95 % intervals, and the time per click.
    """
    paths = opt.dataset_paths(images, masks, dataset, split)
    common.check_outputs(
        ("--json", json_path), ("--html", html_path), inputs=(paths[1], model, *(adapter or ()))
    )
    from samadapt.benchmark.robustness.report import robustness_report, robustness_table
    from samadapt.benchmark.robustness.run import RobustnessOptions, run_robustness
    from samadapt.data.datasets import open_dataset
    from samadapt.store.embeddings import EmbeddingStore
    from samadapt.training.prompt_sampling import kinds

    options = RobustnessOptions(
        kinds=kinds(name.strip() for name in prompts.split(",") if name.strip()),
        draws=draws,
        max_objects=max_objects,
        seed=seed,
    )
    data = open_dataset(*paths, crowds=crowds)
    common.set_threads(threads)
    loaded = common.load_model(model, device, dtype)
    with common.progress_bar("prompting") as progress:
        result = run_robustness(
            data,
            loaded,
            adapter or (),
            options,
            progress=progress,
            command=ctx.ensure_object(Invocation).command,
            store=EmbeddingStore(is_cyclic=True),
        )
    deliver(
        result,
        result.skipped,
        [robustness_table(result)],
        json_path,
        html_path,
        lambda: robustness_report(result),
    )
