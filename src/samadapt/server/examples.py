"""`Examples`: accepted objects of a label in a project, as examples for a search."""

from __future__ import annotations

import threading

from samadapt.errors import SamadaptError
from samadapt.proposals.likeness import ExampleImage
from samadapt.server.decoding import Decoder
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.store.records import StoredObject

MOST_IMAGES = 6
"""Most images whose objects serve as examples: those with the latest ones."""


class Examples:
    """Reads images with examples of a label; caches the result of the last call.

    Args:
        gallery: the images.
        encoder: encodes them.
        decoder: decodes their files.
    """

    def __init__(self, gallery: Gallery, encoder: Encoder, decoder: Decoder) -> None:
        self._gallery, self._encoder, self._decoder = gallery, encoder, decoder
        self._lock = threading.Lock()
        self._kept: tuple[object, list[ExampleImage]] | None = None

    def of(self, label_id: int | None, but: int = 0) -> list[ExampleImage]:
        """Return the images with the latest objects of a label, without image `but`."""
        things = self._gallery.project.objects.all()
        with_label = [thing for thing in things if thing.label_id == label_id]
        latest = dict.fromkeys(t.image_id for t in reversed(with_label) if t.image_id != but)
        wanted = list(latest)[:MOST_IMAGES]
        there = [thing for thing in things if thing.image_id in wanted]
        key = label_id, tuple((thing.id, thing.revision) for thing in there)
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = key, [*self._read(wanted, there, label_id)]
            return self._kept[1]

    def _read(
        self, wanted: list[int], things: list[StoredObject], label_id: int | None
    ) -> list[ExampleImage]:
        found = []
        for number in wanted:
            try:
                image = self._gallery.looked_at(number)
                path = self._gallery.path(image)
                embedding, facts = self._encoder.get(number, path, image.facts)
                with self._decoder.reading(path) as pixels:
                    copy = pixels.copy()
            except SamadaptError:
                continue  # an image that is gone is no example
            size = facts.height, facts.width
            here = [t for t in things if t.image_id == number and (t.height, t.width) == size]
            examples = [t.rle for t in here if t.label_id == label_id]
            if examples:
                others = [t.rle for t in here if t.label_id != label_id]
                found.append(ExampleImage(embedding, copy, examples, others))
        return found
