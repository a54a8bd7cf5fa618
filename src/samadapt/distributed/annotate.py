"""`AnnotateWork`: workers find all objects in images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import create_adapter
from samadapt.adapters.tasks import Tasks
from samadapt.data.images import read_image
from samadapt.data.rle import Rle
from samadapt.data.tiled import TiledImage
from samadapt.data.tiled.fingerprint import fingerprint
from samadapt.data.tiled.image import is_huge
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import AdapterError, ImageError, SamadaptError, first_line
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.windows import propose_in_windows
from samadapt.session.images import hash_pixels

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | NDArray[np.uint8]
EVERYTHING = "object"
"""Label of objects found without a task."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object that was found.

    Attributes:
        label: the task's name, or `EVERYTHING`.
        rle: its mask.
        score: 0..1.
        point: (x, y) that it was found from.
    """

    label: str
    rle: Rle
    score: float
    point: tuple[float, float]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """Result for one image.

    Attributes:
        size: (H, W); None if the image could not be read.
        objects: of all tasks, in the order of the tasks, the best first.
        problem: reason why the image could not be used, None if it was.
        content_hash: of its pixels, if known.
    """

    size: tuple[int, int] | None
    objects: tuple[FoundObject, ...] = ()
    problem: str | None = None
    content_hash: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for `from_dict`."""
        return {
            "size": self.size,
            "content_hash": self.content_hash,
            "objects": [
                {
                    "label": one.label,
                    "counts": one.rle.to_coco()["counts"],
                    "score": one.score,
                    "point": one.point,
                }
                for one in self.objects
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read values that `to_dict` returned, of an image that could be used."""
        height, width = values["size"]
        objects = tuple(
            FoundObject(
                one["label"],
                Rle.from_coco({"size": [height, width], "counts": one["counts"]}, (height, width)),
                one["score"],
                (one["point"][0], one["point"][1]),
            )
            for one in values["objects"]
        )
        return cls((height, width), objects, content_hash=values.get("content_hash"))


@dataclass(frozen=True, slots=True)
class AnnotateWork:
    """Find all objects in batches of images.

    Attributes:
        model: the model.
        tasks: adapters that were taught a task each; without any, all objects are searched for.
        adapters: others, applied before the task's adapter.
        options: of the search.
    """

    model: WorkerModel
    tasks: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    options: ProposalOptions = field(default_factory=ProposalOptions)

    def start(self) -> Callable[[Sequence[ImageInput]], list[FoundImage]]:
        """Load model and adapters.

        Raises:
            AdapterError, ModelError: they are missing on this machine, or do not fit each other.
        """
        model = self.model.load()
        try:
            return ImageAnnotator(model, self.tasks, self.adapters, self.options).find
        except AdapterError as error:
            raise AdapterError(f"a worker cannot load an adapter: {error}") from None


class ImageAnnotator:
    """Finds all objects of all tasks in images, and encodes each image once.

    Args:
        model: the model.
        tasks: see `AnnotateWork`.
        adapters: see `AnnotateWork`.
        options: of the search.

    Raises:
        AdapterError: an adapter that cannot be loaded, is of another model, or has no task.
    """

    def __init__(
        self,
        model: SegmentationModel,
        tasks: Sequence[str] = (),
        adapters: Sequence[str] = (),
        options: ProposalOptions | None = None,
    ) -> None:
        self._model, self._options = model, options or ProposalOptions()
        others = [create_adapter(spec, model) for spec in adapters]
        learned = Tasks(model, *tasks)
        self.named_adapters: dict[str, Adapter] = {
            **dict(zip(adapters, others, strict=True)),
            **{f"task {name}": learned[name] for name in learned},
        }
        """All adapters, those of tasks by the task's name."""
        self._rows: dict[str, list[Adapter]] = {
            name: [*others, learned[name]] for name in learned
        } or {EVERYTHING: others}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the objects that can be found."""
        return tuple(self._rows)

    def find(self, images: Sequence[ImageInput]) -> list[FoundImage]:
        """Find the objects of each image; an unusable image is reported as its `problem`.

        Files that are larger than memory are searched in windows.
        """
        pixels, hashes = list[NDArray[np.uint8]](), list[str]()
        done = dict[int, FoundImage]()
        for index, image in enumerate(images):
            try:
                if isinstance(image, str | os.PathLike) and is_huge(image):
                    done[index] = self._searched_in_windows(image)
                else:
                    pixels.append(read_image(_opened(image)))
                    hashes.append(hash_pixels(pixels[-1]))
            except SamadaptError as error:
                done[index] = FoundImage(None, problem=str(error))
        embedded = zip(self._model.encode_several(pixels), hashes, strict=True)
        return [
            done[index] if index in done else self._searched(*next(embedded))
            for index in range(len(images))
        ]

    def _searched(self, embedding: ImageEmbedding, content: str) -> FoundImage:
        def search(adapters: Sequence[Adapter]) -> Sequence[Proposal]:
            return propose(self._model, embedding, adapters, self._options)

        return replace(self._found(embedding.original_size, search), content_hash=content)

    def _searched_in_windows(self, image: str | os.PathLike[str]) -> FoundImage:
        with TiledImage.open(image) as tiled:

            def search(adapters: Sequence[Adapter]) -> Sequence[Proposal]:
                return propose_in_windows(self._model, tiled, adapters, self._options)

            found = self._found(tiled.size, search)
        return replace(found, content_hash=fingerprint(Path(image)))

    def _found(
        self, size: tuple[int, int], search: Callable[[Sequence[Adapter]], Sequence[Proposal]]
    ) -> FoundImage:
        try:
            objects = tuple(
                FoundObject(label, one.rle, round(one.score, 6), one.point)
                for label, adapters in self._rows.items()
                for one in search(adapters)
            )
        except (MemoryError, RuntimeError) as error:  # torch raises the latter for full memory
            return FoundImage(None, problem=f"could not be searched ({first_line(error)})")
        return FoundImage(size, objects)


def _opened(image: ImageInput) -> Any:
    """Return an argument of `read_image`: encoded bytes become a PIL image."""
    if not isinstance(image, bytes | bytearray | memoryview):
        return image
    from PIL import Image

    try:
        opened = Image.open(BytesIO(image))
        opened.load()
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes provoke.
        raise ImageError(f"{len(image)} bytes are no image that can be read ({error})") from None
    return opened
