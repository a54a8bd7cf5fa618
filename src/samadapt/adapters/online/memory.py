"""Accepted objects that are learned again: their views, prompts and masks, within bounds."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.adapters.base import Interaction
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Click, Prompt

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A prompt and the view of the image on which it is answered, perhaps with candidates."""

    view: ImageEmbedding
    prompt: Prompt
    multimask: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One finished object: what can be learned from it.

    Attributes:
        mask: the last mask (H, W) bool.
        clicks: all clicks in force at the end.
        examples: by the names of `settings.PROMPTS`; "any" holds none, it draws one of the
            others.
        is_accepted: False for an object that was given up: only its clicks are sure.
    """

    mask: NDArray[np.bool_]
    clicks: tuple[Click, ...]
    examples: dict[str, tuple[Example, ...]]
    is_accepted: bool = True

    def draw(self, prompt: str, rng: Generator) -> Example | None:
        """The example for a kind of prompt; None when this lesson has none."""
        if prompt == "any":
            choices = self.examples.get("sent") or self.examples.get("first", ())
        else:
            choices = self.examples.get("first" if prompt == "corrected" else prompt, ())
        return choices[int(rng.integers(len(choices)))] if choices else None


def lesson_of(
    model: SegmentationModel,
    interaction: Interaction,
    mask: NDArray[np.bool_],
    prompts: Collection[str],
    *,
    is_accepted: bool = True,
    candidates: bool = False,
) -> Lesson:
    """What can be learned from an interaction that ended with `mask`.

    Args:
        model: answered the prompts.
        interaction: how it ended.
        mask: the last mask (H, W).
        prompts: kinds of prompts that are of interest; "first" is always there.
        is_accepted: whether the person accepted it.
        candidates: whether single clicks were answered with several masks.
    """

    def example(prompt: Prompt, has_candidates: bool = False) -> Example:
        is_single = len(prompt.points) == 1 and prompt.box is None
        view = model.focus(interaction.embedding, prompt)
        return Example(view, prompt, has_candidates and is_single)

    sent = interaction.prompts
    examples: dict[str, tuple[Example, ...]] = {}
    if sent:
        examples["first"] = (example(sent[0], candidates),)
    if sent and "last" in prompts:
        examples["last"] = (example(sent[-1], candidates),)
    if "any" in prompts:
        examples["sent"] = tuple(example(prompt, candidates) for prompt in sent)
    if "all" in prompts and (interaction.clicks or interaction.box is not None):
        examples["all"] = (example(Prompt.from_clicks(interaction.clicks, interaction.box)),)
    return Lesson(mask, interaction.clicks, examples, is_accepted)


class _StoredView:
    """A view in memory, or in a file once it was spilled."""

    def __init__(self, view: ImageEmbedding) -> None:
        self._view: ImageEmbedding | None = view
        self._path: Path | None = None
        self.nbytes = view.nbytes
        self.users = 0

    @property
    def in_memory(self) -> bool:
        return self._view is not None

    def get(self) -> ImageEmbedding:
        if self._view is not None:
            return self._view
        if self._path is None:
            raise DataError("a view that was dropped is asked for")
        return ImageEmbedding.load(self._path)

    def spill(self, folder: Path) -> None:
        """Write to the disk and leave memory; stays in memory when that fails."""
        if self._view is not None:
            path = folder / f"{uuid.uuid4().hex}.safetensors"
            self._view.save(path)
            self._view, self._path = None, path

    def release(self) -> None:
        self.users -= 1
        if self.users == 0 and self._path is not None:
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A lesson with packed mask and stored views."""

    bits: NDArray[np.uint8]
    shape: tuple[int, int]
    clicks: tuple[Click, ...]
    examples: dict[str, tuple[tuple[_StoredView, Prompt, bool], ...]]
    is_accepted: bool = True

    @property
    def views(self) -> list[_StoredView]:
        return [view for kept in self.examples.values() for view, _, _ in kept]

    def unpacked(self) -> Lesson:
        mask = np.unpackbits(self.bits, axis=-1, count=self.shape[1]).view(np.bool_)
        examples = {
            name: tuple(Example(view.get(), prompt, several) for view, prompt, several in kept)
            for name, kept in self.examples.items()
        }
        return Lesson(mask, self.clicks, examples, self.is_accepted)


