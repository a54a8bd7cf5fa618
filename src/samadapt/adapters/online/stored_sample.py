"""Storage of replay samples: packed masks, and views in memory or in files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from samadapt.adapters.online.replay_sample import Example, ReplaySample
from samadapt.data.files import replacing
from samadapt.errors import DataError
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Box, Click, Prompt

_EXTRA = "extra."
_FORMAT = "samadapt-lesson-1"


class StoredView:
    """A view in memory, in a file, or both; the file is deleted with its last reference."""

    def __init__(self, view: ImageEmbedding) -> None:
        self._view: ImageEmbedding | None = view
        self.path: Path | None = None
        self.nbytes = view.nbytes
        self.users = 0

    @classmethod
    def in_file(cls, path: Path) -> Self:
        """A view that is only in a file, which is read when it is needed.

        Raises:
            OSError: there is no such file.
        """
        found = cls.__new__(cls)
        found._view, found.path, found.users = None, path, 0
        found.nbytes = path.stat().st_size
        return found

    @property
    def in_memory(self) -> bool:
        """Whether there is a copy in memory."""
        return self._view is not None

    def get(self) -> ImageEmbedding:
        """The view.

        Raises:
            ModelError: its file is gone or damaged.
            DataError: the view was dropped.
        """
        if self._view is not None:
            return self._view
        if self.path is None:
            raise DataError("this view was dropped from the replay memory")
        return ImageEmbedding.load(self.path)

    def write(self, folder: Path) -> None:
        """Write the view to a file in `folder`; a copy in memory stays.

        Raises:
            DataError: the folder cannot be written to.
            ModelError: its present file is gone or damaged.
        """
        before = self.path
        if before is None or before.parent != folder:
            path = folder / f"view-{uuid.uuid4().hex}.safetensors"
            self.get().save(path)
            self.path = path
            if before is not None:
                before.unlink(missing_ok=True)

    def leave_memory(self) -> None:
        """Drop the copy in memory; the file stays."""
        if self.path is not None:
            self._view = None

    def release(self) -> None:
        """Release one reference; the file is deleted with the last one."""
        self.users -= 1
        if self.users == 0 and self.path is not None:
            self.path.unlink(missing_ok=True)


@dataclass(slots=True, eq=False)
class StoredSample:
    """A sample with packed mask and stored views.

    Attributes:
        domain: number of its domain.
        bits: the mask, packed along its rows.
        shape: (H, W) of the mask.
        clicks: as in `ReplaySample`.
        examples: as in `ReplaySample`: view, prompt, and whether it had candidates.
        is_accepted: as in `ReplaySample`.
        box: the box in force at the end.
        path: the file that outlives the program, if there is one.
        painted: as in `ReplaySample`, packed along its rows.
    """

    domain: int
    bits: NDArray[np.uint8]
    shape: tuple[int, int]
    clicks: tuple[Click, ...]
    examples: dict[str, tuple[tuple[StoredView, Prompt, bool], ...]]
    is_accepted: bool = True
    path: Path | None = None
    box: Box | None = None
    painted: NDArray[np.uint8] | None = None

    @property
    def views(self) -> list[StoredView]:
        """The views of all examples, one per example."""
        return [view for kept in self.examples.values() for view, _, _ in kept]

    def unpacked(self) -> ReplaySample:
        """The sample, with views read from their files.

        Raises:
            ModelError: a file is gone or damaged.
        """
        mask = unpacked(self.bits, self.shape)
        painted = None if self.painted is None else unpacked(self.painted, self.shape)
        examples = {
            name: tuple(Example(view.get(), prompt, several) for view, prompt, several in kept)
            for name, kept in self.examples.items()
        }
        return ReplaySample(mask, self.clicks, examples, self.is_accepted, painted)

    def save(self, path: Path, extra: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        """Write everything except the views, which are files beside it, atomically.

        Args:
            path: the file.
            extra: further tensors, for `read_extra`.

        Raises:
            DataError: the folder cannot be written to.
        """
        masks: dict[int, str] = {}
        tensors: dict[str, Tensor] = {"bits": torch.from_numpy(self.bits.copy())}
        if self.painted is not None:
            tensors["painted"] = torch.from_numpy(self.painted.copy())
        for mask in (prompt.mask for kept in self.examples.values() for _, prompt, _ in kept):
            if mask is not None and id(mask) not in masks:  # prompts may share one
                masks[id(mask)] = f"mask.{len(masks)}"
                tensors[masks[id(mask)]] = torch.from_numpy(mask.copy())
        tensors |= {f"{_EXTRA}{name}": tensor.cpu() for name, tensor in extra.items()}
        facts = {
            "domain": self.domain,
            "box": None if self.box is None else self.box.as_tuple(),
            "shape": self.shape,
            "clicks": [(c.x, c.y, c.positive) for c in self.clicks],
            "is_accepted": self.is_accepted,
            "examples": {
                name: [_described(*example, masks) for example in kept]
                for name, kept in self.examples.items()
            },
        }
        meta = {"format": _FORMAT, "lesson": json.dumps(facts)}
        with replacing(path) as file:
            file.write(save(tensors, metadata=meta))
        self.path = path

    @classmethod
    def load(cls, path: Path, views: dict[str, StoredView]) -> StoredSample:
        """Read a file that `save` wrote.

        Args:
            path: the file.
            views: views already loaded, by file name; missing ones are added.

        Raises:
            DataError: the file, or one of its views, is gone or damaged.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                meta = file.metadata() or {}
                if meta.get("format") != _FORMAT:
                    raise DataError(f"{path} is no sample of this version of samadapt")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads(meta["lesson"])
            for name in {e["view"] for kept in facts["examples"].values() for e in kept}:
                if name not in views:
                    views[name] = StoredView.in_file(path.with_name(name))
            height, width = facts["shape"]
            bits = tensors["bits"].numpy()
            painted = tensors["painted"].numpy() if "painted" in tensors else None
            packed = (height, (width + 7) // 8)
            if bits.shape != packed or (painted is not None and painted.shape != packed):
                raise DataError(f"{path} is damaged: its mask does not have the declared size")
            return cls(
                int(facts["domain"]),
                bits,
                (height, width),
                tuple(Click(x, y, positive) for x, y, positive in facts["clicks"]),
                {
                    name: tuple(_read(example, tensors, views) for example in kept)
                    for name, kept in facts["examples"].items()
                },
                bool(facts["is_accepted"]),
                path,
                Box(*facts["box"]) if facts.get("box") else None,
                painted,
            )
        except DataError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise DataError(f"{path} cannot be read ({type(error).__name__}: {error})") from None


def read_extra(path: Path) -> dict[str, Tensor]:
    """The further tensors of a sample's file.

    Raises:
        DataError: the file is gone or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(_EXTRA)]  # noqa: SIM118
            return {name.removeprefix(_EXTRA): file.get_tensor(name) for name in names}
    except Exception as error:  # what a damaged file provokes, nobody knows beforehand
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error})") from None


def stored(domain: int, sample: ReplaySample, views: dict[int, StoredView]) -> StoredSample:
    """Pack a sample.

    Args:
        domain: number of its domain.
        sample: the sample.
        views: the stored views by the `id` of an example's view.
    """
    height, width = sample.mask.shape
    examples = {
        name: tuple((views[id(e.view)], e.prompt, e.multimask) for e in given)
        for name, given in sample.examples.items()
    }
    return StoredSample(
        domain,
        np.packbits(sample.mask, axis=-1),
        (height, width),
        sample.clicks,
        examples,
        sample.is_accepted,
        painted=None if sample.painted is None else np.packbits(sample.painted, axis=-1),
    )


def unpacked(bits: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (H, W) whose rows are packed in `bits`."""
    return np.unpackbits(bits, axis=-1, count=shape[1]).view(np.bool_)


def _described(
    view: StoredView, prompt: Prompt, several: bool, masks: dict[int, str]
) -> dict[str, Any]:
    """An example as JSON values; `masks` maps the `id` of an earlier mask to its name."""
    if view.path is None:
        raise DataError("a view has to be written before the sample that needs it")
    box = prompt.box
    return {
        "view": view.path.name,
        "several": several,
        "points": prompt.points,
        "labels": prompt.labels,
        "box": box.as_tuple() if isinstance(box, Box) else None,
        "mask": None if prompt.mask is None else masks[id(prompt.mask)],
        "window": prompt.window,
    }


def _read(
    facts: dict[str, Any], tensors: dict[str, Tensor], views: dict[str, StoredView]
) -> tuple[StoredView, Prompt, bool]:
    window = facts["window"]
    prompt = Prompt(
        [(x, y) for x, y in facts["points"]],
        facts["labels"],
        facts["box"],
        None if facts["mask"] is None else tensors[facts["mask"]].numpy(),
        None if window is None else tuple(window),
    )
    return views[facts["view"]], prompt, bool(facts["several"])
