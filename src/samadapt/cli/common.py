"""Options, loading, output checks and progress of several commands."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samadapt.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from samadapt.models.base import SegmentationModel

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="Name, Hub id, folder or checkpoint; see `samadapt models`."
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="SPEC",
        help="Method (with variant, as in method:variant), folder or Hub id of an adapter; may be "
        "given several times, they apply in order.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...", metavar="DEVICE")
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="auto|float32|bfloat16",
        help="Number format of the image encoder; auto uses bfloat16 where it is fast.",
    ),
]
DATA_VARIABLE = "SAMADAPT_DATA"
"""Environment variable that names the folder of datasets."""

CrowdsOption = Annotated[
    bool,
    typer.Option(
        "--crowds",
        help="Treat crowd masks (iscrowd 1) as objects; CVAT marks all brush masks as crowds.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same result.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Number of CPU threads.", metavar="N")
]


def load_model(name: str, device: str, dtype: str) -> SegmentationModel:
    """Load the model that the options name."""
    from samadapt.models.registry import load

    return load(name, device, dtype)


def named_dataset(name: str, split: str, instead: str = "") -> tuple[Path, Path]:
    """The image folder and the COCO file of a dataset in the folder of datasets.

    Args:
        name: of its folder.
        split: name of the COCO file, without its ending.
        instead: options of the command that replace --dataset, for the error.

    Raises:
        DataError: the folder of datasets is not set, or has no dataset of this name.
    """
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        other = f", or give {instead}" if instead else ""
        raise DataError(
            f"--dataset {name}: set {DATA_VARIABLE} to the folder that holds the datasets{other}"
        )
    folder = Path(root) / name
    if not folder.is_dir():
        raise DataError(f"--dataset {name}: there is no folder {folder}; check {DATA_VARIABLE}")
    return folder / "images", folder / f"{split}.json"


def project_place(project: str) -> str | Path:
    """The file or URL of a project that is named by its folder, its file or its URL."""
    from samadapt.store.projects import project_file

    if "://" in project:
        return project
    path = Path(project)
    return project_file(path) if path.is_dir() else path


def set_threads(threads: int | None) -> None:
    """Limit the threads of one operation; None leaves them as they are."""
    if threads is None:
        return
    if threads < 1:
        raise DataError(f"--threads {threads}: use 1 or more")
    import torch

    torch.set_num_threads(threads)


Inputs = Sequence[str | Path | None]
"""Files and folders that a command reads; other names are ignored."""


def check_outputs(*outputs: tuple[str, Path | None], inputs: Inputs = ()) -> None:
    """Check that every output file can be written, before long work begins.

    Args:
        outputs: option names and the files they give, or None.
        inputs: files and folders that must not be overwritten.

    Raises:
        DataError: a missing folder, one that cannot be written to, two outputs in one file, or
            an output over something that must not be replaced, see `check_output`.
    """
    from samadapt.data.outputs import check_output

    seen: dict[Path, str] = {}
    for option, path in outputs:
        if path is None:
            continue
        try:
            target = check_output(path, inputs)
        except DataError as error:
            raise DataError(f"{option} {error}") from None
        if target in seen:
            raise DataError(f"{option} and {seen[target]} both name {path}: choose two files")
        seen[target] = option
        if not target.parent.is_dir():
            raise DataError(
                f"{option} {path}: the folder {target.parent} does not exist, make it first"
            )
        _check_folder(option, path, target.parent)


def check_output_folder(
    option: str, folder: Path, inputs: Inputs = (), *, keeps_project: bool = False
) -> None:
    """Check that files can be written into a folder that exists or can be made.

    Args:
        option: name of the option.
        folder: its value.
        inputs: files and folders that must not be written into.
        keeps_project: whether the command keeps a project there itself.

    Raises:
        DataError: it is a file, an input or the folder of a project, or neither it nor the
            nearest folder above can be written to.
    """
    from samadapt.data.outputs import is_database_part

    if os.path.lexists(folder) and not folder.is_dir():
        raise DataError(f"{option} {folder} is a file: give a folder")
    target = folder.resolve()
    if any(given is not None and Path(given).resolve() == target for given in inputs):
        raise DataError(f"{option} {folder} is an input: give a separate folder")
    files = [f for f in folder.iterdir() if f.is_file()] if target.is_dir() else []
    if not keeps_project and any(map(is_database_part, files)):
        raise DataError(f"{option} {folder} holds a project: give a separate folder")
    nearest = target
    while not nearest.exists():
        nearest = nearest.parent
    _check_folder(option, folder, nearest)


def tell_left_out(lines: Sequence[str], most: int = 10) -> None:
    """Print the first records that were left out to stderr."""
    for text in lines[:most]:
        typer.echo(f"left out: {text}", err=True)
    if len(lines) > most:
        typer.echo(f"left out: {len(lines) - most} more", err=True)


def tell_untrained(specs: Sequence[str], *, is_session: bool = False) -> None:
    """Print on stderr which adapters are untrained and stay so, and how to train them.

    Args:
        specs: adapters as named on the command line, "A+B" for several.
        is_session: whether adapters learn in this command.
    """
    from samadapt.adapters.registry import get_method, method_names

    for spec in (part for given in specs for part in given.split("+")):
        name = spec.partition(":")[0]
        if name not in method_names() or (is_session and get_method(name).learns_in_session):
            continue
        how = "it learns in `samadapt annotate` and `samadapt benchmark interactive`"
        if get_method(name).fitting is not None:
            how = f"train it with `samadapt fit {spec} --out DIR ...` and give --adapter DIR"
        typer.echo(
            f"note: --adapter {spec} is untrained and leaves the model as it is: {how}", err=True
        )


def tell_slices(image: Path) -> None:
    """Print on stderr that only the first slice of a stack is used, and how to choose another."""
    from samadapt.data.stacks.finding import tiff_stack

    stack = tiff_stack(image)
    if stack is not None:
        typer.echo(
            f"note: {image} has {len(stack.slices)} slices, of which the first is used: give "
            f"'{stack.addresses(str(image))[1]}' for the second",
            err=True,
        )


def progress_console() -> Console:
    """Return the console on stderr for progress and notes."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, if it is a terminal; yields a function of (done, total)."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = progress_console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check_folder(option: str, path: Path, folder: Path) -> None:
    """Write a test file: permissions alone do not show full disks and read-only mounts."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".samadapt-", suffix=".part")
    except OSError as error:
        raise DataError(
            f"{option} {path}: the folder {folder} cannot be written to "
            f"({error.strerror or error}), choose another"
        ) from None
    os.close(handle)
    Path(name).unlink()
