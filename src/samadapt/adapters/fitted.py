"""`FittedAdapter`: base class of adapters that are trained once with `samadapt.fit`."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

import torch
from torch import nn

from samadapt.adapters.base import Adapter
from samadapt.adapters.config import AdapterConfig
from samadapt.errors import AdapterError
from samadapt.models.interface import ModelInterface

M = TypeVar("M", bound=nn.Module)


class FittedAdapter(Adapter, Generic[M]):
    """An adapter whose learned part is a module, built when the adapter is bound to its model."""

    module: M | None

    def __init__(self, config: AdapterConfig | None = None) -> None:
        super().__init__(config)
        self.module = None
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """C of its model; 0 before it is bound to one, or for a method independent of C."""
        return 0

    def check_model(self, model: ModelInterface) -> None:
        """Raise `AdapterError` when this adapter was made for another model or width."""
        super().check_model(model)
        if self.width not in (0, model.spec.width):
            raise AdapterError(
                f"this {self.method!r} adapter has width {self.width}, the model {model.identity} "
                f"has width {model.spec.width}: load the model it was made for, or train it again"
            )

    def _check_in_use(self, is_in_use: bool) -> None:
        """Raise `AdapterError` if the adapter is untrained, so that there is nothing to export."""
        if not is_in_use:
            raise AdapterError(
                f"the {self.method!r} adapter has learned nothing yet: train it before exporting it"
            )

    def _on(self, device: torch.device) -> M:
        """The module, on this device.

        Raises:
            AdapterError: the adapter is bound to no model yet.
        """
        module = self.module
        if module is None:
            raise AdapterError(
                f"this {self.method!r} adapter is bound to no model yet: call bind(model)"
            )
        if next(module.parameters()).device != device:
            with self._lock:
                module.to(device)
        return module
