"""The interactive benchmark: a robot annotates real objects, click by click."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import create_adapter, method_names
from samadapt.benchmark.cache import EmbeddingCache
from samadapt.benchmark.encoding import ImageSource
from samadapt.benchmark.environment import describe_environment
from samadapt.benchmark.results import InteractiveResult, ObjectResult, SkippedImage
from samadapt.benchmark.rows import object_row
from samadapt.benchmark.summary import intervals, summarise
from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.errors import DataError, ImageError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.options import SessionOptions
from samadapt.session.robot import ClickProtocol, annotate_object
from samadapt.session.session import Session

Order: TypeAlias = Literal["random", "file", "image"]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the objects done so far, and all of them."""
SessionMaker: TypeAlias = Callable[[SegmentationModel, Sequence[Seams], SessionOptions], Session]
"""Makes the session that the robot works in."""

PROTOCOL = ClickProtocol(max_clicks=30, targets=(0.85, 0.90))
"""30 clicks and a stop at IoU 0.90: from one such run follow all numbers of the summary."""


def plain_session(
    model: SegmentationModel, adapters: Sequence[Seams], options: SessionOptions
) -> Session:
    """The session that people use."""
    return Session(model, adapters, options=options)


def run_interactive(
    dataset: CocoDataset,
    model: SegmentationModel,
    protocol: ClickProtocol = PROTOCOL,
    adapters: Sequence[str | Seams] = (),
    *,
    max_objects: int | None = None,
    seed: int = 0,
    order: Order = "random",
    categories: Sequence[str] | None = None,
    min_area: int = 1,
    progress: Progress | None = None,
    on_skip: Callable[[SkippedImage], None] | None = None,
    command: Sequence[str] | None = None,
    cache_bytes: int = 1 << 30,
    make_session: SessionMaker = plain_session,
) -> InteractiveResult:
    """Annotate the objects of `dataset` with the robot and report how that went.

    Adapters given by name are fresh at the start, and seeded. Those that learn do so through the
    whole run, object after object in the order of visits. Where nothing learns, the order of work
    cannot change a result, so objects are worked on image by image and every image is encoded
    once; the rows keep the order of visits either way.

    The robot's random choices for an object depend on the seed and the object's place in the
    file only, so a run of fewer objects is a part of the run of all.

    An image that turns out to be unreadable, or not to fit its masks, is skipped and reported.

    Args:
        dataset: images and reference masks.
        model: answers the clicks.
        protocol: how the robot clicks.
        adapters: names as `create_adapter` takes them, or adapters as they are.
        max_objects: at most this many, the first ones in the order of visits; None for all.
        seed: of the order, of the robot's own random choices, and of new adapters.
        order: "random" visits objects in an order that depends on the seed alone, "file" in that
            of the annotation file, "image" all objects of one image before those of the next,
            both in an order that depends on the seed alone.
        categories: names of those to evaluate; None for all. Crowds never are.
        min_area: smallest number of pixels of an object.
        progress: told after every object.
        on_skip: told of every image that is skipped.
        command: what to record as the command line; `sys.argv` when left out.
        cache_bytes: memory for embeddings while adapters learn and images come back.
        make_session: to put a session of another kind between the robot and the model.

    Raises:
        DataError: no object, a missing image file, a broken mask, or nothing could be evaluated.
        AdapterError: an unknown adapter, or one made for another model.
    """
    chosen = None if categories is None else tuple(categories)
    selection = _Selection(max_objects, seed, order, chosen, min_area)
    started = time.perf_counter()
    objects = selection.objects(dataset)
    attached = _attach(adapters, model, seed)
    learns = any(seam.learns_in_session for _, seam in attached)
    session = make_session(model, [seam for _, seam in attached], protocol.session_options)
    cache = EmbeddingCache(cache_bytes if learns else 0)
    run = _Run(dataset, objects, session, protocol, seed, cache)
    try:
        rows = run.annotate_all(objects if learns else _by_image(objects), progress, on_skip)
    finally:
        _close(s for (_, s), given in zip(attached, adapters, strict=True) if s is not given)
    run.source.check_any(rows, len(objects))
    ordered = tuple(rows[ref.annotation_id] for ref in objects if ref.annotation_id in rows)
    curves = [row.curve for row in ordered]
    limits = protocol.max_clicks, protocol.content_at
    return InteractiveResult(
        environment=describe_environment(model, attached, command),
        protocol=_describe(dataset, protocol, selection),
        summary=summarise(curves, *limits),
        intervals=intervals(curves, *limits, seed=seed),
        objects=ordered,
        skipped=tuple(run.source.failures.values()),
        timing=run.source.report(started),
    )


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which objects are evaluated, and in which order; see `run_interactive`."""

    max_objects: int | None
    seed: int
    order: Order
    categories: tuple[str, ...] | None
    min_area: int

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise DataError(f"order {self.order!r}: use 'random', 'file' or 'image'")
        if self.max_objects is not None and self.max_objects < 1:
            raise DataError(f"max_objects {self.max_objects}: ask for at least one object")
        if self.seed < 0:
            raise DataError(f"seed {self.seed}: use 0 or more")
        if self.min_area < 1:
            raise DataError(f"min_area {self.min_area}: an object has at least one pixel")

    def objects(self, dataset: CocoDataset) -> tuple[ObjectRef, ...]:
        """The objects in the order of visits; `DataError` if none, or without image files."""
        by_image = self.order == "image"
        found = dataset.objects(
            categories=self.categories,
            min_area=self.min_area,
            max_objects=None if by_image else self.max_objects,
            seed=None if self.order == "file" else self.seed,
        )
        if by_image:
            found = tuple(_by_image(found))[: self.max_objects]
        return checked_objects(dataset, found)


def checked_objects(dataset: CocoDataset, found: tuple[ObjectRef, ...]) -> tuple[ObjectRef, ...]:
    """The objects themselves; `DataError` if there are none, or an image file is missing."""
    if not found:
        raise DataError(
            f"{dataset.source} has no object to evaluate: check the filters, and that its "
            "annotations have masks"
        )
    for image_id in dict.fromkeys(ref.image_id for ref in found):
        dataset.image_path(image_id)
    return found


class _Run:
    """The robot at work on one dataset, image after image."""

    def __init__(
        self,
        dataset: CocoDataset,
        objects: Sequence[ObjectRef],
        session: Session,
        protocol: ClickProtocol,
        seed: int,
        cache: EmbeddingCache,
    ) -> None:
        self._dataset = dataset
        self._objects = objects
        self._session = session
        self._protocol = protocol
        self._seed = seed
        self._cache = cache
        self._place = {a.id: index for index, a in enumerate(dataset.annotations)}
        self.source = ImageSource(dataset, session.model)

    def annotate_all(
        self,
        objects: Iterable[ObjectRef],
        progress: Progress | None,
        on_skip: Callable[[SkippedImage], None] | None,
    ) -> dict[Id, ObjectResult]:
        """Annotate objects in this order; the rows by annotation."""
        rows: dict[Id, ObjectResult] = {}
        for done, ref in enumerate(objects, 1):
            if ref.image_id not in self.source.failures:
                row = self._annotate(ref)
                if isinstance(row, ObjectResult):
                    rows[ref.annotation_id] = row
                elif on_skip is not None:
                    on_skip(row)
            if progress is not None:
                progress(done, len(self._objects))
        return rows

    def _annotate(self, ref: ObjectRef) -> ObjectResult | SkippedImage:
        """Annotate one object, or say why its image cannot be used."""
        try:
            embedding = self._cache.get(ref.image_id, lambda: self.source.encode(ref.image_id))
        except (ImageError, DataError) as error:
            return self.source.skip(ref.image_id, self._objects, str(error))
        trace = annotate_object(
            self._session,
            embedding,
            self._dataset.mask(ref.annotation_id),
            self._protocol,
            np.random.default_rng([self._seed, self._place[ref.annotation_id]]),
            label=ref.category,
        )
        return object_row(self._dataset, ref, trace)


def seeded_adapter(spec: str, model: SegmentationModel, seed: int) -> Adapter:
    """An adapter by name; a new one of a method whose config has a `seed` is given this one.

    Raises:
        AdapterError: an unknown adapter, or one made for another model.
    """
    adapter = create_adapter(spec)
    if spec.partition(":")[0] in method_names():
        adapter = type(adapter)(adapter.config.seeded(seed))
    adapter.bind(model)
    return adapter


def _attach(
    adapters: Sequence[str | Seams], model: SegmentationModel, seed: int
) -> list[tuple[str, Seams]]:
    """Adapters with what they are called; those given by name are made here."""
    found: list[tuple[str, Seams]] = []
    for given in adapters:
        if isinstance(given, str):
            found.append((given, seeded_adapter(given, model, seed)))
        else:
            found.append((given.title, given))
    return found


def _close(adapters: Iterable[Seams]) -> None:
    """Let adapters that nobody else has release their threads and temporary files."""
    for adapter in adapters:
        adapter.close()


def _by_image(objects: Iterable[ObjectRef]) -> list[ObjectRef]:
    """All objects of the first image, then those of the next one, ..."""
    groups: dict[Id, list[ObjectRef]] = {}
    for ref in objects:
        groups.setdefault(ref.image_id, []).append(ref)
    return [ref for group in groups.values() for ref in group]


def _describe(
    dataset: CocoDataset, protocol: ClickProtocol, selection: _Selection
) -> dict[str, Any]:
    return {
        **asdict(protocol),
        "targets": list(protocol.targets),
        "stop_at": protocol.content_at,
        "seed": selection.seed,
        "order": selection.order,
        "max_objects": selection.max_objects,
        "filters": {
            "categories": None if selection.categories is None else list(selection.categories),
            "min_area": selection.min_area,
            "crowd": False,
        },
        "dataset": describe_dataset(dataset),
    }


def describe_dataset(dataset: CocoDataset) -> dict[str, Any]:
    """Which files, with the hash of the masks, as plain JSON values."""
    return {
        "images": None if dataset.folder is None else str(dataset.folder),
        "masks": dataset.source,
        "sha256": hash_files(Path(dataset.source)),
        "image_count": len(dataset.images),
        "annotation_count": len(dataset.annotations),
        "category_count": len(dataset.categories),
    }


def hash_files(path: Path) -> str | None:
    """SHA-256 of a file, or over the names and contents of all files below a folder.

    None when there is no such file or folder.
    """
    if path.is_file():
        return _digest([path], None)
    if path.is_dir():
        return _digest(sorted(file for file in path.rglob("*") if file.is_file()), path)
    return None


def _digest(files: Iterable[Path], root: Path | None) -> str:
    digest = hashlib.sha256()
    for file in files:
        if root is not None:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
