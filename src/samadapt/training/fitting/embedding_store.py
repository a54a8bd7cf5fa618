"""`EmbeddingStore`: encoded images on the disk, within a bound."""

from __future__ import annotations

import hashlib
import os
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from samadapt.errors import DataError, ModelError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

DEFAULT_BYTES = 4 << 30
_SUFFIX = ".safetensors"
_OWN = re.compile(r"[0-9a-f]{40}\.safetensors|\.[0-9a-f]{40}\.safetensors\.[0-9a-f]{8}\.part")
"""Names of the store's own files: nothing else in the folder is ever removed or counted."""
_STALE_SECONDS = 3600.0


class EmbeddingStore:
    """Keeps embeddings of one model in a folder, named by the contents of their images.

    Runs share the folder, one after another or at the same time. When it is full, entries that
    this run has not used make room, the oldest first; if there are none, new embeddings are not
    kept, because replacing those that come round again in the next epoch would help nobody.

    Args:
        folder: made when the first embedding is kept.
        limit: most bytes of all files; 0 keeps nothing.
        model: the one that encodes.
    """

    def __init__(
        self, folder: str | os.PathLike[str], limit: int, model: SegmentationModel
    ) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._model = model
        self._used: set[str] = set()
        self.encoded = 0
        """How many images were encoded rather than found."""
        if limit > 0:
            self._remove_leftovers()

    def get(self, contents: bytes, encode: Callable[[], ImageEmbedding]) -> ImageEmbedding:
        """The embedding of an image.

        Args:
            contents: of the image file.
            encode: called when it is not there, or damaged.
        """
        if self.limit <= 0:
            self.encoded += 1
            return _laid_out(encode())
        name = self._name(contents)
        path = self.folder / name
        self._used.add(name)
        try:
            found = ImageEmbedding.load(path, self._model.device)
            self._model.check_embedding(found)
            os.utime(path)
            return _laid_out(found)
        except (ModelError, OSError):
            pass
        embedding = encode()
        self.encoded += 1
        self._keep(path, embedding)
        return _laid_out(embedding)

    @property
    def nbytes(self) -> int:
        """Size of all files that are kept now."""
        return sum(size for _, size, _ in self._entries())

    def _name(self, contents: bytes) -> str:
        model = self._model
        about = [
            model.identity.name,
            model.identity.weights_hash,
            model.preprocessing,
            str(model.encoder_dtype),
        ]
        digest = hashlib.sha256("\0".join(about).encode())
        digest.update(hashlib.sha256(contents).digest())
        return digest.hexdigest()[:40] + _SUFFIX

    def _keep(self, path: Path, embedding: ImageEmbedding) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._has_room_for(embedding.nbytes + 4096):
                embedding.save(path)
        except (DataError, OSError) as error:
            self.limit = 0
            warnings.warn(
                f"embeddings are not kept on the disk any more: {error}", RuntimeWarning, 3
            )

    def _has_room_for(self, size: int) -> bool:
        """Whether `size` bytes fit, once what other runs left behind is gone."""
        entries = sorted(self._entries())
        free = self.limit - sum(size for _, size, _ in entries)
        for _, length, path in entries:
            if free >= size:
                break
            if path.name not in self._used:
                path.unlink(missing_ok=True)
                free += length
        return free >= size

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of every entry."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if not _OWN.fullmatch(path.name):
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        return found

    def _remove_leftovers(self) -> None:
        """Halves of files that a killed run left behind."""
        for path in self.folder.glob(f".*{_SUFFIX}.*.part"):
            try:
                if (
                    _OWN.fullmatch(path.name)
                    and time.time() - path.stat().st_mtime > _STALE_SECONDS
                ):
                    path.unlink(missing_ok=True)
            except OSError:
                continue


def _laid_out(embedding: ImageEmbedding) -> ImageEmbedding:
    """The same numbers in one memory format, be they encoded or read.

    Convolutions round differently in other formats, and a run shall not depend on what it found.
    """
    features = {
        name: tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4 and tensor.is_floating_point()
        else tensor
        for name, tensor in embedding.features.items()
    }
    return ImageEmbedding(features, embedding.geometry, embedding.model, embedding.preprocessing)


def default_folder() -> Path:
    """Where embeddings are kept unless told otherwise: in the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "samadapt" / "fit-embeddings"
