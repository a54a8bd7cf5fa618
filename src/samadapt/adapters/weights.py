"""Decoder weights that differ from a base (seam 3)."""

from __future__ import annotations

import copy
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from samadapt.adapters.base import Adapter
from samadapt.adapters.config import AdapterConfig
from samadapt.errors import AdapterError


class WeightChange(Adapter):
    """Base of adapters that add something to parameters of the mask decoder.

    The learned tensors are in `module`, and their number is in the config's field `parameters`;
    `changes` computes one tensor per changed parameter from them. For predictions the sum with
    the base weights is cached until one of the two changes; while gradients are recorded it is
    computed in every call, so that they reach `module`.
    """

    module: NamedTensors | None = None

    def __init__(self, config: AdapterConfig | None = None) -> None:
        super().__init__(config)
        self._merged: tuple[nn.Module, tuple[int, ...], nn.Module] | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def changes(self) -> Mapping[str, Tensor]:
        """Return the changes of the decoder's parameters by name; empty while there are none."""

    def check_state(self, state: Mapping[str, Tensor]) -> bool:
        """Whether the tensors can be a state of this method."""
        return True

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the learned tensors by name."""
        named = {} if self.module is None else self.module.named()
        return {name: tensor.detach() for name, tensor in named.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned.

        Raises:
            AdapterError: no tensor, or other names or shapes than this adapter has.
        """
        own = {name: tensor.shape for name, tensor in self.state_dict().items()}
        fits = not own or own == {name: tensor.shape for name, tensor in state.items()}
        if not state or not fits or not self.check_state(state):
            raise AdapterError(
                f"weights do not fit the {self.method!r} adapter: other names or shapes"
            )
        self._build(state)

    def _build(self, tensors: Mapping[str, Tensor]) -> None:
        device = None if self.module is None else next(self.module.parameters()).device
        self.module = NamedTensors(tensors).to(device)
        changes: dict[str, Any] = {"parameters": sum(t.numel() for t in tensors.values())}
        self.config = replace(self.config, **changes)

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        """A decoder with `base`'s weights plus the changes; the rest is shared with `base`."""
        module = self.module
        if module is None:
            return base
        parameters = list(module.parameters())
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            return with_changes(base, self.changes(), keep_graph=True)
        version = (id(module), *(p._version for p in parameters))
        with self._lock:
            kept = self._merged
            if kept is None or kept[0] is not base or kept[1] != version:
                with torch.no_grad():
                    merged = with_changes(base, self.changes(), keep_graph=False)
                kept = self._merged = (base, version, merged)
            return kept[2]


class NamedTensors(nn.Module):
    """Learned tensors by any names."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = tuple(tensors)
        self.values = nn.ParameterList(
            nn.Parameter(tensors[name].detach().clone(), requires_grad=False) for name in self.names
        )

    def named(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return dict(zip(self.names, self.values, strict=True))


def with_changes(base: nn.Module, changes: Mapping[str, Tensor], *, keep_graph: bool) -> nn.Module:
    """A copy of `base` with `changes` added to its parameters; the rest is shared with it.

    Args:
        base: never changed itself.
        changes: by parameter name.
        keep_graph: let gradients flow to the changes; the changed weights are then tensors of the
            copy, not parameters.

    Raises:
        AdapterError: a name that `base` lacks, or another shape.
    """
    known = dict(base.named_parameters())
    decoder = shared_copy(base)
    for name, change in changes.items():
        own = known.get(name)
        if own is None or own.shape != change.shape:
            what = "lacks" if own is None else f"has shape {tuple(own.shape)} for"
            raise AdapterError(
                f"the mask decoder {what} {name!r} {tuple(change.shape)}: the adapter belongs to "
                "another model, or one before it changes the decoder's parts"
            )
        weight = own.detach() + change.to(own.device)
        put_weight(decoder, name, weight if keep_graph else nn.Parameter(weight, False))
    return decoder


def shared_copy(base: nn.Module) -> nn.Module:
    """A copy of a module that shares all parameters and buffers with it."""
    shared: list[Tensor] = [*base.parameters(), *base.buffers()]
    return copy.deepcopy(base, {id(tensor): tensor for tensor in shared})


def put_weight(module: nn.Module, name: str, weight: Tensor) -> None:
    """Replace a parameter by a tensor; a tensor with a graph is not registered as a parameter."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if not isinstance(weight, nn.Parameter):
        delattr(owner, leaf)
    setattr(owner, leaf, weight)


def trainable_names(decoder: nn.Module) -> tuple[str, ...]:
    """Names of all parameters of a decoder that gradients can change."""
    return tuple(name for name, p in decoder.named_parameters() if p.is_floating_point())


def chosen_names(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The parameter names that match patterns, in order.

    Args:
        names: all names.
        patterns: shell patterns such as "transformer.*norm*"; a pattern that begins with "!"
            excludes names.

    Raises:
        AdapterError: no name is left.
    """
    wanted = [p for p in patterns if not p.startswith("!")]
    unwanted = [p[1:] for p in patterns if p.startswith("!")]
    found = tuple(
        name
        for name in names
        if any(fnmatchcase(name, p) for p in wanted)
        and not any(fnmatchcase(name, p) for p in unwanted)
    )
    if not found:
        known = ", ".join(sorted({name.split(".")[0] for name in names}))
        raise AdapterError(
            f"the patterns {list(patterns)} match no parameter of the mask decoder; its parts "
            f"are: {known}"
        )
    return found
