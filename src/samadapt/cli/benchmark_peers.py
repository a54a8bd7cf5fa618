"""`samadapt benchmark peers`: how classical methods do under the very same clicks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.cli import common
from samadapt.cli.benchmark import dataset_paths, note_skipped
from samadapt.cli.common import DeviceOption, DtypeOption, SeedOption, ThreadsOption
from samadapt.cli.guard import Invocation
from samadapt.cli.options import (
    ImagesOption,
    JsonOption,
    MasksOption,
    SplitOption,
)
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.benchmark.peers.comparison import PeerComparison

NO_MODEL = "none"


def peers(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME[,NAME...]",
            help="Instead of --images and --masks: $SAMADAPT_DATA/NAME/images and SPLIT.json.",
        ),
    ] = None,
    images: ImagesOption = None,
    masks: MasksOption = None,
    split: SplitOption = "test",
    peers: Annotated[
        str, typer.Option("--peers", metavar="NAME[,NAME]", help="Methods to compare with.")
    ] = "grabcut,random-walker",
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Model to compare; see `samadapt models`. none: peers only."
        ),
    ] = "nano",
    max_objects: Annotated[
        int | None,
        typer.Option("--max-objects", metavar="N", help="At most so many objects per dataset."),
    ] = None,
    seed: SeedOption = 0,
    max_clicks: Annotated[int, typer.Option("--max-clicks", help="Clicks per object.")] = 20,
    stop_at: Annotated[
        float, typer.Option("--stop-at", help="IoU at which the robot is content.")
    ] = 0.85,
    working_size: Annotated[
        int,
        typer.Option(
            "--working-size",
            metavar="PIXELS",
            help="Peers work on images shrunk to this longest side.",
        ),
    ] = 320,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes for the peers.")
    ] = 1,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    json_path: JsonOption = None,
) -> None:
    """The same robot, the same objects: a model beside GrabCut and random walker.

    Peers need no weights; they see every click so far and their own mask before.
    Reports clicks needed (NoC), failures (FR), IoU after k clicks and time per click.
    """
    places = _places(images, masks, dataset, split)
    common.check_outputs(
        ("--json", json_path), inputs=[*(path for _, path in places.values()), model]
    )
    from samadapt.benchmark.peers.comparison import compare_peers
    from samadapt.benchmark.peers.registry import create_peers
    from samadapt.data.datasets import open_dataset
    from samadapt.session.robot import ClickProtocol

    chosen = create_peers(_split(peers))
    targets = tuple(target for target in (0.85, 0.90) if target <= stop_at)
    protocol = ClickProtocol(max_clicks=max_clicks, targets=targets, stop_at=stop_at)
    data = {name: open_dataset(*paths) for name, paths in places.items()}
    common.set_threads(threads)
    loaded = None if model == NO_MODEL else common.load_model(model, device, dtype)
    with common.progress_bar("clicking") as progress:
        found = compare_peers(
            data,
            chosen,
            loaded,
            protocol,
            max_objects=max_objects,
            seed=seed,
            working_size=working_size,
            workers=workers,
            progress=progress,
            on_skip=note_skipped,
            command=ctx.ensure_object(Invocation).command,
        )
    _deliver(found, json_path)


def _deliver(found: PeerComparison, json_path: Path | None) -> None:
    """The file first: a result must not be lost because nobody reads the table."""
    from rich.console import Console

    from samadapt.benchmark.peers.comparison import comparison_table

    if json_path is not None:
        found.save(json_path)
    Console().print(comparison_table(found))
    if json_path is not None:
        typer.echo(f"wrote {json_path}")


def _places(
    images: Path | None, masks: Path | None, dataset: str | None, split: str
) -> dict[str, tuple[Path, Path]]:
    """The image folder and the masks of every dataset, by name."""
    if dataset is not None and not _split(dataset):
        raise DataError("--dataset names nothing: give one or more names, separated by commas")
    if dataset is None or images is not None or masks is not None:
        paths = dataset_paths(images, masks, dataset, split)
        source = paths[1].resolve()
        return {source.parent.name if source.is_file() else source.name: paths}
    return {name: dataset_paths(None, None, name, split) for name in _split(dataset)}


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
