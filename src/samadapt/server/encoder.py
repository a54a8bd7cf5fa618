"""`Encoder`: encodes images for all clients, with a cache in memory and one on the disk."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samadapt.data.stacks.address import file_of
from samadapt.errors import ImageError, SamadaptError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.server.decoding import Decoder
from samadapt.session.images import hash_pixels
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.records import ImageFacts

_MOST_PATIENCE = 30.0
"""Most seconds that background work waits for requests before it encodes an image."""

Found = Callable[[int, ImageFacts | None, str | None], None]
"""Called with (image, facts, problem): the facts of a file, or why it cannot be read."""


class Encoder:
    """Gives the embeddings of images: from memory, else from the disk, else from the model.

    An image is encoded once, even if several clients ask at the same time. A background thread
    encodes the images that are likely to be opened next, one at a time; requests come first.

    Args:
        model: encodes the images.
        store: cache of embeddings on the disk.
        found: called after every file that was read.
        limit: most bytes of embeddings in memory.
        decoder: decodes image files.
        is_tiled: returns True for images larger than memory; those are encoded window by window,
            and not here.

    Attributes:
        decoder: decodes image files.
    """

    def __init__(
        self,
        model: SegmentationModel,
        store: EmbeddingStore,
        found: Found,
        limit: int = 1 << 29,
        decoder: Decoder | None = None,
        is_tiled: Callable[[Path], bool] = lambda path: False,
    ) -> None:
        self.decoder, self._is_tiled = decoder or Decoder(), is_tiled
        self.model, self._store, self._found, self._limit = model, store, found, limit
        self._memory: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._bytes = 0
        self._encoding = threading.Lock()
        self._changed = threading.Condition()
        self._under_way: set[Path] = set()
        self._waiting = 0
        self._ahead: deque[tuple[int, Path, ImageFacts | None]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def get(
        self, image_id: int, path: Path, facts: ImageFacts | None
    ) -> tuple[ImageEmbedding, ImageFacts]:
        """Return embedding and facts of an image file as it is now; waits until it is encoded.

        Args:
            image_id: number of the image.
            path: its file.
            facts: its known facts, if any; the file is not read again if it has not changed since.

        Raises:
            ImageError: the file cannot be read.
        """
        with self._changed:
            self._waiting += 1
        try:
            return self._embedding(image_id, path, facts)
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()

    def note_pixels(self, image_id: int, path: Path) -> None:
        """Decode an image file and report its facts (size and content hash); encodes nothing.

        Raises:
            ImageError: the file cannot be read.
        """
        state = _state(path)
        with self.decoder.reading(path) as pixels:
            facts = _facts(pixels, state)
        self._found(image_id, facts, None)

    def behind(
        self, image_id: int, path: Path, facts: ImageFacts | None
    ) -> tuple[ImageEmbedding, ImageFacts]:
        """Do the same as `get`, for background work: wait first until no request waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout=_MOST_PATIENCE)
        return self._embedding(image_id, path, facts)

    def is_ready(self, facts: ImageFacts | None) -> bool:
        """Return True if `get` would return without encoding."""
        content = None if facts is None else facts.content_hash
        if content is None:
            return False
        with self._changed:
            known = content in self._memory
        return known or self._store.has(self.model, content)

    def look_ahead(self, images: Sequence[tuple[int, Path, ImageFacts | None]]) -> None:
        """Encode images in the background, in this order; replaces those of an earlier call."""
        with self._changed:
            self._ahead = deque(images)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._run, name="samadapt-encoder", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the background thread."""
        with self._changed:
            self._closed = True
            self._ahead.clear()
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout=10)

    # -- private ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (bool(self._ahead) and not self._waiting)
                )
                if self._closed:
                    return
                image_id, path, facts = self._ahead.popleft()
            try:
                self._embedding(image_id, path, facts)
            except (SamadaptError, OSError, MemoryError):
                continue  # it was reported to `found`, and is raised again when the image is opened

    def _embedding(
        self, image_id: int, path: Path, facts: ImageFacts | None
    ) -> tuple[ImageEmbedding, ImageFacts]:
        if self._is_windowed(path):
            raise ImageError(f"{path.name} is larger than memory: it is only read in windows")
        with self._alone(path):
            state = _state(path)
            if facts is not None and facts.content_hash is not None and _is_same(facts, state):
                known = self._known(facts.content_hash)
                if known is not None:
                    return known, facts
            return self._read(image_id, path, state)

    def _is_windowed(self, path: Path) -> bool:
        try:
            return file_of(path).exists() and self._is_tiled(path)
        except ImageError:
            return False  # a broken header: raised again when the file is read

    def _read(
        self, image_id: int, path: Path, state: os.stat_result | None
    ) -> tuple[ImageEmbedding, ImageFacts]:
        try:
            with self.decoder.reading(path) as pixels:
                facts = _facts(pixels, state)
                content = str(facts.content_hash)
                embedding = self._known(content)
                if embedding is None:
                    with self._encoding:
                        embedding = self.model.encode(pixels)
                    self._remember(content, embedding)
                    self._store.put(self.model, content, embedding)
                del pixels
        except ImageError as error:
            self._found(image_id, None, str(error))
            raise
        self._found(image_id, facts, None)
        return embedding, facts

    def _known(self, content: str) -> ImageEmbedding | None:
        with self._changed:
            found = self._memory.get(content)
            if found is not None:
                self._memory.move_to_end(content)
                return found
        found = self._store.get(self.model, content)
        if found is not None:
            self._remember(content, found)
        return found

    def _remember(self, content: str, embedding: ImageEmbedding) -> None:
        with self._changed:
            if content in self._memory:
                return
            self._memory[content] = embedding
            self._bytes += embedding.nbytes
            while self._bytes > self._limit and len(self._memory) > 1:
                _, dropped = self._memory.popitem(last=False)
                self._bytes -= dropped.nbytes

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Lock a file within the block: a second thread waits, and then finds it encoded."""
        with self._changed:
            self._changed.wait_for(lambda: path not in self._under_way)
            self._under_way.add(path)
        try:
            yield
        finally:
            with self._changed:
                self._under_way.discard(path)
                self._changed.notify_all()


def _state(path: Path) -> os.stat_result | None:
    file = file_of(path)
    return file.stat() if file.exists() else None


def _facts(pixels: NDArray[np.uint8], state: os.stat_result | None) -> ImageFacts:
    size, modified = (0, 0) if state is None else (state.st_size, state.st_mtime_ns)
    return ImageFacts(pixels.shape[0], pixels.shape[1], hash_pixels(pixels), size, modified)


def _is_same(facts: ImageFacts, state: os.stat_result | None) -> bool:
    return state is not None and (facts.file_size, facts.modified) == (
        state.st_size,
        state.st_mtime_ns,
    )
