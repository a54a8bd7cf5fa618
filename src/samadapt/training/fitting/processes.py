"""Training in one process, or in several through accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from samadapt.errors import ModelError


class Processes:
    """The processes of one training run; a single one unless `accelerate launch` started more.

    Raises:
        ModelError: several processes without accelerate, or a model on another process's device.
    """

    def __init__(self, device: torch.device) -> None:
        self.index, self.count = 0, 1
        if not are_several():
            return
        try:
            from accelerate import PartialState
        except ImportError:
            raise ModelError(
                "training in several processes needs accelerate: pip install 'samadapt[train]'"
            ) from None
        state: Any = PartialState(cpu=device.type == "cpu")
        self.index, self.count = int(state.process_index), int(state.num_processes)
        if device.type == "cuda" and self.count > 1 and device != state.device:
            raise ModelError(
                f"process {self.index} works on {state.device}, its model is on {device}: load "
                "the model there"
            )

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.index == 0

    def share(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process's share of `items`."""
        return items[self.index :: self.count]

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by the sum over processes; a missing one counts as 0."""
        if self.count == 1:
            return
        for parameter in parameters:
            own = parameter.grad
            parameter.grad = self.total(torch.zeros_like(parameter) if own is None else own)

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        found: Tensor = reduce(values, reduction="sum")
        return found

    def gathered(self, items: Sequence[Any]) -> list[Any]:
        """The items of all processes, the same in all of them."""
        if self.count == 1:
            return list(items)
        from accelerate.utils import gather_object

        return list(gather_object(list(items)))

    def wait(self) -> None:
        """Wait until all processes get here."""
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()


def are_several() -> bool:
    """Whether this process is one of several that were launched together."""
    return int(os.environ.get("WORLD_SIZE", "1") or 1) > 1


def local_device(device: str) -> str:
    """The device of this process: with several GPUs each process has its own."""
    if are_several() and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device
