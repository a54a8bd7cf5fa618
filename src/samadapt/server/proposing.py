"""`Proposing`: objects are looked for on all images behind the work; what is found waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from samadapt.errors import BusyError, SamadaptError, first_line
from samadapt.models.embedding import ImageEmbedding
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.store.proposals import NewProposal
from samadapt.store.records import StoredImage

Find = Callable[[StoredImage, ImageEmbedding], Sequence[NewProposal]]
"""What is found on an image."""

_LOG = logging.getLogger("samadapt.server")
COVERED = 0.5
"""Share of a proposal inside an accepted object from which on it is known already."""


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        what: what is looked for, in words.
        images: to look at.
        looked: looked at so far.
        found: proposals so far.
        failed: images that could not be used.
        running: whether it goes on.
        problem: why it ended early; empty if it did not.
    """

    what: str = ""
    images: int = 0
    looked: int = 0
    found: int = 0
    failed: int = 0
    running: bool = False
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the page takes it."""
        return {name: getattr(self, name) for name in self.__slots__}


class Proposing:
    """One run at a time, in a thread that gives way to people.

    Args:
        gallery: the images.
        encoder: encodes them.
    """

    def __init__(self, gallery: Gallery, encoder: Encoder) -> None:
        self._gallery, self._encoder = gallery, encoder
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress = Progress()

    def start(self, source: str, what: str, find: Find) -> None:
        """Look at all images that are not finished.

        Args:
            source: what the proposals come from: those that it made before give way.
            what: the same in words.
            find: looks at one image.

        Raises:
            BusyError: a run goes on already.
        """
        with self._lock:
            if self.progress.running:
                raise BusyError("objects are being looked for already: stop that first, or wait")
            numbers = [
                entry.id
                for entry in self._gallery.scan()
                if entry.present and not entry.mark and not entry.problem
            ]
            self.progress = Progress(what, images=len(numbers), running=True)
            self._stopping.clear()
            self._thread = threading.Thread(
                target=self._run, args=(source, numbers, find), name="samadapt-proposing"
            )
            self._thread.daemon = True
            self._thread.start()

    def stop(self) -> None:
        """End the run after the present image; what was found stays."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=10)

    def _run(self, source: str, numbers: Sequence[int], find: Find) -> None:
        progress = self.progress
        try:
            for number in numbers:
                if self._stopping.is_set():
                    progress.problem = "stopped"
                    return
                try:
                    progress.found += self._look(source, number, find)
                except (SamadaptError, OSError, MemoryError):
                    progress.failed += 1  # whoever opens the image is told why
                progress.looked += 1
        except Exception as error:
            _LOG.exception("looking for objects ended", exc_info=error)
            progress.problem = first_line(error)
        finally:
            progress.running = False

    def _look(self, source: str, number: int, find: Find) -> int:
        image = self._gallery.looked_at(number)
        path = self._gallery.path(image)
        embedding, _ = self._encoder.behind(number, path, image.facts)
        found = find(image, embedding)
        known = [o.rle for o in self._gallery.project.objects.of_image(number)]
        fresh = [one for one in found if all(one.rle.share_in(other) < COVERED for other in known)]
        return self._gallery.project.proposals.put(source, {number: fresh})
