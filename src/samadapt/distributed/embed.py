"""`EmbedWork`: workers encode images into the cache of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from samadapt.data.images import read_image
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError, ImageError
from samadapt.models.base import SegmentationModel
from samadapt.store.dataset_encoder import encode_through
from samadapt.store.embeddings import EmbeddingStore


@dataclass(frozen=True, slots=True)
class Embedded:
    """Outcome for one image; its embedding stays with the worker.

    Attributes:
        outcome: "encoded", or "known" if it was in the cache.
        problem: reason why the image could not be read, None if it could.
    """

    outcome: Literal["encoded", "known", "unreadable"]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class EmbedWork:
    """Encode images and keep them in a folder that workers of one machine share.

    Attributes:
        model: encodes the images.
        store: the cache; on a cluster its folder is on each machine, or shared.
    """

    model: WorkerModel
    store: EmbeddingStore

    def start(self) -> Callable[[Sequence[Path]], list[Embedded]]:
        """Load the model.

        Raises:
            ModelError: it is missing here.
        """
        model = self.model.load()
        return lambda paths: [embed_one(model, self.store, path) for path in paths]


def embed_one(model: SegmentationModel, store: EmbeddingStore, path: Path) -> Embedded:
    """Encode one image unless its embedding is in the cache.

    Raises:
        DataError: the embedding cannot be written.
    """
    try:
        pixels = read_image(path)
    except ImageError as error:
        return Embedded("unreadable", str(error))
    origin = encode_through(store, model, pixels).origin
    if origin == "unstored":
        raise DataError(
            f"{store.folder} cannot be written: free some space, or set SAMADAPT_CACHE to "
            "another folder"
        )
    return Embedded("known" if origin == "found" else "encoded")
