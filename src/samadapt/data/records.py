"""The records of a COCO file: images, annotations and categories, as immutable values.

Fields that COCO does not define, or that samadapt does not use, are kept in `extra`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from samadapt.data.pixels import MAX_PIXELS
from samadapt.data.rle import Rle
from samadapt.errors import DataError

Id: TypeAlias = int | str
"""Ids of images, annotations and categories in COCO files."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image: its id, file name relative to the image folder, and size in pixels.

    Raises:
        DataError: a file name that leads out of the image folder, a size without pixels.
    """

    id: Id
    file_name: str
    width: int
    height: int
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.relative_path()
        if self.width < 1 or self.height < 1 or self.width * self.height > MAX_PIXELS:
            raise DataError(
                f"image {self.id!r} ({self.file_name}) has the size {self.width} x {self.height}: "
                "give its true width and height"
            )

    def relative_path(self) -> str:
        """The file's path below the image folder, with forward slashes and no detours."""
        name = self.file_name.replace("\\", "/")
        path = posixpath.normpath(name)
        outside = path.startswith(("/", "../")) or path in ("..", ".") or path[1:2] == ":"
        if outside or "\0" in name:
            raise DataError(
                f"image {self.id!r} has the file name {self.file_name!r}: give a path inside the "
                "image folder"
            )
        return path

    @classmethod
    def from_json(cls, record: Any, where: str) -> CocoImage:
        """Read one entry of "images"; `where` names it in error messages."""
        rest = _mapping(record, where)
        return cls(
            _id(rest, "id", where),
            _text(rest, "file_name", where),
            _whole(rest, "width", where),
            _whole(rest, "height", where),
            rest,
        )

    def to_json(self, size: tuple[int, int]) -> dict[str, Any]:
        """The entry of "images", with `size` = (height, width)."""
        height, width = size
        record = {"id": self.id, "file_name": self.file_name, "width": width, "height": height}
        return {**record, **self.extra}


@dataclass(frozen=True, slots=True)
class CocoCategory:
    """One category: its id and name."""

    id: Id
    name: str
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, record: Any, where: str) -> CocoCategory:
        """Read one entry of "categories"; `where` names it in error messages."""
        rest = _mapping(record, where)
        return cls(_id(rest, "id", where), _text(rest, "name", where), rest)

    def to_json(self) -> dict[str, Any]:
        """The entry of "categories"."""
        return {"id": self.id, "name": self.name, **self.extra}


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """One object of one image.

    Attributes:
        id: unique in its file.
        image_id: the image it belongs to.
        category_id: its category.
        segmentation: its mask in the file's form (polygons, run lengths) or an `Rle`; None for an
            object that has only a box. Decoded on demand, see `CocoDataset.mask`.
        iscrowd: whether it marks a group of objects rather than one.
        area: in pixels, as in the file (tools differ in this value).
        bbox: (x, y, width, height), as in the file.
        extra: other fields.
    """

    id: Id
    image_id: Id
    category_id: Id
    segmentation: Any = field(repr=False)
    iscrowd: bool = False
    area: float | None = None
    bbox: tuple[float, float, float, float] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def rle_size(self) -> tuple[int, int] | None:
        """(height, width) of the mask if the segmentation states one: run lengths do."""
        if isinstance(self.segmentation, Rle):
            return self.segmentation.size
        size = self.segmentation.get("size") if isinstance(self.segmentation, Mapping) else None
        if isinstance(size, list | tuple) and len(size) == 2:
            height, width = (_integer(value) for value in size)
            if height is not None and width is not None:
                return height, width
        return None

    @classmethod
    def from_json(cls, record: Any, where: str) -> CocoAnnotation:
        """Read one entry of "annotations"; `where` names it in error messages."""
        rest = _mapping(record, where)
        return cls(
            _id(rest, "id", where),
            _id(rest, "image_id", where),
            _id(rest, "category_id", where),
            rest.pop("segmentation", None) or None,
            rest.pop("iscrowd", 0) in (1, "1"),
            _number(rest.pop("area", None)),
            _box(rest.pop("bbox", None)),
            rest,
        )

    def to_json(self, rle: Rle | None, polygons: list[list[int]] | None = None) -> dict[str, Any]:
        """The entry of "annotations", with true area and tight box of `rle`; none without a mask.

        The segmentation is `polygons`, or run lengths without polygons.
        """
        record: dict[str, Any] = {
            "id": self.id,
            "image_id": self.image_id,
            "category_id": self.category_id,
            "iscrowd": int(self.iscrowd),
        }
        if rle is None:
            if self.area is not None:
                record["area"] = self.area
            if self.bbox is not None:
                record["bbox"] = list(self.bbox)
            record["segmentation"] = []
            return {**record, **self.extra}
        record |= {"area": rle.area, "bbox": list(rle.box), "segmentation": rle.to_coco()}
        if polygons:
            record["segmentation"] = polygons
        return {**record, **self.extra}


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Reference to one object of a dataset: its image, annotation and category."""

    image_id: Id
    annotation_id: Id
    category: str


@dataclass(frozen=True, slots=True, eq=False)
class NewObject:
    """An object to add to a dataset: its image, its category's name and its mask (H, W)."""

    image_id: Id
    category: str
    mask: NDArray[np.bool_] | Rle = field(repr=False)
    iscrowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def rle(self) -> Rle:
        """The mask, compressed.

        Raises:
            DataError: not one mask.
        """
        return self.mask if isinstance(self.mask, Rle) else Rle.from_mask(self.mask)


