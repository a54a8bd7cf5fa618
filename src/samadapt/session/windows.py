"""`ImageWindows`: windows of a large image for a session, encoded one by one."""

from __future__ import annotations

import threading
from collections import OrderedDict

from samadapt.data.frames import Frame
from samadapt.data.tiled import TiledImage
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding

SIDE = 1024
"""Points of a window along each side."""


class ImageWindows:
    """Windows of one large image; the most recently used ones are kept in memory.

    Args:
        model: encodes them.
        image: the image.
        limit: memory limit of kept embeddings, in bytes.
        side: points of a window along each side.
    """

    def __init__(
        self,
        model: SegmentationModel,
        image: TiledImage,
        limit: int = 1 << 27,
        side: int = SIDE,
    ) -> None:
        self._model, self.image, self._limit, self.side = model, image, limit, side
        self._kept: OrderedDict[Frame, ImageEmbedding] = OrderedDict()
        self._lock, self._encoding = threading.Lock(), threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image.size

    @property
    def nbytes(self) -> int:
        """Memory of the kept windows, in bytes."""
        with self._lock:
            return sum(one.nbytes for one in self._kept.values())

    def frame(self, box: tuple[float, float, float, float], step: int) -> Frame:
        """The window around a box (x0, y0, x1, y1), at `step` or a coarser step that fits it."""
        return Frame.around(box, self.size, self.side, step)

    def embedding(self, frame: Frame) -> ImageEmbedding:
        """The embedding of a window.

        Raises:
            ImageError: the window cannot be read.
        """
        if (found := self._known(frame)) is not None:
            return found
        with self._encoding:
            if (found := self._known(frame)) is None:
                pixels = self.image.view(frame.window, max(frame.size))
                found = self._model.encode(pixels)
                self._keep(frame, found)
            return found

    def _known(self, frame: Frame) -> ImageEmbedding | None:
        with self._lock:
            found = self._kept.get(frame)
            if found is not None:
                self._kept.move_to_end(frame)
            return found

    def _keep(self, frame: Frame, found: ImageEmbedding) -> None:
        with self._lock:
            self._kept[frame] = found
            total = sum(one.nbytes for one in self._kept.values())
            while total > self._limit and len(self._kept) > 1:
                total -= self._kept.popitem(last=False)[1].nbytes
