"""`ImageEmbedding`: an encoded image that knows where it comes from and can be saved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from samadapt.data.files import replacing
from samadapt.errors import ModelError
from samadapt.models.geometry import InputGeometry
from samadapt.models.hashing import hash_tensors

_CHECKSUM = "sha256"
_FORMAT = "samadapt-embedding-3"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Identity of a model's weights: its name and a SHA-256 over its tensors."""

    name: str
    weights_hash: str

    def __str__(self) -> str:
        return f"{self.name} ({self.weights_hash[:12]})"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ImageEmbedding:
    """One encoded image. Immutable; safe to share between threads and people.

    Attributes:
        features: named float32 tensors (1, C, h, w); "image" is the one the decoder attends to. A
            model with close-ups also keeps the pixels that they are cut from, uint8 (1, H, W, 3).
        geometry: original, resized and padded sizes, and the window that a close-up shows.
        model: identity of the model that encoded it.
        preprocessing: name and version of the preprocessing.
    """

    features: Mapping[str, Tensor] = field(repr=False)
    geometry: InputGeometry
    model: ModelIdentity
    preprocessing: str

    def __post_init__(self) -> None:
        if "image" not in self.features:
            raise ModelError("an image embedding needs a tensor named 'image'")
        frozen = {name: tensor.detach() for name, tensor in self.features.items()}
        object.__setattr__(self, "features", MappingProxyType(frozen))

    @property
    def image(self) -> Tensor:
        """The image features the decoder attends to, (1, C, h, w)."""
        return self.features["image"]

    @property
    def pixels(self) -> Tensor | None:
        """The image's pixels (1, H, W, 3) uint8 for close-ups; None if the model keeps none."""
        return self.features.get("pixels")

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of `image`."""
        return self.image.shape[-2], self.image.shape[-1]

    @property
    def original_size(self) -> tuple[int, int]:
        """(height, width) of the image with its EXIF orientation applied."""
        return self.geometry.original

    @property
    def nbytes(self) -> int:
        """Memory of all tensors, in bytes."""
        return sum(t.numel() * t.element_size() for t in self.features.values())

    def to(self, device: torch.device | str) -> ImageEmbedding:
        """Return the embedding on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.features.items()}
        return ImageEmbedding(moved, self.geometry, self.model, self.preprocessing)

    def save(self, path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
        """Write a safetensors file, atomically.

        Args:
            path: the file; its folder must exist.
            dtype: store tensors in this type (half the size with float16); None keeps them exact.

        Raises:
            DataError: the folder is missing or cannot be written to.
        """
        tensors = {name: _stored(tensor.cpu(), dtype) for name, tensor in self.features.items()}
        meta = {
            "format": _FORMAT,
            "model": self.model.name,
            "weights_hash": self.model.weights_hash,
            "preprocessing": self.preprocessing,
            "geometry": json.dumps(astuple(self.geometry)),
            _CHECKSUM: hash_tensors(tensors),
        }
        with replacing(path) as file:
            file.write(save(tensors, metadata=meta))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: torch.device | str = "cpu"
    ) -> ImageEmbedding:
        """Read a file that `save` wrote; features are float32.

        Raises:
            ModelError: not an embedding file, or a damaged one.
        """
        try:
            with safe_open(str(path), framework="pt", device=str(device)) as file:
                meta = file.metadata() or {}
                if meta.get("format") != _FORMAT:
                    raise ModelError(f"{path} is not a samadapt embedding: encode the image again")
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if hash_tensors(stored) != meta[_CHECKSUM]:
                    raise ModelError(f"{path} is damaged: encode the image again")
                features = {name: _plain(tensor) for name, tensor in stored.items()}
                original, resized, padded, window = json.loads(meta["geometry"])
                geometry = InputGeometry(
                    tuple(original), tuple(resized), tuple(padded), window and tuple(window)
                )
                identity = ModelIdentity(meta["model"], meta["weights_hash"])
                preprocessing = meta["preprocessing"]
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"cannot read the embedding {path} ({error}): encode the image again"
            ) from None
        return cls(features, geometry, identity, preprocessing)


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    keeps = dtype is None or not tensor.is_floating_point()
    return (tensor if keeps else tensor.to(dtype)).contiguous()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
