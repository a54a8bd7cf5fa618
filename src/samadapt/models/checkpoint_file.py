"""Reading of checkpoint files: named tensors in .pt, .pth or .safetensors."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samadapt.errors import CheckpointError, first_line
from samadapt.models.hashing import not_finite

Shapes = Mapping[str, tuple[int, ...]]

_WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict")
_IGNORED = {
    "decoder_state": "micro-sam's decoder for automatic instance segmentation",
}
"""Other networks that a file may hold beside the model, by the key they are saved under."""
_DEPTH = 3
_ANCHOR = re.compile(r"(?:^|\.)(?=image_encoder\.)")
_PIXELS = {"pixel_mean": (123.675, 116.28, 103.53), "pixel_std": (58.395, 57.12, 57.375)}
_NOT_TENSORS = re.compile(r"GLOBAL|Can only (create|build)")
"""Error texts of torch's reader for objects that it refuses to run or construct."""
_FOREIGN = (
    (
        "tracker.",
        "an original SAM 3 checkpoint",
        'load the converted one instead, "facebook/sam3"',
    ),
    (
        "image_encoder.blocks.0.mlp.fc1.",
        "an EfficientSAM checkpoint",
        "it takes neither background clicks nor earlier masks; of the small models mobile_sam.pt "
        "and edgetam.pt do",
    ),
    (
        "vision_encoder.",
        "a checkpoint with the tensor names of transformers",
        "save it with save_pretrained() and give the folder",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The named tensors of a file.

    Attributes:
        path: the file.
        tensors: by the names of the model's own repository, without prefixes of wrappers.
        ignored: descriptions of other parts of the file, which are not loaded.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    ignored: tuple[str, ...] = ()

    @property
    def shapes(self) -> Shapes:
        """The shape of each tensor."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def has(self, prefix: str) -> bool:
        """Whether any tensor's name begins with this prefix."""
        return any(name.startswith(prefix) for name in self.tensors)

    def tell_ignored(self) -> None:
        """Warn about parts of the file that are not used."""
        for what in self.ignored:
            warnings.warn(f"{self.path}: {what} is not used and not loaded", stacklevel=2)

    def check_finite(self) -> None:
        """Raise `CheckpointError` on numbers that are NaN or infinite."""
        if (broken := not_finite(self.tensors)) is not None:
            raise CheckpointError(
                f"{self.path} has numbers in {broken} that are not finite: it is damaged"
            )


def read_checkpoint(path: Path, *, mapped: bool = False) -> Checkpoint:
    """The named tensors of a file; nothing in it is ever executed.

    They may lie in {"model": ...}, {"state_dict": ...} or micro-sam's {"model_state": ...}, and
    their names may begin with the prefix of a wrapper ("module.", "sam.", "model.", ...).

    Args:
        path: the file.
        mapped: leave the numbers on the disk, for callers that need only names and shapes.

    Raises:
        CheckpointError: damaged, not a checkpoint, or with objects other than tensors.
    """
    content: Any = _read(path, mapped)
    ignored: list[str] = []
    for _ in range(_DEPTH):
        inner = [key for key in _WRAPPERS if _is_wrapper(content, key)]
        if not inner:
            break
        ignored += [what for key, what in _IGNORED.items() if key in content]
        content = content[inner[0]]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds no named tensors: save the model's state_dict()")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds more than named tensors ({str(name)[:60]!r}): save the model's "
                "state_dict() alone"
            )
    return Checkpoint(path, _own_tensors(_without_prefix(content, path)), tuple(ignored))


def unknown_checkpoint(checkpoint: Checkpoint) -> CheckpointError:
    """The error for a file that no family recognises."""
    path = checkpoint.path
    for prefix, what, remedy in _FOREIGN:
        if checkpoint.has(prefix):
            return CheckpointError(f"{path} is {what}: {remedy}")
    begins = ", ".join(list(checkpoint.tensors)[:3])
    return CheckpointError(
        f"{path} is not a SAM checkpoint (it begins with {begins}), nor one of the other models "
        "that `samadapt models` lists: give one of those"
    )


def some(names: Iterable[str], what: str = "tensors") -> str:
    """How many, and the first few of them, for a message."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:3])
    return f"{len(ordered)} {what} ({shown}{', ...' if len(ordered) > 3 else ''})"


# -- private --------------------------------------------------------------------------------


def _read(path: Path, mapped: bool) -> object:
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path} is a graph, not a checkpoint: give the folder that `samadapt export-model` "
            "wrote it into"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mapped = mapped and zipfile.is_zipfile(path)  # torch's older format cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if _NOT_TENSORS.search(str(error)):
            raise CheckpointError(
                f"{path} holds Python objects besides tensors and could run code when opened, so "
                "it is refused: save the model's state_dict() alone"
            ) from None
        raise CheckpointError(_damaged(path, error)) from None
    except Exception as error:
        raise CheckpointError(_damaged(path, error)) from None


def _is_wrapper(content: object, key: str) -> bool:
    return isinstance(content, dict) and isinstance(content.get(key), dict)


def _without_prefix(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Remove the prefix before "image_encoder." from all names."""
    found = next((match for name in tensors if (match := _ANCHOR.search(name))), None)
    prefix = found.string[: found.end()] if found else "module."
    if not prefix:
        return dict(tensors)
    others = [name for name in tensors if not name.startswith(prefix)]
    if found and others:
        raise CheckpointError(
            f"{path} holds a model under {prefix!r} and {some(others)} beside it: save that "
            "model's state_dict() alone"
        )
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _own_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the mean and deviation of colours, which some forks save and all SAMs share."""
    for name, values in _PIXELS.items():
        stored = tensors.get(name)
        if stored is not None and stored.numel() == 3:
            expected = torch.tensor(values)
            if torch.allclose(stored.flatten().float(), expected, atol=1e-2):
                del tensors[name]
    return tensors


def _damaged(path: Path, error: BaseException) -> str:
    if isinstance(error, pickle.UnpicklingError):  # its text speaks of PyTorch's own options
        return (
            f"{path} cannot be read as a PyTorch checkpoint: it is damaged, cut off, of another "
            "format, or a pickle that could run code when opened, which is refused; download it "
            "again"
        )
    return (
        f"{path} cannot be read as a PyTorch checkpoint ({first_line(error)[:120]}): it is "
        "damaged, cut off or of another format; download it again"
    )
