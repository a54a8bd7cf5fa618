"""`ImageSource`: the images of a benchmark, encoded, with the time it took and what failed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence, Sized
from typing import Any

from samadapt.benchmark.results import SkippedImage
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt


class ImageSource:
    """Encodes a dataset's images for a benchmark and keeps account of it.

    Args:
        dataset: whose images.
        model: that encodes them.
        rows: adapters of every row of the benchmark; each answers one prompt on the first image,
            which nobody sees, so that no time holds one-off costs.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        model: SegmentationModel,
        rows: Iterable[Sequence[Seams]] = ((),),
    ) -> None:
        self._dataset, self._model, self._rows = dataset, model, rows
        self.failures: dict[Id, SkippedImage] = {}
        self._seconds = 0.0
        self._encoded = 0

    def encode(self, image_id: Id) -> ImageEmbedding:
        """The embedding of one image.

        Raises:
            DataError, ImageError: the image is missing or unreadable, or of another size than the
                dataset says.
        """
        pixels = self._dataset.read_image(image_id)
        start = time.perf_counter()
        embedding = self._model.encode(pixels)
        self._seconds += time.perf_counter() - start
        self._encoded += 1
        if self._encoded == 1:
            height, width = embedding.original_size
            for adapters in self._rows:
                self._model.predict(embedding, Prompt([(width / 2, height / 2)]), adapters=adapters)
        return embedding

    def skip(self, image_id: Id, refs: Iterable[ObjectRef], reason: str) -> SkippedImage:
        """Note that an image cannot be used, nor those of the objects that lie on it."""
        skipped = SkippedImage(
            self._dataset.image(image_id).file_name,
            image_id,
            tuple(ref.annotation_id for ref in refs if ref.image_id == image_id),
            reason,
        )
        self.failures[image_id] = skipped
        return skipped

    def check_any(self, rows: Sized, objects: int) -> None:
        """Raise `DataError` with the first reason if no object could be evaluated."""
        if not rows:
            reason = next(iter(self.failures.values())).reason
            raise DataError(f"none of the {objects} objects could be evaluated: {reason}")

    def report(self, started: float) -> dict[str, Any]:
        """Times of a run that began at `started` (`time.perf_counter`), for its JSON."""
        return {
            "seconds": round(time.perf_counter() - started, 3),
            "encode_seconds": round(self._seconds, 3),
            "images_encoded": self._encoded,
        }
