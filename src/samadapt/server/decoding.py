"""`Decoder`: decodes images within a budget of memory, whoever asks."""

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
    """A quarter of the memory that this machine or container has, at least 512 MiB."""
    total = 1 << 33
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        total = min(total, int(_CGROUP.read_text()))
    return max(_LEAST, total // _SHARE)


class Decoder:
    """Reads images so that all that are being decoded at once fit into a budget.

    What an image takes is known from its header, before anything is decoded. Those that would
    never fit are refused, the others wait for their turn.

    Args:
        limit: bytes; of this machine if left out.

    Attributes:
        stacks: those that slices were read from last.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.stacks = OpenStacks()
        self.limit = decoding_budget() if limit is None else limit
        self.peak = 0
        """Most bytes that were promised at once."""
        self._bytes = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reading(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        """The pixels (H, W, 3) of an image; its memory counts until the block ends.

        Raises:
            ImageError: unreadable, or larger than the budget.
        """
        with self.room_for(path):
            found = read_slice(path, self.stacks)
            yield read_image(path) if found is None else found

    @contextmanager
    def room_for(self, path: Path) -> Iterator[None]:
        """Wait until an image may be decoded.

        Raises:
            ImageError: unreadable, or larger than the budget.
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
