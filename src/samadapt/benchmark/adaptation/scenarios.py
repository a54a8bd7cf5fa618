"""Scenarios: orders of objects in which an adapter learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from samadapt.benchmark.adaptation.streams import BLOCK, ONE_IN, TIMES, mixed, repeated
from samadapt.benchmark.environment import hash_files
from samadapt.benchmark.options import Order, Selection
from samadapt.data.coco import CocoDataset
from samadapt.errors import DataError

Kind: TypeAlias = Literal["sequential", "mixed", "wrong-accepts", "repeated"]
Stream: TypeAlias = Literal["mixed", "wrong-accepts", "repeated"]

STREAMS: tuple[Stream, ...] = get_args(Stream)
"""Kinds of scenarios besides "sequential"."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A sequence of objects that depends on the seed.

    Attributes:
        kind: "sequential" for one dataset in seeded order, "mixed" for several datasets in
            blocks, "wrong-accepts" for one dataset with some bad accepted masks, "repeated" for
            many visits of one object.
        datasets: by name; several only for "mixed".
        max_objects: largest number of each dataset; None for all.
    """

    kind: Kind
    datasets: Mapping[str, CocoDataset] = field(repr=False)
    max_objects: int | None = None

    @property
    def name(self) -> str:
        """Return the names of its datasets, such as "nuclei"."""
        return ", ".join(self.datasets)

    @property
    def title(self) -> str:
        """Return kind and datasets, such as "nuclei, wrong accepts"."""
        names = f"{len(self.datasets)} datasets" if len(self.datasets) > 1 else self.name
        return names if self.kind == "sequential" else f"{names}, {self.kind.replace('-', ' ')}"

    def selection(self, seed: int) -> Selection:
        """Return the objects of `dataset(seed)` and their order."""
        order: Order = "random" if self.kind in ("sequential", "wrong-accepts") else "file"
        limit = self.max_objects if order == "random" else None
        return Selection(max_objects=limit, seed=seed, order=order)

    @property
    def frozen(self) -> Scenario:
        """Return the sequential scenario with the same frozen run, if mistakes do not change it."""
        if self.kind != "wrong-accepts":
            return self
        return Scenario("sequential", self.datasets, self.max_objects)

    def dataset(self, seed: int) -> CocoDataset:
        """Return the dataset that holds the objects for a seed.

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
        """Return the number of objects that are visited.

        Raises:
            DataError: no object, a broken mask or a missing image.
        """
        return len(self.selection(seed).objects(self.dataset(seed)))

    def describe(self) -> dict[str, object]:
        """Return everything that its objects depend on except the seed, as plain JSON values."""
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


def scenarios_of(
    datasets: Mapping[str, CocoDataset],
    max_objects: int | None = None,
    streams: Sequence[str] = (),
) -> list[Scenario]:
    """Return a sequential scenario per dataset, then those of the streams, as in `STREAMS`.

    Raises:
        DataError: no dataset, an unknown stream, a mixed stream of a single dataset.
    """
    if not datasets:
        raise DataError("no dataset: give at least one")
    Selection(max_objects=max_objects)  # checks the number
    for name in streams:
        if name not in STREAMS:
            raise DataError(f"unknown stream {name!r}: use one of {', '.join(STREAMS)}")
    if "mixed" in streams and len(datasets) < 2:
        raise DataError("a mixed stream needs at least two datasets: give more of them")
    single = [{name: dataset} for name, dataset in datasets.items()]
    found = [Scenario("sequential", one, max_objects) for one in single]
    for kind in (kind for kind in STREAMS if kind in streams):
        parts = [dict(datasets)] if kind == "mixed" else single
        found += [Scenario(kind, part, max_objects) for part in parts]
    return found
