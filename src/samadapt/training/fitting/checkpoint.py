"""Checkpoints of a training run, which are complete or absent after any kill."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samadapt.data.files import replacing
from samadapt.errors import CheckpointError, first_line

NAME = "checkpoint.pt"
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, EOFError, TypeError, pickle.UnpicklingError)


@dataclass(frozen=True, slots=True)
class SkippedPicture:
    """An image that could not be used, with the reason."""

    image: str
    reason: str


@dataclass(slots=True)
class Progress:
    """Progress of a run.

    Attributes:
        step: number of finished steps.
        losses: mean loss, if finite, of each step with a prompt.
        overlaps: mean IoU of each of these steps.
        prompts: number of prompts learned so far.
        images: number of visits of images so far; an image may be visited several times.
        skipped: images that could not be used, each once.
        spoilt: number of steps skipped because a gradient was not finite.
        looks: step and mean IoU of every validation on the held-out images.
        best: step of the validation whose weights are kept; None without validation.
        stopped: whether the run ended early.
        apart: mean loss, if finite, of each step of the later phases.
        seconds: run time, over all parts of the run.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)
    prompts: int = 0
    images: int = 0
    skipped: list[SkippedPicture] = field(default_factory=list)
    spoilt: int = 0
    looks: list[tuple[int, float]] = field(default_factory=list)
    best: int | None = None
    stopped: bool = False
    apart: list[float] = field(default_factory=list)
    seconds: float = 0.0


def save_checkpoint(
    folder: Path,
    run: Mapping[str, Any],
    progress: Progress,
    tensors: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint for `load_checkpoint`.

    Args:
        folder: of the run.
        run: description of the run (model, data, recipe), as plain JSON values.
        progress: of the run.
        tensors: the learned parameters.
        optimizer: the optimiser, whose state is kept too.

    Raises:
        DataError: the file cannot be written.
    """
    state = {
        "run": json.dumps(run),
        "progress": json.dumps(asdict(progress)),
        "tensors": dict(tensors),
        "optimizer": optimizer.state_dict(),
    }
    with replacing(folder / NAME) as file:
        torch.save(state, file)


def load_checkpoint(
    folder: Path, run: Mapping[str, Any], device: torch.device
) -> tuple[Progress, dict[str, Tensor], dict[str, Any]] | None:
    """Progress, tensors and the optimiser's state of the checkpoint in `folder`, if there is one.

    Raises:
        CheckpointError: a damaged file, or the checkpoint of another run.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
        found = json.loads(state["run"])
        values = json.loads(state["progress"])
        skipped = [SkippedPicture(**row) for row in values.pop("skipped")]
        looks = [(int(step), float(overlap)) for step, overlap in values.pop("looks", ())]
        progress = Progress(**values, skipped=skipped, looks=looks)
        tensors, optimizer = dict(state["tensors"]), dict(state["optimizer"])
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(
            f"{path} cannot be resumed ({reason}): delete it to start anew, or give another output "
            "folder"
        ) from None
    if differing := difference(found, json.loads(json.dumps(run))):
        raise CheckpointError(
            f"{path} belongs to an unfinished run that differs in {differing}: give the same "
            "settings to resume it, delete it to start anew, or give another output folder"
        )
    return progress, tensors, optimizer


def difference(before: Any, now: Any, name: str = "") -> str:
    """Describe the first difference between two JSON values; "" if they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(k for k in now if k not in before)]:
            inner = f"{name}.{key}" if name else str(key)
            if found := difference(before.get(key), now.get(key), inner):
                return found
        return ""
    return "" if before == now else f"{name} ({before} before, {now} now)"
