"""Options that all benchmarks share: the selection of objects and their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from samadapt.data.coco import CocoDataset
from samadapt.data.records import Id, ObjectRef
from samadapt.data.selection import why_no_object
from samadapt.errors import DataError
from samadapt.spelling import did_you_mean

Order: TypeAlias = Literal["random", "file", "image"]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of finished objects and the number of all objects."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The objects that a benchmark evaluates, and the order in which it visits them.

    A selection of fewer objects is a part of the selection of all.

    Attributes:
        max_objects: largest number, the first ones in the order of visits; None for all.
        seed: of the order, of the random choices of a robot, and of new adapters.
        order: "random" depends on the seed alone; "file" follows the annotation file; "image"
            visits all objects of one image before those of the next, in an order that depends on
            the seed alone.
        categories: names of the categories to evaluate; None for all. Crowds are left out.
        min_area: smallest number of pixels of an object.

    Raises:
        DataError: an invalid value.
    """

    max_objects: int | None = None
    seed: int = 0
    order: Order = "random"
    categories: tuple[str, ...] | None = None
    min_area: int = 1

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            hint = did_you_mean(self.order, get_args(Order))
            raise DataError(f"order {self.order!r}{hint}: use 'random', 'file' or 'image'")
        if self.max_objects is not None and self.max_objects < 1:
            raise DataError(f"max_objects {self.max_objects}: ask for at least one object")
        if self.seed < 0:
            raise DataError(f"seed {self.seed}: use 0 or more")
        if self.min_area < 1:
            raise DataError(f"min_area {self.min_area}: an object has at least one pixel")

    def objects(self, dataset: CocoDataset) -> tuple[ObjectRef, ...]:
        """Return the objects in the order of visits.

        Raises:
            DataError: no object, an unknown category, a broken mask or a missing image file.
        """
        found = dataset.objects(
            categories=self.categories,
            min_area=self.min_area,
            max_objects=None if self.order == "image" else self.max_objects,
            seed=None if self.order == "file" else self.seed,
        )
        if self.order == "image":
            found = tuple(by_image(found))[: self.max_objects]
        if not found:
            raise DataError(
                f"{dataset.source} has no object to evaluate "
                f"({why_no_object(dataset.annotations)}): check the filters, and that its "
                "annotations have masks"
            )
        for image_id in dict.fromkeys(ref.image_id for ref in found):
            dataset.image_path(image_id)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as plain JSON values."""
        return {
            "seed": self.seed,
            "order": self.order,
            "max_objects": self.max_objects,
            "filters": {
                "categories": None if self.categories is None else list(self.categories),
                "min_area": self.min_area,
                "crowd": False,
            },
        }


def by_image(objects: Iterable[ObjectRef]) -> list[ObjectRef]:
    """Group objects by image; images keep their order."""
    groups: dict[Id, list[ObjectRef]] = {}
    for ref in objects:
        groups.setdefault(ref.image_id, []).append(ref)
    return [ref for group in groups.values() for ref in group]


def check_unique(name: str, given: Iterable[object]) -> None:
    """Raise `DataError` unless there is at least one value, and no duplicate."""
    values = list(given)
    if not values:
        raise DataError(f"no {name}: give at least one")
    for value in values:
        if values.count(value) > 1:
            raise DataError(f"{name} {value} is given twice: give it once")
