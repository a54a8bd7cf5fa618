"""Devices, and number formats of image encoder and mask decoder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from samadapt.errors import ModelError
from samadapt.spelling import did_you_mean

_NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_MATRIX_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def resolve_device(device: str | torch.device | None = "auto") -> torch.device:
    """The device to run on; "auto" and None take a CUDA device if there is one, else the CPU.

    Raises:
        ModelError: no such device on this machine.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise ModelError(f'device {device!r} is not known: use "auto", "cpu" or "cuda"') from None
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f'device {device!r}: this torch sees no CUDA device, use "cpu"')
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {device!r}: this machine has {torch.cuda.device_count()} CUDA device(s), "
            "counted from 0"
        )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f'device {device!r}: this torch sees no MPS device, use "cpu"')
    return resolved


def resolve_dtype(encoder_dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The number format of the image encoder: float32 or bfloat16.

    "auto" means bfloat16 where `device` computes it fast, float32 elsewhere.

    Raises:
        ModelError: any other format.
    """
    if encoder_dtype == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    for name, dtype in _NAMES.items():
        if encoder_dtype in (name, dtype):
            return dtype
    hint = did_you_mean(str(encoder_dtype), ("auto", *_NAMES))
    raise ModelError(f'encoder_dtype {encoder_dtype!r}{hint}: use "auto", "float32" or "bfloat16"')


def reduced_precision(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Matrix products in `dtype` inside the block, unless gradients are recorded.

    Predictions that something learns from are computed in float32.
    """
    reduced = dtype != torch.float32 and not torch.is_grad_enabled()
    return torch.autocast(device.type, dtype=dtype if reduced else None, enabled=reduced)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether `device` has instructions for matrix products in bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has_kernels = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if device.type != "cpu" or not has_kernels:
        return False
    asked = [
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ]
    known = [probe for probe in asked if probe is not None]
    if known:
        return any(probe() for probe in known)
    return bool(_cpu_flags() & {"avx512_bf16", "amx_bf16"})


def cast_matrix_layers(module: nn.Module, dtype: torch.dtype) -> None:
    """Store the weights of all linear and convolution layers of `module` in `dtype`, in place.

    Autocast would convert them again at every call. Normalisation, positions and the residual
    stream stay in float32.
    """
    for layer in module.modules():
        if isinstance(layer, _MATRIX_LAYERS):
            layer.to(dtype)


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}
