"""`Backlog`: finished objects that wait to be learned, by priority and kept on the disk."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.stored_sample import (
    StoredSample,
    StoredView,
    read_extra,
    unpacked,
)
from samadapt.adapters.online.waiting import Waiting
from samadapt.errors import DataError, ModelError
from samadapt.metrics import SAME_OBJECT, iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams

MOST_OBJECTS = 32
_MOST_BYTES = 256 << 20
_MOST_ASIDE = 32
_ABANDONED_SECONDS = 3600.0
_UNKNOWN = -1
"""Domain of an object handed over to another process, which finds its own domain."""
_FILE = "waiting-{:08d}.safetensors"
_ASIDE_FILE = "withdrawn-{:08d}.safetensors"
_OURS = ("waiting-*.safetensors", "withdrawn-*.safetensors", "view-*.safetensors", ".*.part")


class Backlog:
    """Objects that wait to be learned.

    A person can annotate faster than the machine learns, so at most `limit` objects wait: the
    newest, and among objects of about the same age the ones that needed many prompts or whose
    mask was painted after the last prediction. An object that is accepted again replaces its
    earlier version. Dropped objects are not learned, but they stay in the project. What undo took
    back, and what a later version replaced, is put aside for a while, for redo and undo.

    Args:
        limit: largest number of objects.
        most_bytes: limit of images and prompts, in memory and on the disk.
    """

    def __init__(self, limit: int = MOST_OBJECTS, most_bytes: int = _MOST_BYTES) -> None:
        self._limit, self._most_bytes = limit, most_bytes
        self._entries: list[Waiting] = []
        self._aside: list[Waiting] = []
        self._next = 0
        self._known: WeakKeyDictionary[ImageEmbedding, StoredView] = WeakKeyDictionary()
        self._collected: set[Path] = set()
        self.dropped = 0
        """Number of dropped objects."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes of images, masks and prompts, wherever they are."""
        kept = [*self._entries, *self._aside]
        views = {id(entry.view): entry.view.nbytes for entry in kept}
        return sum(views.values()) + sum(entry.nbytes for entry in kept)

    def add(
        self,
        domain: int,
        interaction: Interaction,
        mask: NDArray[np.bool_],
        several: bool,
        change: Tensor | None,
        is_accepted: bool,
    ) -> None:
        """Queue an object that ended with `mask` (H, W)."""
        shown = 0.0 if interaction.mask is None else iou(interaction.mask, mask)
        height, width = mask.shape
        entry = Waiting(
            domain,
            replace(interaction, logits=None),
            np.packbits(mask, axis=-1),
            (height, width),
            several,
            change,
            is_accepted,
            2 - 1 / max(len(interaction.prompts), 1) - shown,
            self._view(interaction.embedding),
            self._next,
        )
        self._next += 1
        entry.view.users += 1  # before a dropped object can release its image
        self._queue(entry)

    def withdraw(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Put an object aside that was accepted with exactly `mask` (H, W), and taken back.

        What it had replaced waits again.
        """
        if (entry := self._find(self._entries, embedding, mask)) is not None:
            self._put_aside(entry)
            for earlier in [e for e in self._aside if e.replaced_by == entry.number]:
                if earlier in self._aside:  # bringing back one may push out another
                    self._bring_back(earlier)
        elif (entry := self._find(self._aside, embedding, mask)) is not None:
            entry.replaced_by = None

    def restore(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Let an object wait again that was withdrawn, as `mask` (H, W), and not dropped since."""
        if (entry := self._find(self._aside, embedding, mask)) is not None:
            self._bring_back(entry)

    def take(self) -> Waiting | None:
        """Remove and return the object of the highest value; its file stays until it is `done`."""
        if not self._entries:
            return None
        best = max(self._entries, key=self._rank)
        self._entries.remove(best)
        return best

    def done(self, entry: Waiting) -> None:
        """Delete the file of an object that was learned or cannot be learned."""
        entry.forget()
        for earlier in [e for e in self._aside if e.replaced_by == entry.number]:
            self._aside.remove(earlier)
            earlier.forget()

    def opened(
        self, entry: Waiting, model: SegmentationModel, adapters: tuple[Seams, ...]
    ) -> tuple[Interaction, Tensor | None]:
        """Return an object's interaction and the change by its clicks, from its file if needed.

        Raises:
            DataError: the file is gone or damaged.
            ModelError: the image's file is gone or damaged.
        """
        if entry.interaction is not None or entry.path is None:
            if entry.interaction is None:
                raise DataError("this object was dropped from the backlog")
            return entry.interaction, entry.change
        sample = StoredSample.load(entry.path, {})
        extra = read_extra(entry.path)
        sent = sample.examples["sent"]
        shown, painted = extra.get("shown"), extra.get("painted")
        return (
            Interaction(
                model=model,
                adapters=adapters,
                embedding=entry.view.get().to(model.device),
                prompts=tuple(prompt for _, prompt, _ in sent),
                clicks=sample.clicks,
                box=sample.box,
                mask=None if shown is None else unpacked(shown.numpy(), entry.shape),
                step=len(sent),
                painted=None if painted is None else unpacked(painted.numpy(), entry.shape),
            ),
            extra.get("change"),
        )

    def keep(self, home: Path) -> None:
        """Write new entries to the folder `home`, and release their memory.

        Raises:
            DataError: the folder cannot be written to; the objects stay in memory.
        """
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{home} cannot be made ({error.strerror}): check the folder") from None
        for entry in self._entries:
            done = entry.interaction
            if entry.path is None and done is not None and done.prompts:
                entry.view.write(home)
                extra = {} if entry.change is None else {"change": entry.change}
                if done.mask is not None:
                    extra["shown"] = torch.from_numpy(np.packbits(done.mask, axis=-1))
                if done.painted is not None:
                    extra["painted"] = torch.from_numpy(np.packbits(done.painted, axis=-1))
                while (path := home / _FILE.format(entry.number)).exists():  # of an earlier run
                    entry.number, self._next = self._next, self._next + 1
                numbers = [entry.number, entry.value, entry.several]
                extra["numbers"] = torch.tensor(numbers, dtype=torch.float64)
                sent = tuple((entry.view, prompt, entry.several) for prompt in done.prompts)
                StoredSample(
                    entry.domain,
                    entry.bits,
                    entry.shape,
                    done.clicks,
                    {"sent": sent},
                    entry.is_accepted,
                    box=done.box,
                ).save(path, extra)
                entry.path, entry.interaction, entry.change = path, None, None
                entry.view.leave_memory()

    def clear_aside(self) -> None:
        """Forget what was taken back or replaced, at the end of a session."""
        while self._aside:
            self._aside.pop().forget()

    def hand_over(self, inbox: Path) -> None:
        """Move all entries to a new folder in `inbox`, for the backlog that collects from there.

        Raises:
            DataError: the folder cannot be written to; the entries are dropped.
        """
        entries, self._entries = self._entries, []
        self.clear_aside()
        self._known.clear()
        if not entries:
            return
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        part = inbox / f".{name}.part"
        moved = Backlog()
        moved._entries = [replace(entry, domain=_UNKNOWN) for entry in entries]
        moved.keep(part)
        try:
            part.rename(inbox / name)  # whole, or not there
        except OSError as error:
            raise DataError(f"{part} cannot be renamed ({error.strerror}): check it") from None

    def has_new(self, inbox: Path) -> bool:
        """Return True if the folder `inbox` holds objects that were not collected yet."""
        return any(place not in self._collected for place in _handed(inbox))

    def collect(self, inbox: Path) -> None:
        """Load the objects that other processes handed over to `inbox`, the oldest first."""
        for part in inbox.glob(".*.part"):  # of a killed process
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(part)
        for place in _handed(inbox):
            if place in self._collected:
                with contextlib.suppress(OSError):
                    place.rmdir()  # all objects in it were learned
                    self._collected.discard(place)
                continue
            self._collected.add(place)
            before = len(self._entries)
            self.load(place)
            for entry in self._entries[before:]:
                entry.number, self._next = self._next, self._next + 1
            self._make_room()

    def load(self, home: Path) -> None:
        """Load the entries that `keep` wrote to `home`; damaged files are removed."""
        views: dict[str, StoredView] = {}
        known = {entry.path for entry in (*self._entries, *self._aside)}
        for path in sorted(set(home.glob(_FILE.replace("{:08d}", "*"))) - known):
            with contextlib.suppress(DataError, ModelError, KeyError, ValueError, IndexError):
                sample = StoredSample.load(path, views)
                number, value, several = read_extra(path)["numbers"].tolist()
                view = sample.examples["sent"][0][0]
                self._entries.append(
                    Waiting(
                        sample.domain,
                        None,
                        sample.bits,
                        sample.shape,
                        bool(several),
                        None,
                        sample.is_accepted,
                        value,
                        view,
                        int(number),
                        path,
                    )
                )
                view.users += 1
                self._next = max(self._next, int(number) + 1)
        kept = [*self._entries, *self._aside]
        mine = {entry.path for entry in kept} | {entry.view.path for entry in kept}
        for path in _files(home):
            if path not in mine:
                _remove(path)

    def _make_room(self) -> None:
        self._trim_aside()
        while len(self._entries) > 1 and (
            len(self._entries) > self._limit or self.nbytes > self._most_bytes
        ):
            self.dropped += 1
            self._drop(min(self._entries, key=self._rank))

    def _rank(self, entry: Waiting) -> float:
        return entry.value + entry.number / self._limit

    def _same(self, view: StoredView, mask: NDArray[np.bool_]) -> list[Waiting]:
        """The entries that are versions of the object `mask` (H, W) of an image."""
        there = [e for e in self._entries if e.view is view and e.shape == mask.shape]
        return [entry for entry in there if iou(entry.mask, mask) >= SAME_OBJECT]

    def _view(self, embedding: ImageEmbedding) -> StoredView:
        found = self._known.get(embedding)
        if found is None or (found.users <= 0 and found.path is not None):
            found = self._known[embedding] = StoredView(embedding)
        return found

    def _find(
        self, entries: list[Waiting], embedding: ImageEmbedding, mask: NDArray[np.bool_]
    ) -> Waiting | None:
        """The newest of the entries that ended with exactly `mask` (H, W)."""
        view = self._known.get(embedding)
        if view is None:
            return None
        return next((e for e in reversed(entries) if e.is_exactly(view, mask)), None)

    def _queue(self, entry: Waiting) -> None:
        """Let an entry wait, in the place of earlier versions of its object."""
        for earlier in self._same(entry.view, entry.mask):
            entry.value = max(entry.value, earlier.value)
            earlier.replaced_by = entry.number
            self._put_aside(earlier)
        self._entries.append(entry)
        self._make_room()

    def _put_aside(self, entry: Waiting) -> None:
        self._entries.remove(entry)
        if entry.move(_ASIDE_FILE.format(entry.number)):
            self._aside.append(entry)
            self._trim_aside()
        else:
            entry.forget()

    def _bring_back(self, entry: Waiting) -> None:
        self._aside.remove(entry)
        entry.replaced_by = None
        if entry.move(_FILE.format(entry.number)):
            self._queue(entry)
        else:
            entry.forget()

    def _trim_aside(self) -> None:
        """Forget the oldest of what was put aside, beyond the limits."""
        while len(self._aside) > _MOST_ASIDE or (self._aside and self.nbytes > self._most_bytes):
            self._aside.pop(0).forget()

    def _drop(self, entry: Waiting) -> None:
        self._entries.remove(entry)
        entry.forget()


def _handed(inbox: Path) -> list[Path]:
    """Folders of objects that were handed over completely, oldest first."""
    try:
        return sorted(place for place in inbox.iterdir() if not place.name.startswith("."))
    except OSError:
        return []


def _files(home: Path) -> Iterator[Path]:
    for pattern in _OURS:
        yield from home.glob(pattern)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
