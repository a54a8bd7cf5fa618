"""`FittedAdapter`: what adapters share that are trained once (`samadapt.fit`) and then used."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import nn

from samadapt.adapters.base import Adapter, AdapterConfig
from samadapt.errors import AdapterError
from samadapt.models.interface import ModelInterface

M = TypeVar("M", bound=nn.Module)


class FittedAdapter(Adapter, Generic[M]):
    """An adapter whose learned part is a module, built when it meets its model.

    Its config has `channels`, the model's width (0 until then), and `parameters`, how many
    numbers are learned (0 until then).
    """

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What `method:VARIANT` changes of the config."""
    module: M | None

    def __init__(self, config: AdapterConfig | None = None) -> None:
        super().__init__(config)
        self.module = None
        self._lock = threading.Lock()

    @classmethod
    def create(cls, variant: str | None = None) -> Self:
        """An untrained adapter: `None` or a name in `variants`.

        Raises:
            AdapterError: an unknown variant.
        """
        if variant is None or not cls.variants:
            return super().create(variant)
        if variant not in cls.variants:
            raise AdapterError(
                f"adapter method {cls.method!r} has no variant {variant!r}: use "
                f"{', '.join(cls.variants)}"
            )
        return cls(cls.config_class(method=cls.method, **cls.variants[variant]))

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned; 0 before `bind`."""
        return int(getattr(self.config, "parameters", 0))

    def check_model(self, model: ModelInterface) -> None:
        """Raise `AdapterError` when this adapter was made for another model or width."""
        super().check_model(model)
        width = getattr(self.config, "channels", 0)
        if isinstance(width, int) and width not in (0, model.spec.width):
            raise AdapterError(
                f"this {self.method!r} adapter has width {width}, the model {model.identity} has "
                f"width {model.spec.width}: load the model it was made for, or train it "
                "again"
            )

    def _on(self, device: torch.device) -> M:
        """The module, on this device.

        Raises:
            AdapterError: the adapter has met no model yet.
        """
        module = self.module
        if module is None:
            raise AdapterError(
                f"this {self.method!r} adapter belongs to no model yet: call bind(model)"
            )
        if next(module.parameters()).device != device:
            with self._lock:
                module.to(device)
        return module