_Record = TypeVar("_Record", CocoImage, CocoAnnotation, CocoCategory)


def by_id(records: Iterable[_Record], kind: str, source: str) -> dict[Id, _Record]:
    """Records under their ids; `kind` and `source` name them in the error for a repeated id."""
    index: dict[Id, _Record] = {}
    for record in records:
        if record.id in index:
            raise DataError(
                f"{source}: two {kind} records have the id {record.id!r}: give each its own"
            )
        index[record.id] = record
    return index


def found(index: Mapping[Id, _Record], key: Id, kind: str, source: str) -> _Record:
    """The record of an id, or `DataError` where there is none."""
    try:
        return index[key]
    except KeyError:
        raise DataError(f"{source} has no {kind} with the id {key!r}") from None


def next_id(known: Iterable[Id]) -> int:
    """The id after the highest number in use; texts do not count."""
    return max((key for key in known if isinstance(key, int)), default=0) + 1


def _mapping(record: Any, where: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise DataError(f"{where} is not an object in braces but {type(record).__name__}")
    return dict(record)


def _taken(rest: dict[str, Any], key: str, where: str) -> Any:
    try:
        return rest.pop(key)
    except KeyError:
        raise DataError(f"{where} has no {key!r}: add it or export the file again") from None


def _id(rest: dict[str, Any], key: str, where: str) -> Id:
    value = _taken(rest, key, where)
    if isinstance(value, str):
        return value
    whole = _integer(value)
    if whole is None:
        raise DataError(f"{where} has {key!r}: {value!r}, which is no whole number and no text")
    return whole


def _whole(rest: dict[str, Any], key: str, where: str) -> int:
    value = _taken(rest, key, where)
    whole = _integer(value)
    if whole is None:
        raise DataError(f"{where} has {key!r}: {value!r}, which is not a whole number")
    return whole


def _integer(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _text(rest: dict[str, Any], key: str, where: str) -> str:
    value = _taken(rest, key, where)
    if isinstance(value, str) and value:
        return value
    raise DataError(f"{where} has {key!r}: {value!r}, which is not a text")


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and abs(value) < 2**63
    return float(value) if usable else None


def _box(value: Any) -> tuple[float, float, float, float] | None:
    numbers = [_number(v) for v in value] if isinstance(value, list) else []
    if len(numbers) != 4 or any(n is None for n in numbers):
        return None
    x, y, width, height = (n for n in numbers if n is not None)
    return x, y, width, height


def wrong_size(
    source: str, image: CocoImage, size: tuple[int, int], displayed: tuple[int, int]
) -> DataError:
    """Return the error for an image whose displayed size differs from its annotations' size.

    Args:
        source: name of the annotation file.
        image: the image.
        size: (height, width) that the annotations are for.
        displayed: (height, width) of the picture, EXIF orientation applied.
    """
    text = (
        f"{source}: image {image.id!r} ({image.file_name}) is "
        f"{displayed[1]} x {displayed[0]} pixels as displayed, but its annotations are for "
        f"{size[1]} x {size[0]} (width x height): "
    )
    if displayed == size[::-1]:
        return DataError(
            text + "if they were drawn on the unturned picture, remove the EXIF orientation from "
            "the image file, otherwise swap width and height in the annotation file"
        )
    return DataError(text + "use the images that were annotated")
