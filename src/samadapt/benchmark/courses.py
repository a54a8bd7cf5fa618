"""Courses: which objects are annotated in which order to see an adapter learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from samadapt.benchmark.interactive import Order, hash_files
from samadapt.benchmark.streams import BLOCK, ONE_IN, TIMES, mixed, repeated
from samadapt.data.coco import CocoDataset
from samadapt.data.selection import why_no_object
from samadapt.errors import DataError

Kind: TypeAlias = Literal["sequential", "mixed", "wrong-accepts", "repeated"]
Stream: TypeAlias = Literal["mixed", "wrong-accepts", "repeated"]

STREAMS: tuple[Stream, ...] = get_args(Stream)
"""The courses beyond the sequential ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A sequence of objects, for every seed another one.

    Attributes:
        kind: "sequential": one dataset in seeded order; "mixed": several in blocks;
            "wrong-accepts": one dataset, but some accepted masks are bad; "repeated": one object
            again and again.
        datasets: by name; several only for "mixed".
        max_objects: of each dataset; None for all.
    """

    kind: Kind
    datasets: Mapping[str, CocoDataset] = field(repr=False)
    max_objects: int | None = None

    @property
    def name(self) -> str:
        """What it runs over, such as "nuclei"."""
        return ", ".join(self.datasets)

    @property
    def title(self) -> str:
        """Kind and datasets, such as "nuclei, wrong accepts"."""
        names = f"{len(self.datasets)} datasets" if len(self.datasets) > 1 else self.name
        return names if self.kind == "sequential" else f"{names}, {self.kind.replace('-', ' ')}"

    @property
    def order(self) -> Order:
        """The order in which `run_interactive` is to visit the dataset's objects."""
        return "random" if self.kind in ("sequential", "wrong-accepts") else "file"

    @property
    def limit(self) -> int | None:
        """What `run_interactive` is to be told as `max_objects`."""
        return self.max_objects if self.order == "random" else None

    @property
    def frozen(self) -> Course:
        """The course whose frozen run is the same: nothing learns there, so mistakes are idle."""
        if self.kind != "wrong-accepts":
            return self
        return Course("sequential", self.datasets, self.max_objects)

    def dataset(self, seed: int) -> CocoDataset:
        """The objects for a seed.

        Raises:
            DataError: as `streams.mixed` and `streams.repeated`.
        """
        if self.kind == "mixed":
            return mixed(self.datasets, seed, self.max_objects)
        (dataset,) = self.datasets.values()
        if self.kind != "repeated":
            return dataset
        return repeated(dataset, seed, self._times)

    def visits(self, seed: int) -> int:
        """How many objects are visited.

        Raises:
            DataError: none, or a broken mask.
        """
        order = seed if self.order == "random" else None
        count = len(self.dataset(seed).objects(max_objects=self.limit, seed=order))
        if count == 0:
            reason = why_no_object(self.dataset(seed).annotations)
            raise DataError(f"{self.name} has no object to evaluate: {reason}")
        return count

    def describe(self) -> dict[str, object]:
        """All that decides which objects it has, but the seed, as plain JSON values."""
        values: dict[str, object] = {
            "kind": self.kind,
            "max_objects": self.max_objects,
            "datasets": {n: hash_files(Path(d.source)) for n, d in self.datasets.items()},
        }
        extra: dict[Kind, dict[str, object]] = {
            "mixed": {"block": BLOCK},
            "wrong-accepts": {"one_in": ONE_IN},
            "repeated": {"times": self._times},
        }
        return values | extra.get(self.kind, {})

    @property
    def _times(self) -> int:
        return TIMES if self.max_objects is None else min(TIMES, self.max_objects)


def courses_of(
    datasets: Mapping[str, CocoDataset],
    max_objects: int | None = None,
    streams: Sequence[str] = (),
) -> list[Course]:
    """A sequential course per dataset, then those of the streams, in the order of `STREAMS`.

    Raises:
        DataError: no dataset, an unknown stream, a mixed one of a single dataset.
    """
    if not datasets:
        raise DataError("no dataset: give at least one")
    if max_objects is not None and max_objects < 1:
        raise DataError(f"max_objects {max_objects}: ask for at least one object")
    for name in streams:
        if name not in STREAMS:
            raise DataError(f"unknown stream {name!r}: use one of {', '.join(STREAMS)}")
    if "mixed" in streams and len(datasets) < 2:
        raise DataError("a mixed stream needs at least two datasets: give more of them")
    single = [{name: dataset} for name, dataset in datasets.items()]
    found = [Course("sequential", one, max_objects) for one in single]
    for kind in (kind for kind in STREAMS if kind in streams):
        parts = [dict(datasets)] if kind == "mixed" else single
        found += [Course(kind, part, max_objects) for part in parts]
    return found