class ReplayMemory:
    """Lessons of earlier objects by domain, the oldest dropped first.

    Views are kept without what close-ups are cut from; objects on one image share its view.
    Views beyond `memory` bytes go to a temporary folder, and beyond `disk` bytes there, or when
    the disk is full, the oldest lessons are dropped.

    Args:
        objects: lessons per domain.
        prompts: kinds of prompts to keep.
        memory: bytes of views in memory.
        disk: bytes of views on the disk.
    """

    def __init__(self, objects: int, prompts: Sequence[str], memory: int, disk: int) -> None:
        self._limit = objects
        kept = {"any": "sent", "corrected": "first"}
        self._prompts = {kept.get(prompt, prompt) for prompt in prompts}
        self._memory, self._disk = memory, disk
        self._lessons: list[tuple[int, _Stored]] = []
        self._known: WeakKeyDictionary[ImageEmbedding, _StoredView] = WeakKeyDictionary()
        self._folder: TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return len(self._lessons)

    @property
    def nbytes(self) -> tuple[int, int]:
        """Bytes of views in memory, and on the disk."""
        views = self._views()
        inside = sum(view.nbytes for view in views if view.in_memory)
        return inside, sum(view.nbytes for view in views) - inside

    def add(self, domain: int, lesson: Lesson) -> None:
        """Keep a lesson."""
        if not self._limit or not self._prompts:
            return
        examples = {
            name: tuple((self._view(e.view), e.prompt, e.multimask) for e in given)
            for name, given in lesson.examples.items()
            if name in self._prompts
        }
        stored = _Stored(
            np.packbits(lesson.mask, axis=-1),
            _size(lesson.mask),
            lesson.clicks,
            examples,
            lesson.is_accepted,
        )
        for view in stored.views:
            view.users += 1
        self._lessons.append((domain, stored))
        mine = [entry for entry in self._lessons if entry[0] == domain]
        if len(mine) > self._limit:
            self._drop(mine[0])
        self._keep_within_bounds()

    def draw(self, domain: int, rng: Generator) -> Lesson | None:
        """A random lesson of the domain."""
        mine = [stored for number, stored in self._lessons if number == domain]
        return mine[int(rng.integers(len(mine)))].unpacked() if mine else None

    def forget(self, domain: int) -> None:
        """Drop all lessons of a domain."""
        for entry in [e for e in self._lessons if e[0] == domain]:
            self._drop(entry)

    def close(self) -> None:
        """Drop everything, files included."""
        self._lessons.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _view(self, view: ImageEmbedding) -> _StoredView:
        found = self._known.get(view)
        if found is None or found.users <= 0:
            kept = {n: t for n, t in view.features.items() if t.is_floating_point()}
            slim = ImageEmbedding(kept, view.geometry, view.model, view.preprocessing)
            found = self._known[view] = _StoredView(slim)
        return found

    def _views(self) -> list[_StoredView]:
        found = {id(view): view for _, stored in self._lessons for view in stored.views}
        return list(found.values())

    def _drop(self, entry: tuple[int, _Stored]) -> None:
        self._lessons = [other for other in self._lessons if other is not entry]
        for view in entry[1].views:
            view.release()

    def _keep_within_bounds(self) -> None:
        inside, _ = self.nbytes
        for view in self._views():
            if inside <= self._memory:
                break
            if view.in_memory:
                try:
                    view.spill(self._spill_folder())
                except (DataError, OSError):  # the disk is full: fewer lessons instead
                    break
                inside -= view.nbytes
        while len(self._lessons) > 1:
            inside, outside = self.nbytes
            if inside <= self._memory and outside <= self._disk:
                return
            self._drop(self._lessons[0])

    def _spill_folder(self) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="samadapt-replay-", ignore_cleanup_errors=True)
        return Path(self._folder.name)


def _size(mask: NDArray[np.bool_]) -> tuple[int, int]:
    return int(mask.shape[0]), int(mask.shape[1])
