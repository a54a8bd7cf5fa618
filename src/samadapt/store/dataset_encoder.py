"""`encode_through` and `DatasetEncoder`: encode images, or read embeddings from the cache."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id
from samadapt.errors import ImageError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.session.images import hash_pixels
from samadapt.store.embeddings import EmbeddingStore


@dataclass(frozen=True, slots=True)
class Encoded:
    """An embedding and its origin.

    Attributes:
        embedding: of the image.
        content: hash of the image's pixels, its key in the store.
        origin: "found" in the store, "stored" there after encoding, or "unstored".
        seconds: of encoding.
    """

    embedding: ImageEmbedding
    content: str
    origin: Literal["found", "stored", "unstored"]
    seconds: float = 0.0


def encode_through(
    store: EmbeddingStore, model: SegmentationModel, pixels: NDArray[np.uint8]
) -> Encoded:
    """Return the embedding of RGB pixels (H, W, 3) from the store, or encode and keep it."""
    content = hash_pixels(pixels)
    if (found := store.get(model, content)) is not None:
        return Encoded(_laid_out(found), content, "found")
    started = time.perf_counter()
    made = model.encode(pixels)
    seconds = time.perf_counter() - started
    origin: Literal["stored", "unstored"] = (
        "stored" if store.put(model, content, made) else "unstored"
    )
    return Encoded(_laid_out(made), content, origin, seconds)


class DatasetEncoder:
    """Encodes images of datasets, or reads their embeddings from a store.

    Args:
        model: encodes.
        store: embeddings on the disk; one of limit 0 keeps none.
    """

    def __init__(self, model: SegmentationModel, store: EmbeddingStore) -> None:
        self._model, self._store = model, store
        self._contents: dict[tuple[Path, int, int], str] = {}
        self.encoded = 0
        """Number of images that were encoded rather than read from the store."""
        self.seconds = 0.0
        """Time of encoding."""

    def __call__(self, dataset: CocoDataset, image_id: Id) -> ImageEmbedding:
        """Return the embedding of one image.

        Raises:
            DataError, ImageError: the image is missing or unreadable, or its size differs from
                the dataset's.
        """
        path = dataset.image_path(image_id)
        try:
            state = path.stat()
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror or error})") from None
        file = path, state.st_size, state.st_mtime_ns
        if (content := self._contents.get(file)) is not None:
            found = self._store.get(self._model, content)
            if found is not None:
                return _laid_out(found)
        result = encode_through(self._store, self._model, dataset.read_image(image_id))
        self._contents[file] = result.content
        if result.origin != "found":
            self.seconds += result.seconds
            self.encoded += 1
            if self._store.problem and self._store.limit:
                message = f"embeddings are not kept on the disk: {self._store.problem}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
                self._store.limit = 0
        return result.embedding


def _laid_out(embedding: ImageEmbedding) -> ImageEmbedding:
    """Return the embedding in a fixed memory format.

    Convolutions round differently in other formats, and results must not depend on the cache.
    """
    features = {
        name: tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4 and tensor.is_floating_point()
        else tensor
        for name, tensor in embedding.features.items()
    }
    return ImageEmbedding(features, embedding.geometry, embedding.model, embedding.preprocessing)
