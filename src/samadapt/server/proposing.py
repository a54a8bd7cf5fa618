"""`Proposing`: searches all images for objects in the background, and stores proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from samadapt.data.tiled import TiledImage
from samadapt.errors import ImageError, SamadaptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.server.background import BackgroundRun, RunProgress
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.server.tiled_images import TiledImages
from samadapt.server.waiting import is_known
from samadapt.store.proposals import NewProposal
from samadapt.store.records import StoredImage

_LONGEST = 3600.0
"""Most seconds to wait until the tiles of an image are made."""


@dataclass(frozen=True, slots=True)
class Found:
    """Proposals on an image, and whether the image is from another domain than the examples."""

    proposals: Sequence[NewProposal]
    is_unlike: bool = False


Find = Callable[[StoredImage, ImageEmbedding], Found]
FindLarge = Callable[[TiledImage, Callable[[], None]], Found]
"""Searches an image larger than memory; calls the given function between windows."""


@dataclass(slots=True)
class Progress(RunProgress):
    """Progress of a run over all images.

    Attributes:
        what: what is searched for, in words.
        images: number of images to search.
        looked: number of images searched so far.
        found: number of proposals made so far.
        failed: number of images that could not be searched.
        unlike: numbers of images with proposals that are from another domain than the examples.
        labels: numbers of labels by the names that they had when the run began.
    """

    what: str = ""
    images: int = 0
    looked: int = 0
    found: int = 0
    failed: int = 0
    unlike: list[int] = field(default_factory=list)
    labels: Mapping[str, int | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all fields but `labels` as a JSON object."""
        return {k: v for k, v in RunProgress.to_json(self).items() if k != "labels"}


class Proposing(BackgroundRun[Progress]):
    """Searches all images for objects, one run at a time; requests of people have priority.

    Args:
        gallery: the images.
        encoder: encodes them.
        tiled: the images that are larger than memory.
    """

    def __init__(self, gallery: Gallery, encoder: Encoder, tiled: TiledImages) -> None:
        self._gallery, self._encoder, self._tiled = gallery, encoder, tiled
        super().__init__("proposing", Progress())

    @property
    def what(self) -> str:
        """Description of the search's target for people, with the label's present name."""
        said = self.progress.what, self.progress.labels
        return self._gallery.project.proposals.present_source(*said)

    def start(
        self,
        source: str,
        labels: Mapping[str, int | None],
        find: Find,
        find_large: FindLarge | None = None,
    ) -> None:
        """Search all images that are not finished.

        Args:
            source: names the search; its proposals replace those of earlier runs of the same name.
            labels: numbers of the labels that `source` and the proposals name (None: no label has
                the name), as labels may be renamed during the run.
            find: searches one image.
            find_large: searches one that is larger than memory; those fail if left out.

        Raises:
            ConflictError: another run is going on.
        """
        numbers = [
            entry.id
            for entry in self._gallery.scan()
            if entry.present and not entry.mark and not entry.problem
        ]
        progress = Progress(what=source, images=len(numbers), labels=labels)
        busy = "objects are being looked for already: stop that first, or wait"
        finders = find, find_large
        self.begin(progress, lambda: self._look_at_all(progress, numbers, finders), busy)

    def _look_at_all(
        self,
        progress: Progress,
        numbers: Sequence[int],
        finders: tuple[Find, FindLarge | None],
    ) -> None:
        for number in numbers:
            self.check()
            try:
                self._look(progress, number, finders)
            except (SamadaptError, OSError, MemoryError):
                progress.failed += 1  # the reason is shown when the image is opened
            progress.looked += 1

    def _look(
        self, progress: Progress, number: int, finders: tuple[Find, FindLarge | None]
    ) -> None:
        find, find_large = finders
        image = self._gallery.looked_at(number)
        path = self._gallery.path(image)
        if self._tiled.is_tiled(path):
            if find_large is None:
                raise ImageError(f"{image.name} is too large to be searched by examples")
            windows = self._tiled.get(path, _LONGEST)  # keeps the file open
            facts, found = image.facts, find_large(windows.image, self.check)
        else:
            embedding, facts = self._encoder.behind(number, path, image.facts)
            found = find(image, embedding)
        known = [o.rle for o in self._gallery.project.objects.of_image(number)]
        content = None if facts is None else facts.content_hash
        fresh = [
            replace(one, content_hash=content)
            for one in found.proposals
            if not is_known(one.rle, known)
        ]
        proposals = self._gallery.project.proposals
        count = proposals.put(progress.what, {number: fresh}, progress.labels)
        progress.found += count
        if count and found.is_unlike:
            progress.unlike.append(number)
