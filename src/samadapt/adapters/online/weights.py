"""A decoder's trained parameters as one flat vector, and decoders that use such a vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from samadapt.adapters.weights import put_weight, shared_copy
from samadapt.errors import AdapterError


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a parameter lies in the flat vector; strides keep its memory format."""

    name: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    count: int


class Layout:
    """Order of a decoder's parameters in the flat vector (P,).

    Args:
        decoder: only names and shapes of its parameters are used.
    """

    def __init__(self, decoder: nn.Module) -> None:
        chosen = [(n, p) for n, p in decoder.named_parameters() if p.is_floating_point()]
        counts = [parameter.numel() for _, parameter in chosen]
        starts = [0, *accumulate(counts)]
        self._places = tuple(
            _Place(name, tuple(p.shape), _dense_stride(p), start, p.numel())
            for (name, p), start in zip(chosen, starts, strict=False)
        )
        self.count = starts[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the trained parameters."""
        return tuple(place.name for place in self._places)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named tensors that share the memory of `flat` (P,)."""
        return {
            p.name: torch.as_strided(flat, p.shape, p.stride, flat.storage_offset() + p.start)
            for p in self._places
        }

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """A new vector (P,) of these tensors, on the device of the first.

        Raises:
            AdapterError: a tensor is missing, or of another shape.
        """
        for place in self._places:
            found = named.get(place.name)
            if found is None or tuple(found.shape) != place.shape:
                what = "is missing" if found is None else f"is {tuple(found.shape)}"
                raise AdapterError(f"{place.name} {what}, the decoder has {place.shape}")
        vector = torch.empty(self.count, device=named[self._places[0].name].device)
        for name, view in self.views(vector).items():
            view.copy_(named[name])
        return vector

    def of(self, decoder: nn.Module) -> Tensor:
        """The trained parameters of `decoder` as a new vector (P,)."""
        return self.flat({n: p.detach() for n, p in decoder.named_parameters()})


def decoder_with(base: nn.Module, layout: Layout, flat: Tensor) -> nn.Module:
    """A copy of `base` whose trained parameters are `flat` itself, without a copy of it.

    Everything else (untrained parameters, buffers) is shared with `base`.
    """
    decoder = shared_copy(base)
    for name, view in layout.views(flat).items():
        put_weight(decoder, name, nn.Parameter(view, requires_grad=False))
    return decoder


class Workbench:
    """A copy of the decoder for training: loads any weights and computes gradients.

    Args:
        base: the decoder to copy; never changed.
        layout: of the trained parameters.
        check: called between layers, forwards and backwards; it may raise to interrupt a step.
    """

    def __init__(
        self, base: nn.Module, layout: Layout, check: Callable[[], None] | None = None
    ) -> None:
        self.base = layout.of(base)
        """The base decoder's weights (P,)."""
        self._layout = layout
        self._check = check or (lambda: None)
        self._buffer = self.base.clone()
        self.decoder = decoder_with(base, layout, self._buffer)
        named = dict(self.decoder.named_parameters())
        self._parameters = {n: named[n].requires_grad_(True) for n in layout.names}
        if check is not None:
            _check_between_layers(self.decoder, check)

    def load(self, weights: Tensor) -> nn.Module:
        """The decoder with these weights (P,), until the next `load`."""
        with torch.no_grad():
            self._buffer.copy_(weights)
        return self.decoder

    def gradient(self, loss: Tensor) -> Tensor:
        """Gradient (P,) of a loss of the decoder's output; 0 for parameters not in use."""
        found = torch.autograd.grad(loss, tuple(self._parameters.values()), allow_unused=True)
        self._check()
        gradient = torch.zeros_like(self._buffer)
        views = self._layout.views(gradient)
        for name, part in zip(self._parameters, found, strict=True):
            if part is not None:
                views[name].copy_(part)
        return gradient


def _dense_stride(parameter: Tensor) -> tuple[int, ...]:
    """The parameter's own strides when its elements lie side by side, else those of a copy."""
    if parameter.is_contiguous() or (
        parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    ):
        return tuple(parameter.stride())
    return tuple(parameter.contiguous().stride())


def _check_between_layers(decoder: nn.Module, check: Callable[[], None]) -> None:
    def before(module: nn.Module, args: object) -> None:
        check()

    def behind(module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: check())  # type: ignore[no-untyped-call]

    for module in decoder.modules():
        if not any(True for _ in module.children()):
            module.register_forward_pre_hook(before)
            module.register_forward_hook(behind)
