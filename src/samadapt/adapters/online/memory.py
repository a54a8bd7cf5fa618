"""`ReplayMemory`: bounded storage of replay samples, with their views, prompts and masks."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

from numpy.random import Generator

from samadapt.adapters.online.replay_sample import ReplaySample
from samadapt.adapters.online.stored_sample import StoredSample, StoredView, stored
from samadapt.errors import DataError, ModelError
from samadapt.models.embedding import ImageEmbedding

MEGABYTE = 1 << 20

_SAMPLE = "lesson-{:08d}.safetensors"
_OURS = ("lesson-*.safetensors", "view-*.safetensors", ".*.part")


class ReplayMemory:
    """Replay samples of earlier objects by domain, the oldest dropped first.

    Views are kept without the pixels for close-ups; objects on one image share its view. Views
    beyond `memory` bytes go to the disk. Beyond `disk` bytes there, or when the disk is full, the
    oldest samples are dropped. `keep` writes all samples to the folder `home`, and `load` reads
    them again. Each sample is one file, written after its views; files of a killed program that
    are incomplete are removed.

    Args:
        objects: largest number of samples per domain.
        prompts: kinds of prompts to keep.
        memory: limit of views in memory, in bytes.
        disk: limit of views on the disk, in bytes.
    """

    def __init__(self, objects: int, prompts: Sequence[str], memory: int, disk: int) -> None:
        self._limit = objects
        kept = {"any": "sent", "corrected": "first"}
        self._prompts = {kept.get(prompt, prompt) for prompt in prompts}
        self._memory, self._disk = memory, disk
        self._samples: list[StoredSample] = []
        self._next = 0
        self._known: WeakKeyDictionary[ImageEmbedding, StoredView] = WeakKeyDictionary()
        self._folder: TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def nbytes(self) -> tuple[int, int]:
        """Bytes of views in memory, and on the disk; some may be in both."""
        views = self._views()
        inside = sum(view.nbytes for view in views if view.in_memory)
        return inside, sum(view.nbytes for view in views if view.path is not None)

    def add(self, domain: int, sample: ReplaySample) -> None:
        """Keep a replay sample."""
        if not self._limit or not self._prompts:
            return
        wanted = {k: given for k, given in sample.examples.items() if k in self._prompts}
        views = {id(e.view): self._view(e.view) for given in wanted.values() for e in given}
        fresh = stored(domain, replace(sample, examples=wanted), views)
        for view in fresh.views:
            view.users += 1
        self._samples.append(fresh)
        mine = [entry for entry in self._samples if entry.domain == domain]
        if len(mine) > self._limit:
            self._drop(mine[0])
        self._keep_within_bounds()

    def draw(self, domain: int, rng: Generator) -> ReplaySample | None:
        """A random sample of the domain; samples with lost or damaged files are dropped."""
        mine = [entry for entry in self._samples if entry.domain == domain]
        if not mine:
            return None
        chosen = mine[int(rng.integers(len(mine)))]
        try:
            return chosen.unpacked()
        except ModelError:
            self._drop(chosen)
            return None

    def forget(self, domain: int) -> None:
        """Drop all samples of a domain."""
        for entry in [e for e in self._samples if e.domain == domain]:
            self._drop(entry)

    def keep(self, home: Path) -> None:
        """Write new samples to the folder `home`, and remove all other files from it.

        Raises:
            DataError: the folder cannot be written to; the samples stay in memory.
        """
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{home} cannot be made ({error.strerror}): check the folder") from None
        for entry in list(self._samples):
            if entry.path is None or entry.path.parent != home:
                try:
                    for view in entry.views:
                        view.write(home)
                except ModelError:
                    self._drop(entry)
                else:
                    entry.save(home / _SAMPLE.format(self._next))
                    self._next += 1
        self._clear(home)
        self._keep_within_bounds()

    def load(self, home: Path, domains: Collection[int]) -> None:
        """Replace the samples by those of these domains that `keep` wrote to `home`."""
        self.close()
        views: dict[str, StoredView] = {}
        for path in sorted(home.glob("lesson-*.safetensors")):
            with contextlib.suppress(DataError):
                entry = StoredSample.load(path, views)
                if entry.domain in domains:
                    self._samples.append(entry)
        for view in [view for entry in self._samples for view in entry.views]:
            view.users += 1
        self._clear(home)

    def close(self) -> None:
        """Drop everything from memory and all files except those that `keep` wrote."""
        self._samples.clear()
        self._known.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _view(self, view: ImageEmbedding) -> StoredView:
        found = self._known.get(view)
        if found is None or found.users <= 0:
            kept = {n: t for n, t in view.features.items() if t.is_floating_point()}
            slim = ImageEmbedding(kept, view.geometry, view.model, view.preprocessing)
            found = self._known[view] = StoredView(slim)
        return found

    def _views(self) -> list[StoredView]:
        return list({id(view): view for entry in self._samples for view in entry.views}.values())

    def _drop(self, entry: StoredSample) -> None:
        self._samples = [other for other in self._samples if other is not entry]
        if entry.path is not None:
            _remove(entry.path)
        for view in entry.views:
            view.release()

    def _clear(self, home: Path) -> None:
        """Remove files that belong to no sample; number new ones after those that are there."""
        files = {path for pattern in _OURS for path in home.glob(pattern)}
        mine = {entry.path for entry in self._samples} | {view.path for view in self._views()}
        for path in files - mine:
            _remove(path)
        taken = [path.stem.removeprefix("lesson-") for path in home.glob("lesson-*.safetensors")]
        self._next = max([self._next, *(int(name) + 1 for name in taken if name.isdigit())])

    def _keep_within_bounds(self) -> None:
        inside, _ = self.nbytes
        for view in self._views():
            if inside <= self._memory:
                break
            if view.in_memory:
                try:
                    if view.path is None:
                        view.write(self._spill_folder())
                except (DataError, OSError):  # the disk is full: fewer samples instead
                    break
                view.leave_memory()
                inside -= view.nbytes
        while len(self._samples) > 1:
            inside, outside = self.nbytes
            if inside <= self._memory and outside <= self._disk:
                return
            self._drop(self._samples[0])

    def _spill_folder(self) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="samadapt-replay-", ignore_cleanup_errors=True)
        return Path(self._folder.name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
