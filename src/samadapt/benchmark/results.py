"""Base classes of benchmark results: rows, skipped images and the JSON file."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.statistics import mean
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.data.records import Id, ObjectRef
from samadapt.errors import DataError
from samadapt.metrics import boundary_iou, iou


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One evaluated object.

    Attributes:
        image: file name of the image, relative to the image folder.
        image_id, annotation_id: ids in the dataset.
    """

    image: str
    image_id: Id
    annotation_id: Id

    @property
    def key(self) -> Hashable:
        """Return the key of the same object in another run on the same data."""
        return self.image, self.annotation_id

    def identity(self) -> dict[str, Any]:
        """Return the fields that identify the object, as plain JSON values."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "annotation_id": self.annotation_id,
        }


def identify(dataset: CocoDataset, ref: ObjectRef) -> tuple[str, Id, Id]:
    """Return the first fields of an `ObjectRow`."""
    return dataset.image(ref.image_id).file_name, ref.image_id, ref.annotation_id


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The predictions for all draws of one kind of prompt for one object.

    Attributes:
        ious: IoU with the reference, per draw.
        boundary_ious: boundary IoU, per draw.
    """

    ious: tuple[float, ...]
    boundary_ious: tuple[float, ...]

    @classmethod
    def of(cls, masks: Sequence[NDArray[np.bool_]], truth: NDArray[np.bool_], *more: Any) -> Self:
        """Return the overlaps of masks (H, W) with the reference; `more` are further fields."""
        ious = tuple(iou(mask, truth) for mask in masks)
        return cls(ious, tuple(boundary_iou(mask, truth) for mask in masks), *more)

    def value(self, metric: str) -> float:
        """Return the mean over draws of "miou" or "mbiou"."""
        return mean(self.ious if metric == "miou" else self.boundary_ious)


def plain_overlaps(answers: Mapping[str, Overlaps]) -> dict[str, Any]:
    """Return the overlaps by kind of prompt as plain JSON values."""
    return {
        "iou": {kind: rounded(found.ious) for kind, found in answers.items()},
        "biou": {kind: rounded(found.boundary_ious) for kind, found in answers.items()},
    }


def rounded(values: Sequence[float]) -> list[float]:
    """Return values with five decimals, as files have them."""
    return [round(value, 5) for value in values]


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """An image that could not be evaluated.

    Attributes:
        image: its file name.
        image_id: its id.
        annotation_ids: its objects, which are missing from the result.
        reason: the error, in one line.
    """

    image: str
    image_id: Id
    annotation_ids: tuple[Id, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "annotation_ids": list(self.annotation_ids),
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> SkippedImage:
        """Read values that `to_dict` returned."""
        return cls(
            str(row["image"]), row["image_id"], tuple(row["annotation_ids"]), str(row["reason"])
        )


class BenchmarkResult(ABC):
    """One run of a benchmark: its environment, rows and summary."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with "format" first."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, completely or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        with replacing(path) as file:
            # Names of files may hold bytes that are no UTF-8; JSON keeps them as \udcXX.
            file.write(dump_result(self.to_dict()).encode("utf-8", "backslashreplace"))


def dump_result(values: Mapping[str, Any]) -> str:
    """Return JSON with one line per object, for readability and small diffs."""
    head = {key: value for key, value in values.items() if key not in ("objects", "frozen")}
    text = json.dumps(head, ensure_ascii=False, allow_nan=False, indent=1).removesuffix("\n}")
    if "objects" in values:
        rows = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in values["objects"]]
        text += ',\n "objects": [\n  ' + ",\n  ".join(rows) + "\n ]"
    if "frozen" in values:
        text += ',\n "frozen": ' + dump_result(values["frozen"]).rstrip()
    return text + "\n}\n"


def read_result(path: Path, formats: Collection[str], command: str) -> dict[str, Any]:
    """Read the JSON file of a result.

    Args:
        path: of the file.
        formats: accepted values of "format".
        command: the benchmark that writes it, for the error message.

    Raises:
        DataError: the file is missing, no JSON, or of another format.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON file ({error})") from None
    if not isinstance(values, dict) or values.get("format") not in formats:
        raise DataError(
            f"{path} is not a result of `samadapt benchmark {command}` of this version: give "
            "the file that its --json wrote"
        )
    return values
