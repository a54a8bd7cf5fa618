"""Visits of a benchmark's objects, and the embeddings of their images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from samadapt.benchmark.cache import EmbeddingCache
from samadapt.benchmark.options import Progress
from samadapt.benchmark.results import SkippedImage
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.errors import DataError, ImageError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.store.dataset_encoder import DatasetEncoder
from samadapt.store.embeddings import EmbeddingStore

T = TypeVar("T")


class ObjectVisits(Generic[T]):
    """Visits the objects of a benchmark and skips objects on unusable images.

    Args:
        dataset: of the objects.
        objects: to be visited, in order.
        read: returns the benchmark's input for an image, such as its embedding.
    """

    def __init__(
        self, dataset: CocoDataset, objects: Sequence[ObjectRef], read: Callable[[Id], T]
    ) -> None:
        self._dataset, self._objects, self._read = dataset, objects, read
        self._index = {a.id: index for index, a in enumerate(dataset.annotations)}
        self._skipped: dict[Id, SkippedImage] = {}

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Return the images that could not be used so far."""
        return tuple(self._skipped.values())

    def index(self, ref: ObjectRef) -> int:
        """Return the position of an object in the file, which seeds its random choices."""
        return self._index[ref.annotation_id]

    def visit(
        self, order: Iterable[ObjectRef], progress: Progress | None = None
    ) -> Iterator[tuple[ObjectRef, T]]:
        """Yield each object with its image; `progress` is called after every object."""
        for done, ref in enumerate(order, 1):
            if ref.image_id not in self._skipped:
                try:
                    image = self._read(ref.image_id)
                except (ImageError, DataError) as error:
                    self._skip(ref.image_id, str(error))
                else:
                    yield ref, image
            if progress is not None:
                progress(done, len(self._objects))

    def _skip(self, image_id: Id, reason: str) -> None:
        self._skipped[image_id] = SkippedImage(
            self._dataset.image(image_id).file_name,
            image_id,
            tuple(ref.annotation_id for ref in self._objects if ref.image_id == image_id),
            reason,
        )


class ImageEncoder:
    """Encodes the images of a dataset, keeps the latest embeddings and counts the time.

    Args:
        dataset: of the images.
        model: encodes them.
        adapters: one sequence per row of the benchmark's table. Each is warmed up with one prompt
            on the first image, so that no measured time includes one-off costs.
        cache_bytes: memory for embeddings of images that are visited again.
        store: embeddings on the disk; None encodes every image again.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        model: SegmentationModel,
        adapters: Iterable[Sequence[Seams]] = ((),),
        cache_bytes: int = 0,
        store: EmbeddingStore | None = None,
    ) -> None:
        self._dataset, self._model, self._adapters = dataset, model, adapters
        self._encoder = DatasetEncoder(model, store or EmbeddingStore(limit=0))
        self._cache = EmbeddingCache(cache_bytes)
        self._started = time.perf_counter()
        self._is_first = True

    def __call__(self, image_id: Id) -> ImageEmbedding:
        """Return the embedding of one image.

        Raises:
            DataError, ImageError: the image is missing or unreadable, or its size differs from
                the dataset's.
        """
        return self._cache.get(image_id, lambda: self._encode(image_id))

    def timing(self) -> dict[str, float | int]:
        """Return the total seconds and the seconds of encoding, for the JSON."""
        return {
            "seconds": round(time.perf_counter() - self._started, 3),
            "encode_seconds": round(self._encoder.seconds, 3),
            "images_encoded": self._encoder.encoded,
        }

    def _encode(self, image_id: Id) -> ImageEmbedding:
        embedding = self._encoder(self._dataset, image_id)
        if self._is_first:
            self._is_first = False
            height, width = embedding.original_size
            for adapters in self._adapters:
                self._model.predict(embedding, Prompt([(width / 2, height / 2)]), adapters=adapters)
        return embedding
