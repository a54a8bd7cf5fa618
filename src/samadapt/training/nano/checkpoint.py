"""The state of a training run on disk, written completely or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from samadapt.data.files import replacing
from samadapt.errors import CheckpointError, first_line
from samadapt.models.nano.network import NanoNetwork

NAME = "checkpoint.pt"
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError)


def save_checkpoint(
    folder: Path,
    network: NanoNetwork,
    average: NanoNetwork,
    optimizer: torch.optim.Optimizer,
    step: int,
    minutes: float,
) -> None:
    """Write what `load_checkpoint` needs to go on.

    Raises:
        DataError: the file cannot be written.
    """
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "minutes": minutes,
    }
    with replacing(folder / NAME) as file:
        torch.save(state, file)


def load_checkpoint(
    folder: Path,
    network: NanoNetwork,
    average: NanoNetwork,
    optimizer: torch.optim.Optimizer,
) -> tuple[int, float]:
    """Load the checkpoint of `folder`, if there is one, into the three; steps and minutes so far.

    Raises:
        CheckpointError: the file is damaged or of another network.
    """
    path = folder / NAME
    if not path.exists():
        return 0, 0.0
    device = next(network.parameters()).device
    options = [dict(group) for group in optimizer.param_groups]
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, minutes = int(state["step"]), float(state["minutes"])
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(
            f"{path} cannot be resumed from ({reason}): delete it to start anew, or give another "
            "--out"
        ) from None
    for group, option in zip(optimizer.param_groups, options, strict=True):
        group.update({name: value for name, value in option.items() if name != "params"})
    return step, minutes
