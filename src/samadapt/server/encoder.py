"""`Encoder`: one image encoder for everybody, with a memory, a disk and a look ahead."""

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
"""Seconds that work in the background gives way for one image."""

Found = Callable[[int, ImageFacts | None, str | None], None]
"""Told what a file turned out to be, or why it cannot be read: (image, facts, problem)."""


class Encoder:
    """Encodes images once, whoever asks: embeddings in memory, then on the disk, then the model.

    Images that are likely to be next are encoded by a thread in the background, one at a time;
    somebody who waits comes first.

    Args:
        model: encodes.
        store: embeddings on the disk.
        found: told about every file that was looked at.
        limit: bytes of embeddings in memory.
        decoder: decodes image files.
        is_tiled: tells which images are larger than memory; those are encoded window by window,
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
        """The embedding of an image file as it is now; waits until it is encoded.

        Args:
            image_id: which.
            path: its file.
            facts: what was known of it; saves reading it when it has not changed since.

        Raises:
            ImageError: unreadable.
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
        """Decode an image file for its facts, and encode nothing.

        Raises:
            ImageError: unreadable.
        """
        state = _state(path)
        with self.decoder.reading(path) as pixels:
            facts = _facts(pixels, state)
        self._found(image_id, facts, None)

    def behind(
        self, image_id: int, path: Path, facts: ImageFacts | None
    ) -> tuple[ImageEmbedding, ImageFacts]:
        """As `get`, for work in the background: begins when nobody else waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout=_MOST_PATIENCE)
        return self._embedding(image_id, path, facts)

    def is_ready(self, facts: ImageFacts | None) -> bool:
        """Whether `get` would answer without encoding."""
        content = None if facts is None else facts.content_hash
        if content is None:
            return False
        with self._changed:
            known = content in self._memory
        return known or self._store.has(self.model, content)

    def look_ahead(self, images: Sequence[tuple[int, Path, ImageFacts | None]]) -> None:
        """Encode these next, in this order, instead of those asked for before."""
        with self._changed:
            self._ahead = deque(images)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._run, name="samadapt-encoder", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop looking ahead."""
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
                continue  # it was noted; whoever opens the image is told

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
            return False  # a broken header: what reads the file says why

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
        """Nobody else works on the same file meanwhile: the second one finds it encoded."""
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
