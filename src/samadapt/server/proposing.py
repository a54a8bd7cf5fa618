"""`Proposing`: objects are looked for on all images behind the work; what is found waits."""

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
"""Seconds that the tiles of an image may take to be made."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is found on an image, and whether it is of another kind than what was learned from."""

    proposals: Sequence[NewProposal]
    is_unlike: bool = False


Find = Callable[[StoredImage, ImageEmbedding], Found]
FindLarge = Callable[[TiledImage, Callable[[], None]], Found]
"""Looks at an image larger than memory; calls the function between windows."""


@dataclass(slots=True)
class Progress(RunProgress):
    """How far a run over all images is.

    Attributes:
        what: what is looked for, in words.
        images: to look at.
        looked: looked at so far.
        found: proposals so far.
        failed: images that could not be used.
        unlike: images with proposals that are of another kind than those with examples.
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
        """As the page takes it."""
        return {k: v for k, v in RunProgress.to_json(self).items() if k != "labels"}


class Proposing(BackgroundRun[Progress]):
    """Looks for objects on all images, one run at a time, and gives way to people.

    Args:
        gallery: the images.
        encoder: encodes them.
        tiled: those that are larger than memory.
    """

    def __init__(self, gallery: Gallery, encoder: Encoder, tiled: TiledImages) -> None:
        self._gallery, self._encoder, self._tiled = gallery, encoder, tiled
        super().__init__("proposing", Progress())

    @property
    def what(self) -> str:
        """What is looked for, in words, with the label's present name."""
        said = self.progress.what, self.progress.labels
        return self._gallery.project.proposals.present_source(*said)

    def start(
        self,
        source: str,
        labels: Mapping[str, int | None],
        find: Find,
        find_large: FindLarge | None = None,
    ) -> None:
        """Look at all images that are not finished.

        Args:
            source: what the proposals come from: those that it made before give way.
            labels: numbers of the labels that it names and finds, which may be renamed meanwhile
                (None: the name is that of no label).
            find: looks at one image.
            find_large: looks at one that is larger than memory; those fail if left out.

        Raises:
            ConflictError: a run goes on already.
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
                progress.failed += 1  # whoever opens the image is told why
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
