"""`Decoder`: decodes images within a memory budget that all threads share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samadapt.data.images import decoding_bytes, read_image
from samadapt.data.stacks.kept import OpenStacks, read_slice, slice_bytes, slice_size
from samadapt.errors import ImageError

_SHARE = 4
_LEAST = 1 << 29
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def decoding_budget() -> int:
    """Return a quarter of the memory of this machine or container in bytes, at least 512 MiB."""
    total = 1 << 33
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        total = min(total, int(_CGROUP.read_text()))
    return max(_LEAST, total // _SHARE)


class Decoder:
    """Decodes images so that all that are in memory at the same time fit into a budget.

    The memory that an image needs is computed from its header, before anything is decoded. Images
    that need more than the budget are refused; the others wait in a queue.

    Args:
        limit: the budget in bytes; that of `decoding_budget` if left out.

    Attributes:
        stacks: the open stacks, from which slices are read.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.stacks = OpenStacks()
        self.limit = decoding_budget() if limit is None else limit
        self.peak = 0
        """Most bytes that were reserved at the same time."""
        self._bytes = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reading(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels (H, W, 3) of an image; their memory is reserved until the block ends.

        Raises:
            ImageError: the image cannot be read, or needs more than the budget.
        """
        with self.room_for(path):
            found = read_slice(path, self.stacks)
            yield read_image(path) if found is None else found

    @contextmanager
    def room_for(self, path: Path) -> Iterator[None]:
        """Reserve the memory to decode an image until the block ends; waits while there is none.

        Raises:
            ImageError: the image cannot be read, or needs more than the budget.
        """
        size = slice_size(path, self.stacks)
        needed = decoding_bytes(path) if size is None else slice_bytes(size)
        if needed > self.limit:
            raise ImageError(
                f"{path.name} takes {needed >> 20} MB of memory to decode, more than the "
                f"{self.limit >> 20} MB that are set aside for that here: cut it into tiles"
            )
        me = object()
        with self._changed:
            self._queue.append(me)
            self._changed.wait_for(
                lambda: self._queue[0] is me and self._bytes + needed <= self.limit
            )
            self._queue.popleft()
            self._bytes += needed
            self.peak = max(self.peak, self._bytes)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._bytes -= needed
                self._changed.notify_all()
