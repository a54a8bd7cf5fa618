"""peft's layout of a LoRA: the fields of its config and the names of its tensors, both ways."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor

from samadapt.errors import AdapterError

_PREFIX = "base_model.model."
_SUFFIX = ".weight"
_PLAIN: Mapping[str, Any] = {
    "bias": "none",
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "lora_bias": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}
"""Fields of LoRA variants that samadapt does not support, with their values for plain LoRA."""


def peft_config(rank: int, alpha: float, layers: Iterable[str]) -> dict[str, Any]:
    """The fields of peft's `LoraConfig`.

    Args:
        rank: r.
        alpha: the change is scaled by alpha / r.
        layers: full names of the changed layers in the network that peft wraps.
    """
    return {
        "peft_type": "LORA",
        "task_type": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(layers),
        **_PLAIN,
    }


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """`rank` and `alpha` of a `LoraConfig` from peft's fields.

    Raises:
        AdapterError: another method of peft, a variant of LoRA, or a field that is missing.
    """
    if values.get("peft_type") != "LORA":
        raise AdapterError(
            f"a peft adapter of type {values.get('peft_type')!r}, but only LORA can be loaded: "
            "use it with peft"
        )
    for name, plain in _PLAIN.items():
        if (given := values.get(name, plain)) and given != plain:
            raise AdapterError(
                f"its {name} is {given!r}, a variant of LoRA that samadapt does not support: use "
                "it with peft"
            )
    rank, alpha = values.get("r"), values.get("lora_alpha")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise AdapterError(f"r={rank!r} in its config: it must be a whole number from 1")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise AdapterError(f"lora_alpha={alpha!r} in its config: it must be a number")
    return {"rank": rank, "alpha": float(alpha)}


def to_peft(tensors: Mapping[str, Tensor], module_path: str) -> dict[str, Tensor]:
    """Rename tensors "LAYER.lora_A" of the decoder to the names in peft's files."""
    path = f"{module_path}." if module_path else ""
    return {f"{_PREFIX}{path}{name}{_SUFFIX}": tensor for name, tensor in tensors.items()}


def from_peft(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of either layout to "PATH.LAYER.lora_A", by names in the wrapped network."""
    return {name.removeprefix(_PREFIX).removesuffix(_SUFFIX): t for name, t in tensors.items()}


def within(tensors: Mapping[str, Tensor], module_path: str) -> dict[str, Tensor]:
    """Rename tensors that lie in the decoder by their full name to names in the decoder."""
    return {name.removeprefix(f"{module_path}."): tensor for name, tensor in tensors.items()}


def located(
    tensors: Mapping[str, Tensor], layers: Collection[str]
) -> tuple[str, dict[str, Tensor]]:
    """Return the decoder's path in the network of the given names, and the names in the decoder.

    Args:
        tensors: by names in the network, or in the decoder already.
        layers: names of the decoder's modules.

    Raises:
        AdapterError: a name that lies outside the decoder.
    """
    path = ""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        steps = name.rpartition(".")[0].split(".")
        at = next((k for k in range(len(steps)) if ".".join(steps[k:]) in layers), None)
        if at is None:
            raise AdapterError(
                f"it changes {'.'.join(steps)}, which is no layer of the mask decoder: use it with "
                "peft, or train an adapter of the decoder alone"
            )
        path = ".".join(steps[:at])
        found[f"{'.'.join(steps[at:])}.{name.rpartition('.')[2]}"] = tensor
    return path, found
