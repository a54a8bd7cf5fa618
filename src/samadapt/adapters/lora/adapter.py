"""`LoraAdapter`: low-rank changes of the decoder's attention and MLP layers (Hu et al. 2022)."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.files import write_folder
from samadapt.adapters.fitting import TASK_SCHEDULE, Fitting
from samadapt.adapters.lora import peft_layout
from samadapt.adapters.registry import register
from samadapt.adapters.weights import WeightChange, chosen_names
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel


@dataclass(frozen=True, kw_only=True)
class LoraConfig(AdapterConfig):
    """Config of a LoRA adapter.

    Attributes:
        rank: r; 0 chooses the rank whose number of parameters is nearest to a stable adapter's.
        alpha: the change is scaled by alpha / r; 0 stands for alpha = r.
        layers: shell patterns of the decoder's linear layers; "!" before a pattern excludes
            layers. None for the layers of a file that peft wrote.
        seed: of the factors A.
        parameters: exact number of learned parameters; 0 until it is bound to a model.
    """

    method: str = "lora"
    rank: int = 0
    alpha: float = 0.0
    layers: tuple[str, ...] = ("transformer.*",)
    seed: int = 0
    parameters: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.layers, str):
            raise AdapterError(f"layers {self.layers!r}: give a list of patterns")
        object.__setattr__(self, "layers", tuple(self.layers))
        super().__post_init__()
        self.check_whole(0, "rank")
        self.check_positive("alpha", or_zero=True)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**super().to_dict(), "layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, or the config of a folder in peft's layout."""
        own = {name: value for name, value in values.items() if name != "peft"}
        peft = values.get("peft")
        if peft is None:
            return super().from_dict(own)
        return super().from_dict({"layers": (), **own, **peft_layout.settings(peft)})


@register("lora")
class LoraAdapter(WeightChange):
    """LoRA (Hu et al., ICLR 2022, arXiv 2106.09685) on the mask decoder, merged at seam 3.

        W' = W + (alpha / r) B A        A: (r, in), B: (out, r)

    for the weights of linear layers of the two-way transformer (attention projections and MLPs).
    B starts as 0, so that untrained no bit changes. A prediction uses the merged weights and is
    as fast as without an adapter.

    peft can load the adapter's folder onto the network around the decoder.
    """

    about = "low-rank changes of the decoder's linear layers"
    fitting = Fitting(task_recipe=TASK_SCHEDULE, row="lora")
    config_class = LoraConfig
    config: LoraConfig
    _module_path = ""
    _decoder_layers: Collection[str] = ()

    @classmethod
    def create(cls, variant: str | None = None) -> Self:
        """An untrained adapter; the variant is its rank, as in "lora:4".

        Raises:
            AdapterError: a variant that is no rank.
        """
        if variant is None:
            return cls()
        if not variant.isdecimal() or int(variant) < 1:
            raise AdapterError(f"adapter method 'lora' has no variant {variant!r}: give a rank")
        return cls(LoraConfig(rank=int(variant)))

    @classmethod
    def variant_texts(cls) -> Mapping[str, str]:
        """Any rank."""
        return {"RANK": "rank of the changes, a whole number such as 4"}

    def bind(self, model: SegmentationModel) -> None:
        """Tie this adapter to `model`, or check that it is the one it was made for."""
        super().bind(model)
        self._module_path = model.spec.module_path
        self._decoder_layers = {name for name, _ in model.decoder.named_modules()}
        if self.module is None and self.config.layers:
            shapes = self._layers(model.decoder)
            rank = self.config.rank or equal_rank(shapes, model.spec.width)
            self.config = replace(self.config, rank=rank, alpha=self.config.alpha or rank)
            generator = torch.Generator().manual_seed(self.config.seed)
            factors: dict[str, Tensor] = {}
            for name, (rows, columns) in shapes.items():
                bound = 1 / math.sqrt(columns)
                factor = torch.rand(rank, columns, generator=generator) * 2 - 1
                factors[f"{name}.lora_A"] = factor * bound
                factors[f"{name}.lora_B"] = torch.zeros(rows, rank)
            self._build(factors)
        elif self.module is not None:
            self._settle()
        if self.module is not None:
            self.module.to(model.device)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned, or the tensors of a file in peft's layout.

        Raises:
            AdapterError: no tensor, or other names or shapes than this adapter has.
        """
        named = peft_layout.from_peft(state)
        if self._decoder_layers:
            peft_layout.located(named, self._decoder_layers)  # refuses those of other parts
        super().load_state_dict(peft_layout.within(named, self._module_path))
        if self._decoder_layers:
            self._settle()

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        """A decoder with `base`'s weights plus the changes; the rest is shared with `base`."""
        if not self._decoder_layers:
            self._decoder_layers = {name for name, _ in base.named_modules()}
            self._settle()
        return super().mask_decoder(base)

    def _write(self, folder: str | os.PathLike[str]) -> None:
        config = self.config.to_dict()
        rank, alpha = config.pop("rank"), config.pop("alpha")
        tensors = peft_layout.to_peft(self.state_dict(), self._module_path)
        layers = {name.rpartition(".")[0] for name in peft_layout.from_peft(tensors)}
        peft = peft_layout.peft_config(rank, alpha or rank, layers)
        write_folder(folder, config, tensors, peft)

    def changes(self) -> Mapping[str, Tensor]:
        """(alpha / r) B A for each chosen layer's weight."""
        if self.module is None:
            return {}
        scale = (self.config.alpha or self.config.rank) / self.config.rank
        factors = self.module.named()
        layers = dict.fromkeys(name.rpartition(".")[0] for name in factors)
        return {
            f"{layer}.weight": scale * (factors[f"{layer}.lora_B"] @ factors[f"{layer}.lora_A"])
            for layer in layers
        }

    def check_state(self, state: Mapping[str, Tensor]) -> bool:
        """Return True if the tensors are one pair of matrices per layer."""
        ranks = {min(tensor.shape) if tensor.ndim == 2 else 0 for tensor in state.values()}
        layers = {name.rpartition(".")[0] for name in state}
        wanted = {f"{layer}.lora_{factor}" for layer in layers for factor in "AB"}
        return wanted == set(state) and all(rank > 0 for rank in ranks)

    def _settle(self) -> None:
        """Assign weights that were loaded without a model to the decoder's layers.

        Raises:
            AdapterError: they change layers that the decoder lacks.
        """
        state = self.state_dict()
        path, found = peft_layout.located(state, self._decoder_layers)
        self._module_path = self._module_path or path
        if self.module is not None and tuple(found) != self.module.names:
            self._build(found)

    def _layers(self, decoder: nn.Module) -> dict[str, tuple[int, int]]:
        """(out, in) of the chosen linear layers.

        Raises:
            AdapterError: the patterns choose no linear layer.
        """
        found = {
            name: (module.out_features, module.in_features)
            for name, module in decoder.named_modules()
            if isinstance(module, nn.Linear)
        }
        if not found:
            raise AdapterError("the mask decoder has no linear layer for LoRA to change")
        return {name: found[name] for name in chosen_names(tuple(found), self.config.layers)}


def equal_rank(shapes: Mapping[str, tuple[int, int]], channels: int) -> int:
    """The rank whose parameter count is nearest to a stable adapter's of this width, at least 1.

    A stable adapter has C^2 + 55 C + 124 parameters, about 0.08 million for SAM's C = 256 (Fan et
    al., ICLR 2025).

    Args:
        shapes: (out, in) of the layers.
        channels: C of the model.
    """
    wanted = channels**2 + 55 * channels + 124
    return max(1, round(wanted / sum(rows + columns for rows, columns in shapes.values())))
