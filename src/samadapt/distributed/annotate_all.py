"""`annotate_all`: finds all objects of all images on any engine, and resumes killed runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from samadapt.data.images import natural_key
from samadapt.data.stacks.address import file_of
from samadapt.data.text import is_text
from samadapt.distributed.annotate import AnnotateWork, FoundImage, ImageInput
from samadapt.distributed.engine import Engine, in_batches
from samadapt.distributed.images import ImageList
from samadapt.distributed.journal import RunJournal

Progress: TypeAlias = Callable[[int, int], None]
Stamp: TypeAlias = list[int]
"""Bytes and time of modification of a file, in nanoseconds; empty if it is not there."""


@dataclass(frozen=True, slots=True)
class AnnotatedImages:
    """Result of a run.

    Attributes:
        finished: names of images that were searched, in order.
        known: number of them that an earlier run had finished.
        failed: name and reason of the others, and of subfolders that could not be read, in order.
    """

    finished: tuple[str, ...]
    known: int
    failed: tuple[tuple[str, str], ...]
    _journal: RunJournal = field(repr=False)

    def results(self) -> Iterator[tuple[str, FoundImage]]:
        """Name and objects of every finished image, in order."""
        for name in self.finished:
            yield name, FoundImage.from_dict(self._journal.get(name))


@dataclass(frozen=True, slots=True)
class _Batches:
    """`AnnotateWork` on names below a folder; results come with their names."""

    work: AnnotateWork
    root: Path

    def start(self) -> Callable[[Sequence[str]], list[tuple[str, Stamp, FoundImage]]]:
        return partial(_find, self.work.start(), self.root)


def annotate_all(
    images: ImageList,
    work: AnnotateWork,
    engine: Engine,
    journal: RunJournal,
    batch: int = 4,
    progress: Progress | None = None,
) -> AnnotatedImages:
    """Find all objects of all images.

    An image's result does not depend on the other images, on the number of workers or on the
    engine (on a GPU, up to the rounding of another batch). Each result is in the journal as soon
    as it is finished. Unusable images are reported, do not stop the run, and are tried again by
    the next run.

    Args:
        images: to search.
        work: the search.
        engine: runs the workers.
        journal: of this run; its results for unchanged files are reused.
        batch: number of images per call of a worker.
        progress: called with (finished, all).

    Raises:
        SamadaptError: a worker cannot load its model or adapters, or died.
    """
    for name in images.names:
        if name in journal and journal.get(name)["stamp"] != stamp(images.path(name)):
            journal.forget(name)
    known = sum(name in journal for name in images.names)
    failed = {
        name: f"{name!r} is no name in UTF-8: give the file another one"
        for name in images.names
        if not is_text(name)
    }
    missing = [name for name in images.names if name not in journal and name not in failed]
    done = known + len(failed)
    if progress is not None:
        progress(done, len(images.names))
    batches = in_batches(missing, batch)
    # Without remaining images no worker is started.
    for results in engine.run(_Batches(work, images.root), batches) if batches else ():
        journal.add(
            (name, {"stamp": seen, **one.to_dict()})
            for name, seen, one in results
            if one.problem is None
        )
        failed |= {name: one.problem for name, _, one in results if one.problem is not None}
        done += len(results)
        if progress is not None:
            progress(done, len(images.names))
    return AnnotatedImages(
        tuple(name for name in images.names if name in journal),
        known,
        tuple(
            sorted([*images.failed, *failed.items()], key=lambda one: (natural_key(one[0]), one[0]))
        ),
        journal,
    )


def describe_run(
    images: ImageList, work: AnnotateWork, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Describe what the results of a run depend on besides the images, for its journal.

    Args:
        images: only their folder is recorded.
        work: the search.
        hashes: of the model's and the adapters' weights, by name.
    """
    options = work.options
    return {
        "folder": str(images.root),
        "model": work.model.name,
        "dtype": work.model.dtype,
        "tasks": list(work.tasks),
        "adapters": list(work.adapters),
        **{name: getattr(options, name) for name in type(options).__slots__},
        **{f"weights of the {name}": value for name, value in hashes.items()},
    }


def stamp(path: Path) -> Stamp:
    """A stamp by which a change of the file is noticed."""
    try:
        state = file_of(path).stat()
    except (OSError, ValueError):
        return []
    return [state.st_size, state.st_mtime_ns]


def _find(
    find: Callable[[Sequence[ImageInput]], list[FoundImage]], root: Path, names: Sequence[str]
) -> list[tuple[str, Stamp, FoundImage]]:
    paths = [root / name for name in names]
    seen = [stamp(path) for path in paths]
    return list(zip(names, seen, find(paths), strict=True))
