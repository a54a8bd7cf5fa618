"""`EmbeddingStore`: the disk cache of encoded images, shared by all commands and processes."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from samadapt.errors import DataError, ModelError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

try:
    import fcntl
except ImportError:  # Windows: eviction is not locked there
    fcntl = None  # type: ignore[assignment]

CACHE_VARIABLE = "SAMADAPT_CACHE"
"""Environment variable that names the cache's folder."""
GIGABYTE = 10**9
DEFAULT_LIMIT = 10 * GIGABYTE

_SUFFIX = ".safetensors"
_OWN = re.compile(r"[0-9a-f]{64}\.safetensors|\.[0-9a-f]{64}\.safetensors\.[0-9a-f]{8}\.part")
"""Names of the store's own files; other files in the folder are neither removed nor counted."""
_KEEP = 0.9
"""An eviction leaves this share of the limit, so that not every new file needs one."""
_RECOUNT = 64
"""The folder is counted again after this number of files, as other processes write to it too."""
_HEADER_BYTES = 4096
_ABANDONED_SECONDS = 3600.0


def cache_folder() -> Path:
    """Return the cache's folder: $SAMADAPT_CACHE, or one in the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "samadapt" / "embeddings"


class EmbeddingStore:
    """Encoded images on the disk, up to `limit` bytes; the least recently used are evicted first.

    Files appear complete or not at all, and a damaged file counts as missing. Several processes
    may use the same folder. A failed write (a full disk) is no error: the image is encoded again
    next time.

    Args:
        folder: folder of the files, created when first needed; defaults to the user's cache.
        limit: bytes; 0 keeps nothing.
        is_cyclic: whether the same images are read repeatedly, as in the epochs of a training.
            Then the store does not evict files that it has used, and does not keep a new
            embedding without free space, which would only replace one that is needed again.
    """

    def __init__(
        self, folder: Path | None = None, limit: int = DEFAULT_LIMIT, *, is_cyclic: bool = False
    ) -> None:
        self.folder = cache_folder() if folder is None else Path(folder)
        self.limit = limit
        self.problem = ""
        """Reason why the last embedding could not be written; "" if all were written."""
        self._is_cyclic = is_cyclic
        self._used: set[str] = set()
        self._lock = threading.Lock()
        self._bytes: int | None = None
        self._puts = 0

    def __reduce__(self) -> tuple[Callable[[], EmbeddingStore], tuple[()]]:
        """Pickle only the folder and the limit; each worker counts for itself."""
        kept = partial(EmbeddingStore, self.folder, self.limit, is_cyclic=self._is_cyclic)
        return kept, ()

    def path(self, model: SegmentationModel, content_hash: str) -> Path:
        """The file of an image's embedding.

        The name is a SHA-256 over everything that the embedding depends on: the image's pixels,
        the model's weights, the version of the preprocessing and the encoder's number format.
        """
        parts = (
            content_hash,
            model.identity.name,
            model.identity.weights_hash,
            model.preprocessing,
            str(model.encoder_dtype),
        )
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}{_SUFFIX}"

    def has(self, model: SegmentationModel, content_hash: str) -> bool:
        """Whether the store has an image's embedding."""
        return self.path(model, content_hash).is_file()

    def get(self, model: SegmentationModel, content_hash: str) -> ImageEmbedding | None:
        """The embedding of an image, on the model's device; None if it is missing."""
        path = self.path(model, content_hash)
        if self.limit <= 0 or not path.is_file():
            return None
        try:
            embedding = ImageEmbedding.load(path, model.device)
            model.check_embedding(embedding)
            os.utime(path)
        except (ModelError, OSError):
            _remove(path)
            return None
        self._used.add(path.name)
        return embedding

    def put(self, model: SegmentationModel, content_hash: str, embedding: ImageEmbedding) -> bool:
        """Store an embedding; False if it could not be written, or there is no space for it."""
        path = self.path(model, content_hash)
        if self.limit <= 0:
            return False
        if self._is_cyclic and not self._has_room(embedding.nbytes + _HEADER_BYTES):
            return False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            embedding.save(path)
            size = path.stat().st_size
        except (DataError, OSError) as error:
            self.problem = str(error)
            return False
        self._used.add(path.name)
        with self._lock:
            self._puts += 1
            if self._bytes is None or self._puts % _RECOUNT == 0:
                self._bytes = sum(size for _, size, _ in self._files())
            else:
                self._bytes += size
            if self._bytes > self.limit and not self._is_cyclic:
                self._evict()
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of all embeddings on the disk."""
        return sum(size for _, size, _ in self._files())

    def _has_room(self, size: int) -> bool:
        """Whether `size` bytes fit, after evicting files that this store has not used."""
        with self._lock:
            if self._bytes is not None and self._bytes + size <= self.limit:
                return True
            files = sorted(self._files())
            total = sum(length for _, length, _ in files)
            with _only_one(self.folder / "lock") as mine:
                for _, length, path in files if mine else ():
                    if total + size <= self.limit:
                        break
                    if path.name not in self._used:
                        _remove(path)
                        total -= length
            self._bytes = total
            return total + size <= self.limit

    def _evict(self) -> None:
        """Remove the least recently used until nine tenths of the limit are left."""
        with _only_one(self.folder / "lock") as mine:
            if not mine:
                return
            files = sorted(self._files(), reverse=True)
            total = 0
            for _, size, path in files:
                total += size
                # The one used last stays even if it alone exceeds the limit.
                if total > self.limit * _KEEP and path != files[0][2]:
                    total -= size
                    _remove(path)
            self._bytes = total

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of every embedding; clears away abandoned files."""
        for path in self.folder.glob("*/*"):
            if not _OWN.fullmatch(path.name):
                continue
            try:
                state = path.stat()
            except OSError:
                continue  # another process removed it
            if path.suffix == _SUFFIX:
                yield state.st_mtime, state.st_size, path
            elif path.suffix == ".part" and time.time() - state.st_mtime > _ABANDONED_SECONDS:
                _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


@contextmanager
def _only_one(path: Path) -> Iterator[bool]:
    """Whether this process may evict: False while another one does."""
    if fcntl is None:
        yield True
        return
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
