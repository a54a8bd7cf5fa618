"""`DatasetEncoder`: embeddings of a dataset's images, from the cache where they are there."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import torch

from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id
from samadapt.errors import ImageError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.session.images import hash_pixels
from samadapt.store.embeddings import EmbeddingStore


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
        """Number of images that were encoded rather than found."""
        self.seconds = 0.0
        """Time that the encoder took."""

    def __call__(self, dataset: CocoDataset, image_id: Id) -> ImageEmbedding:
        """Return the embedding of one image.

        Raises:
            DataError, ImageError: the image is missing or unreadable, or of another size than the
                dataset says.
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
        pixels = dataset.read_image(image_id)
        content = self._contents[file] = hash_pixels(pixels)
        found = self._store.get(self._model, content)
        if found is None:
            started = time.perf_counter()
            found = self._model.encode(pixels)
            self.seconds += time.perf_counter() - started
            self.encoded += 1
            self._store.put(self._model, content, found)
            if self._store.problem and self._store.limit:
                message = f"embeddings are not kept on the disk: {self._store.problem}"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
                self._store.limit = 0
        return _laid_out(found)


def _laid_out(embedding: ImageEmbedding) -> ImageEmbedding:
    """Return the same numbers in one memory format, be they encoded or read.

    Convolutions round differently in other formats, and no result shall depend on what was found
    in the cache.
    """
    features = {
        name: tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4 and tensor.is_floating_point()
        else tensor
        for name, tensor in embedding.features.items()
    }
    return ImageEmbedding(features, embedding.geometry, embedding.model, embedding.preprocessing)
