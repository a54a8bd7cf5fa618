"""samadapt in pipelines of Ray Data.

import ray
from samadapt.ray import Annotator

ray.data.from_items(paths).map_batches(
    Annotator,
    fn_constructor_kwargs={"model": "nano", "tasks": ["adapters/wheel"]},
    batch_size=8,
    num_cpus=1,
    compute=ray.data.ActorPoolStrategy(size=4),
)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from samadapt.distributed.annotate import FoundImage, ImageAnnotator
from samadapt.distributed.threads import one_thread_per_core
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.proposals.grid import ProposalOptions

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

__all__ = ["Annotator"]


class Annotator:
    """Finds all objects of images: a class for `map_batches`, loaded once per actor.

    Each input row has an image of any size, as a path or the bytes of a file. Each output row has
    the other columns and, for its N objects, with the best of each task first:

    - `size`: (height, width); null where the image could not be used,
    - `rles`: packed run lengths as in COCO, N texts,
    - `boxes`: (x, y, width, height) in pixels, N of four,
    - `scores`: 0..1, N,
    - `labels`: the task's name, or "object" without a task, N,
    - `problem`: reason why the image could not be used; null if it could.

    Args:
        model: a name, a Hub id, or a path that is the same on every machine.
        tasks: adapters that were taught a task each; without any, all objects are searched for.
        adapters: others, applied before the task's adapter.
        column: of the images; `ray.data.from_items` names it "item".
        device: "auto" uses the actor's GPU.
        dtype: number format of the image encoder; "auto" differs between machines.
        options: of the search, see `ProposalOptions`.

    Raises:
        AdapterError, ModelError: they are missing on this machine, or do not fit each other.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "nano",
        tasks: Sequence[str] = (),
        adapters: Sequence[str] = (),
        *,
        column: str = "item",
        device: str = "auto",
        dtype: str = "float32",
        options: ProposalOptions | None = None,
    ) -> None:
        one_thread_per_core()
        loaded = WorkerModel(os.fspath(model), device, dtype).load()
        self._column = column
        chosen = options or ProposalOptions(coarse=True)
        self._annotator = ImageAnnotator(loaded, tasks, adapters, chosen)

    def __call__(self, batch: Mapping[str, np.ndarray[Any, Any]]) -> pyarrow.Table:
        """Find the objects of a batch of rows.

        Raises:
            DataError: the rows have no column of images.
        """
        import pyarrow

        if self._column not in batch:
            raise DataError(
                f"the rows have no column {self._column!r} but {', '.join(batch)}: name the one "
                "with paths or bytes, as in Annotator(column=...)"
            )
        found = self._annotator.find([_plain(value) for value in batch[self._column]])
        kept = {name: pyarrow.array(list(values)) for name, values in batch.items()}
        return pyarrow.table({**kept, **_columns(found)})


def _plain(value: Any) -> Any:
    """A path or bytes, rather than what Arrow wraps it in."""
    return value if isinstance(value, bytes) else str(value)


def _columns(found: Sequence[FoundImage]) -> dict[str, pyarrow.Array]:
    import pyarrow

    def lists(kind: pyarrow.DataType, values: list[Any]) -> pyarrow.Array:
        return pyarrow.array(values, pyarrow.list_(kind))

    things = [image.objects for image in found]
    boxes = [[list(map(float, one.rle.box)) for one in some] for some in things]
    counts = [[one.rle.to_coco()["counts"] for one in some] for some in things]
    return {
        "size": lists(pyarrow.int64(), [one.size and list(one.size) for one in found]),
        "rles": lists(pyarrow.string(), counts),
        "boxes": lists(pyarrow.list_(pyarrow.float64()), boxes),
        "scores": lists(pyarrow.float64(), [[one.score for one in some] for some in things]),
        "labels": lists(pyarrow.string(), [[one.label for one in some] for some in things]),
        "problem": pyarrow.array([one.problem for one in found], pyarrow.string()),
    }
