"""`InteractiveResult`: the clicks, overlaps and summary of an interactive benchmark."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samadapt.benchmark.interactive.summary import KEYS, Curve, intervals, summarise
from samadapt.benchmark.results import (
    BenchmarkResult,
    ObjectRow,
    SkippedImage,
    identify,
    read_result,
)
from samadapt.benchmark.statistics import Interval, plain_intervals
from samadapt.data.coco import CocoDataset
from samadapt.data.records import ObjectRef
from samadapt.data.rle import Rle
from samadapt.errors import DataError, PromptError
from samadapt.prompts import Click
from samadapt.session.robot import ClickProtocol, ObjectTrace

FORMAT = "samadapt-interactive-1"


@dataclass(frozen=True, slots=True)
class ObjectResult(ObjectRow):
    """One object as the robot annotated it.

    Attributes:
        category: its category.
        clicks: in order.
        ious: IoU after each click.
        seconds: of each click, including learning but not the encoding of the image.
        reached: for each target IoU, the click that reached it; None if no click did.
        mask: the final mask; not stored in the file.
    """

    category: str
    clicks: tuple[Click, ...]
    ious: tuple[float, ...]
    seconds: tuple[float, ...]
    reached: Mapping[float, int | None]
    mask: Rle | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, dataset: CocoDataset, ref: ObjectRef, trace: ObjectTrace) -> ObjectResult:
        """Return the row of an object."""
        return cls(
            *identify(dataset, ref),
            category=ref.category,
            clicks=trace.clicks,
            ious=trace.ious,
            seconds=trace.seconds,
            reached={t: n.clicks if n.reached else None for t, n in trace.reached.items()},
            mask=Rle.from_mask(trace.mask),
        )

    @property
    def curve(self) -> Curve:
        """Return the part that a summary needs."""
        return Curve(self.ious, sum(self.seconds), self.image_id)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; a click is [x, y, label]."""
        return {
            **self.identity(),
            "category": self.category,
            "clicks": [[click.x, click.y, click.label] for click in self.clicks],
            "ious": list(self.ious),
            "reached": {f"{target:g}": click for target, click in self.reached.items()},
            "seconds": [round(value, 6) for value in self.seconds],
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> ObjectResult:
        """Read values that `to_dict` returned."""
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


@dataclass(frozen=True)
class InteractiveResult(BenchmarkResult):
    """One run of the interactive benchmark.

    Attributes:
        environment: software, machine, model and adapters.
        protocol: click protocol, seed, dataset, filters.
        summary: the numbers, under `KEYS`; None for measures beyond the protocol's limits.
        intervals: their 95 % intervals, (low, high) or None.
        objects: one row per object, in the order of visits.
        skipped: images that could not be evaluated.
        timing: seconds in total and of encoding, and the number of encoded images.
        frozen: the same objects without adapters, if requested.
        comparison: the changes by the adapters, see `Comparison.to_dict`.
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

    @classmethod
    def of(
        cls,
        rows: tuple[ObjectResult, ...],
        click_protocol: ClickProtocol,
        seed: int,
        **values: Any,
    ) -> InteractiveResult:
        """Return the result with the summary of these rows; `values` are the other fields."""
        curves = [row.curve for row in rows]
        limits = click_protocol.max_clicks, click_protocol.content_at
        return cls(
            objects=rows,
            summary=summarise(curves, *limits),
            intervals=intervals(curves, *limits, seed=seed),
            **values,
        )

    @property
    def name(self) -> str:
        """Return model and adapters, such as "nano + online"."""
        model = str(self.environment.get("model", {}).get("name", "model"))
        adapters = [str(adapter["spec"]) for adapter in self.environment.get("adapters", ())]
        return " + ".join([Path(model).name or model, *adapters])

    @property
    def curves(self) -> dict[Hashable, Curve]:
        """Return the click curves by object."""
        return {row.key: row.curve for row in self.objects}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {
            "format": FORMAT,
            "environment": dict(self.environment),
            "protocol": dict(self.protocol),
            "summary": dict(self.summary),
            "intervals": plain_intervals(self.intervals),
            "timing": dict(self.timing),
            "skipped": [row.to_dict() for row in self.skipped],
            "objects": [row.to_dict() for row in self.objects],
        }
        if self.comparison is not None:
            values["comparison"] = dict(self.comparison)
        if self.frozen is not None:
            values["frozen"] = self.frozen.to_dict()
        return values

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> InteractiveResult:
        """Read the file that `save` wrote.

        Raises:
            DataError: missing, damaged, or not a result of this benchmark.
        """
        values = read_result(Path(path), (FORMAT,), "interactive")
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
