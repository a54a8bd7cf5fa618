"""Tokens appended at seam 1: where they start, and how a decoder takes more than it expects."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.prompt_encoder import EncodedPrompts


def starting_tokens(count: int, channels: int, scale: float) -> Tensor:
    """Different tokens (T, C) to start from, without chance: rows of the cosine transform.

    t_ic = s sqrt(2) cos(pi (i + 1) (2 c + 1) / (2 C)), orthogonal for T < C, root mean square s.
    """
    rows = torch.arange(1, count + 1, dtype=torch.float64)[:, None]
    columns = 2 * torch.arange(channels, dtype=torch.float64) + 1
    waves = torch.cos(math.pi * rows * columns / (2 * channels))
    return (scale * math.sqrt(2) * waves).float()


Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of a decoder."""


class DecoderView:
    """Copies of decoders that share all weights and parts with them and see other inputs.

    Args:
        change: from what the decoder is called with to what it gets.
    """

    def __init__(self, change: Callable[[tuple[Any, ...], dict[str, Any]], Inputs]) -> None:
        self._change = change
        self._copies: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    def __deepcopy__(self, memo: dict[int, Any]) -> DecoderView:
        """Itself: a copy of a decoder that is made for its weights sees the same inputs."""
        return self

    def of(self, base: nn.Module) -> nn.Module:
        """The copy of `base`; the same one every time."""
        found = self._copies.get(base)
        if found is None:
            found = copy.copy(base)
            found._forward_pre_hooks = OrderedDict(base._forward_pre_hooks)
            found._forward_pre_hooks_with_kwargs = OrderedDict(base._forward_pre_hooks_with_kwargs)
            found.register_forward_pre_hook(self._hook, with_kwargs=True)
            self._copies[base] = found
        return found

    def _hook(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        return self._change(args, kwargs)


def show_further_tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
    """Tell nano's decoder that tokens beyond those of its prompt encoder are to be seen.

    It gets a number per token that hides padding; other decoders take any number of tokens.
    """
    return tuple(_shown(v) if isinstance(v, EncodedPrompts) else v for v in args), kwargs


def _shown(prompts: EncodedPrompts) -> EncodedPrompts:
    further = prompts.tokens.shape[1] - prompts.token_bias.shape[1]
    if further <= 0:
        return prompts
    return replace(prompts, token_bias=F.pad(prompts.token_bias, (0, further)))
