"""`InteractiveResult`: what an interactive benchmark found, as a value and as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samadapt.benchmark.summary import KEYS, Curve, Interval
from samadapt.data.files import replacing
from samadapt.data.records import Id
from samadapt.data.rle import Rle
from samadapt.errors import DataError, PromptError
from samadapt.prompts import Click

FORMAT = "samadapt-interactive-1"


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """One object and how the robot annotated it.

    Attributes:
        image: file name of the image, relative to the image folder.
        image_id, annotation_id: the dataset's.
        category: what it is.
        clicks: in order.
        ious: IoU after each click.
        seconds: what each click took, learning included, encoding the image not.
        reached: for each target IoU, the click that reached it; None if none did.
        mask: the final mask; not stored in the file.
    """

    image: str
    image_id: Id
    annotation_id: Id
    category: str
    clicks: tuple[Click, ...]
    ious: tuple[float, ...]
    seconds: tuple[float, ...]
    reached: Mapping[float, int | None]
    mask: Rle | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> Hashable:
        """What the same object has in another run on the same data."""
        return self.image, self.annotation_id

    @property
    def curve(self) -> Curve:
        """What a summary needs of it."""
        return Curve(self.ious, sum(self.seconds), self.image_id)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; a click is [x, y, label]."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "annotation_id": self.annotation_id,
            "category": self.category,
            "clicks": [[click.x, click.y, click.label] for click in self.clicks],
            "ious": list(self.ious),
            "reached": {f"{target:g}": click for target, click in self.reached.items()},
            "seconds": [round(value, 6) for value in self.seconds],
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> ObjectResult:
        """Inverse of `to_dict`."""
        return cls(
            str(row["image"]),
            row["image_id"],
            row["annotation_id"],
            str(row["category"]),
            tuple(Click(float(x), float(y), bool(label)) for x, y, label in row["clicks"]),
            tuple(float(value) for value in row["ious"]),
            tuple(float(value) for value in row["seconds"]),
            {float(target): click for target, click in row["reached"].items()},
        )


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """An image that could not be evaluated.

    Attributes:
        image: its file name.
        image_id: its id.
        annotation_ids: the objects that are missing from the result because of it.
        reason: what was wrong, in one line.
    """

    image: str
    image_id: Id
    annotation_ids: tuple[Id, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "annotation_ids": list(self.annotation_ids),
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> SkippedImage:
        """Inverse of `to_dict`."""
        return cls(
            str(row["image"]), row["image_id"], tuple(row["annotation_ids"]), str(row["reason"])
        )


@dataclass(frozen=True, slots=True)
class InteractiveResult:
    """One run of the interactive benchmark.

    Attributes:
        environment: software, machine, model and adapters.
        protocol: how it was done: click protocol, seed, dataset, filters.
        summary: the numbers, under `samadapt.benchmark.summary.KEYS`; None for what the
            protocol's limits hide.
        intervals: their 95 % intervals, (low, high) or None.
        objects: one row per object, in the order of visits.
        skipped: images that could not be evaluated.
        timing: seconds spent in total and on encoding, and how many images were encoded.
        frozen: the same objects without adapters, if that was asked for.
        comparison: what the adapters changed, as `Comparison.to_dict` gives it.
    """

    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    summary: Mapping[str, float | int | None]
    intervals: Mapping[str, Interval | None]
    objects: tuple[ObjectResult, ...] = field(repr=False)
    skipped: tuple[SkippedImage, ...] = ()
    timing: Mapping[str, float | int] = field(default_factory=dict)
    frozen: InteractiveResult | None = field(default=None, repr=False)
    comparison: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Model and adapters in a few words, such as "nano + online"."""
        model = str(self.environment.get("model", {}).get("name", "model"))
        adapters = [str(adapter["spec"]) for adapter in self.environment.get("adapters", ())]
        return " + ".join([Path(model).name or model, *adapters])

    @property
    def curves(self) -> dict[Hashable, Curve]:
        """Click curves by object."""
        return {row.key: row.curve for row in self.objects}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {
            "format": FORMAT,
            "environment": dict(self.environment),
            "protocol": dict(self.protocol),
            "summary": dict(self.summary),
            "intervals": {k: list(v) if v else None for k, v in self.intervals.items()},
            "timing": dict(self.timing),
            "skipped": [row.to_dict() for row in self.skipped],
            "objects": [row.to_dict() for row in self.objects],
        }
        if self.comparison is not None:
            values["comparison"] = dict(self.comparison)
        if self.frozen is not None:
            values["frozen"] = self.frozen.to_dict()
        return values

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, completely or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        with replacing(path) as file:
            file.write(dump_result(self.to_dict()).encode("utf-8", "surrogatepass"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> InteractiveResult:
        """Read what `save` wrote.

        Raises:
            DataError: missing, damaged, or not a result of this benchmark.
        """
        values = _read(Path(path))
        try:
            return cls._from_dict(values)
        except (KeyError, TypeError, ValueError, AttributeError, PromptError) as error:
            raise DataError(
                f"{path} is a damaged benchmark result ({type(error).__name__}: {error}): run "
                "the benchmark again"
            ) from None

    @classmethod
    def _from_dict(cls, values: Mapping[str, Any]) -> InteractiveResult:
        frozen = values.get("frozen")
        return cls(
            values["environment"],
            values["protocol"],
            {key: values["summary"][key] for key in KEYS},
            {k: (v[0], v[1]) if v else None for k, v in values["intervals"].items()},
            tuple(ObjectResult.from_dict(row) for row in values["objects"]),
            tuple(SkippedImage.from_dict(row) for row in values["skipped"]),
            values["timing"],
            None if frozen is None else cls._from_dict(frozen),
            values.get("comparison"),
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON file ({error})") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(
            f"{path} is not a result of `samadapt benchmark interactive` of this version: give "
            "the file that its --json wrote"
        )
    return values


def dump_result(values: Mapping[str, Any]) -> str:
    """JSON with one line per object, so that people can read the file and diffs are small."""
    head = {key: value for key, value in values.items() if key not in ("objects", "frozen")}
    rows = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in values["objects"]]
    text = json.dumps(head, ensure_ascii=False, allow_nan=False, indent=1).removesuffix("\n}")
    text += ',\n "objects": [\n  ' + ",\n  ".join(rows) + "\n ]"
    if "frozen" in values:
        text += ',\n "frozen": ' + dump_result(values["frozen"]).rstrip()
    return text + "\n}\n"
