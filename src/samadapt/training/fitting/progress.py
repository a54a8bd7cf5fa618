"""Progress of a run: a bar with loss and mIoU on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

WINDOW = 50
"""Steps over which the shown loss and mIoU are averaged."""


@dataclass(frozen=True, slots=True)
class FitStatus:
    """Status of a run after a step.

    Attributes:
        step: number of finished steps.
        steps: of the whole run.
        loss: mean of the last steps; None before the first prompt.
        miou: mean IoU of the last steps, on the decoder's grid; None before the first prompt.
        skipped: number of images that could not be used so far.
    """

    step: int
    steps: int
    loss: float | None
    miou: float | None
    skipped: int = 0


Tell: TypeAlias = Callable[[FitStatus], None]


def running_mean(values: Sequence[float], window: int = WINDOW) -> float | None:
    """Mean of the last values; None without any."""
    last = values[-window:]
    return sum(last) / len(last) if last else None


@contextmanager
def fit_bar(text: str) -> Iterator[Tell]:
    """Show a bar on stderr while the block runs, if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(text, total=None, found="")

        def tell(status: FitStatus) -> None:
            found = ""
            if status.loss is not None and status.miou is not None:
                found = f"loss {status.loss:.3f} mIoU {status.miou:.3f}"
            if status.skipped:
                found += f" skipped {status.skipped}"
            bar.update(task, completed=status.step, total=status.steps, found=found)

        yield tell
