"""Strict loading of a folder in Hugging Face format (config.json and weights)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samadapt.errors import CheckpointError, first_line
from samadapt.models.checkpoint_file import some
from samadapt.models.hashing import not_finite
from samadapt.models.hf.files import find_weights
from samadapt.models.hf.sam import SamHqSegmenter, SamSegmenter
from samadapt.models.hf.sam3 import Sam3TrackerSegmenter
from samadapt.models.parts.model import TransformersModel
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.parts.sam2 import Sam2Segmenter
from samadapt.models.registry import LoadOptions

_POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
"""Two names of the same tensor; files may hold either or both."""


@dataclass(frozen=True, slots=True)
class _Architecture:
    """How a `model_type` is loaded.

    Args:
        network: class of transformers.
        segmenter: our class.
        video: whether the file holds a video model, whose other tensors are not loaded.
        renames: regular expressions over the file's tensor names, beyond transformers' own.
    """

    network: str
    segmenter: type[TransformersModel]
    video: bool = False
    renames: Mapping[str, str] | None = None


_ARCHITECTURES = {
    "sam": _Architecture("SamModel", SamSegmenter),
    "sam_hq": _Architecture("SamHQModel", SamHqSegmenter),
    "sam2": _Architecture("Sam2Model", Sam2Segmenter),
    "sam2_video": _Architecture("Sam2Model", Sam2Segmenter, video=True),
    "sam3_tracker": _Architecture("Sam3TrackerModel", Sam3TrackerSegmenter),
    "sam3_tracker_video": _Architecture("Sam3TrackerModel", Sam3TrackerSegmenter, video=True),
    "sam3_video": _Architecture(
        "Sam3TrackerModel", Sam3TrackerSegmenter, video=True, renames={r"^tracker_model\.": ""}
    ),
}
_REFUSED = {
    "edgetam": "its encoder needs timm, which needs torchvision",
    "edgetam_video": "its encoder needs timm, which needs torchvision",
    "sam3": "this is the text-prompted detector, without the tracker that takes clicks",
}


def load_folder(folder: Path, name: str, options: LoadOptions) -> TransformersModel:
    """Load a folder as `save_pretrained` writes it: config.json with safetensors (or .bin).

    Raises:
        CheckpointError: no or another architecture's config.json, no weights, damaged or unsafe
            weights, tensors that are missing, of the wrong shape, or not part of the model.
    """
    architecture = _architecture(folder)
    if not find_weights(folder):
        raise CheckpointError(
            f"{folder} has a config.json but no complete weights: it needs model.safetensors "
            "(or all the files that model.safetensors.index.json lists)"
        )
    network = load_network(
        folder, architecture.network, video=architecture.video, renames=architecture.renames
    )
    return architecture.segmenter.wrap(network, name, options)


# -- private --------------------------------------------------------------------------------


def model_type(folder: Path) -> str | None:
    """The type that a folder's config.json names.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        named: str | None = config.get("model_type")
    except FileNotFoundError:
        hint = "a model folder holds config.json and model.safetensors"
        if (folder / "adapter_config.json").is_file():
            hint = "this is an adapter: use samadapt.load_adapter"
        raise CheckpointError(f"{folder} has no config.json: {hint}") from None
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({first_line(error)}): download the folder again"
        ) from None
    return named


def _architecture(folder: Path) -> _Architecture:
    kind = model_type(folder)
    if kind in _REFUSED:
        raise CheckpointError(
            f"{folder} holds a {kind!r} model, which cannot be used: {_REFUSED[kind]}"
        )
    if kind not in _ARCHITECTURES:
        supported = ", ".join(_ARCHITECTURES)
        raise CheckpointError(
            f"{folder} holds a model of type {kind!r}, not one of the Segment Anything "
            f"family; supported types: {supported}"
        )
    return _ARCHITECTURES[kind]


def load_network(
    folder: Path,
    network: str,
    *,
    video: bool = False,
    renames: Mapping[str, str] | None = None,
) -> nn.Module:
    """A network of transformers with the weights of a folder; see `load_folder`.

    Args:
        folder: with config.json and weights.
        network: class of transformers.
        video: whether tensors that the network does not have are ignored.
        renames: see `_Architecture`.
    """
    import transformers

    network_class: Any = getattr(transformers, network)
    try:
        with quiet_transformers():
            built, info = network_class.from_pretrained(
                folder,
                local_files_only=True,
                dtype=torch.float32,
                attn_implementation="sdpa",
                # Reported below with the names, instead of raised behind a table in the log.
                ignore_mismatched_sizes=True,
                key_mapping=renames,
                output_loading_info=True,
            )
    except Exception as error:
        raise CheckpointError(
            f"cannot load the weights in {folder} ({first_line(error)}): the files are damaged or "
            "do not belong together; download or save them again"
        ) from None
    _check_complete(folder, built, info, video)
    loaded: nn.Module = built
    if (name := not_finite(loaded.state_dict())) is not None:
        raise CheckpointError(
            f"the weights in {folder} have numbers in {name} that are not finite: they are damaged"
        )
    # Until here the tensors are windows into the file: unaligned, and lost if it is overwritten.
    for tensor in (*loaded.parameters(), *loaded.buffers()):
        tensor.data = tensor.data.clone()
    return loaded


def _check_complete(folder: Path, network: nn.Module, info: Mapping[str, Any], video: bool) -> None:
    missing = set(info["missing_keys"])
    _share_positions(network, missing)
    if missing:
        raise CheckpointError(
            f"the weights in {folder} lack {some(missing)}: the file is incomplete or belongs "
            "to another configuration"
        )
    wrong = [
        f"{name} {tuple(stored)} instead of {tuple(wanted)}"
        for name, stored, wanted in info["mismatched_keys"]
    ]
    if wrong:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config.json: {some(wrong, 'shapes')}"
        )
    if info["unexpected_keys"] and not video:
        raise CheckpointError(
            f"the weights in {folder} hold {some(info['unexpected_keys'])} that the model does "
            "not have: they were made by a changed architecture and would be silently ignored"
        )


def _share_positions(network: nn.Module, missing: set[str]) -> None:
    """Fill one of the two names of the positional embedding from the other, and tick it off."""
    absent = [name for name in _POSITIONS if name in missing]
    if len(absent) != 1:
        return
    state = network.state_dict()
    there = next(name for name in _POSITIONS if name not in missing)
    with torch.no_grad():
        state[absent[0]].copy_(state[there])
    missing.discard(absent[0])
