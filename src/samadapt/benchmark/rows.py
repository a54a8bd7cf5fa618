"""One object's row in a result, whatever answered the robot's clicks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.results import ObjectResult
from samadapt.data.coco import CocoDataset
from samadapt.data.records import ObjectRef
from samadapt.data.rle import Rle
from samadapt.metrics import ClicksNeeded
from samadapt.prompts import Click


class Trace(Protocol):
    """How the robot annotated one object, with a model or with anything else."""

    @property
    def clicks(self) -> tuple[Click, ...]:
        """In order."""

    @property
    def ious(self) -> tuple[float, ...]:
        """IoU with the reference after each click."""

    @property
    def seconds(self) -> tuple[float, ...]:
        """What each click took."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The final mask, (H, W)."""

    @property
    def reached(self) -> Mapping[float, ClicksNeeded]:
        """For each target, the clicks it took and whether it was reached."""


def object_row(dataset: CocoDataset, ref: ObjectRef, trace: Trace) -> ObjectResult:
    """One object's row in a result."""
    return ObjectResult(
        image=dataset.image(ref.image_id).file_name,
        image_id=ref.image_id,
        annotation_id=ref.annotation_id,
        category=ref.category,
        clicks=trace.clicks,
        ious=trace.ious,
        seconds=trace.seconds,
        reached={t: n.clicks if n.reached else None for t, n in trace.reached.items()},
        mask=Rle.from_mask(trace.mask),
    )
