"""`OpenStacks`: the stacks that slices were read from last, kept open."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.stacks.address import SliceAddress, slice_address
from samadapt.data.stacks.source import Axis
from samadapt.data.stacks.stack import Stack
from samadapt.errors import ImageError

_WORKING_BYTES = 28
"""Bytes per pixel while a slice becomes RGB."""

_Key = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class _Open:
    """A stack, and how many read it just now."""

    stack: Stack
    readers: int = 0
    is_outdated: bool = False


class OpenStacks:
    """Stacks by path, opened when they are needed; for any number of threads.

    Args:
        most: that are kept open while nobody reads them.
    """

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._kept: OrderedDict[_Key, _Open] = OrderedDict()
        self._lock, self._opening = threading.Lock(), threading.Lock()

    @contextmanager
    def using(self, path: Path, axis: Axis | None = None) -> Iterator[Stack]:
        """The stack of a path as its files are now; it stays open within the block.

        Raises:
            ImageError: as `Stack.open`.
        """
        key = path, axis, file_state(path)
        found = self._taken(key)
        if found is None:
            with self._opening:
                found = self._taken(key) or self._add(key, _opened(path, axis))
        try:
            yield found.stack
        finally:
            with self._lock:
                found.readers -= 1
                if found.is_outdated and not found.readers:
                    found.stack.close()

    @contextmanager
    def at(self, address: SliceAddress) -> Iterator[tuple[Stack, int]]:
        """The stack of a slice and the slice's index.

        Raises:
            ImageError: there is no such stack, or no such slice in it.
        """
        with self.using(address.stack, address.axis) as stack:
            index = address.index
            if index is None:
                index = stack.find(address.file.name)
            if index is None or not 0 <= index < len(stack):
                what = address.file.name if index is None else f"slice {index}"
                raise ImageError(f"{address.stack} has {len(stack)} slices, {what} is none of them")
            yield stack, index

    def close(self) -> None:
        """Close all that nobody reads."""
        with self._lock:
            for one in self._kept.values():
                self._drop(one)
            self._kept.clear()

    def _taken(self, key: _Key) -> _Open | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                found.readers += 1
            return found

    def _add(self, key: _Key, stack: Stack) -> _Open:
        with self._lock:
            made = self._kept[key] = _Open(stack, readers=1)
            while len(self._kept) > self._most:
                self._drop(self._kept.popitem(last=False)[1])
            return made

    @staticmethod
    def _drop(one: _Open) -> None:
        one.is_outdated = True
        if not one.readers:
            one.stack.close()


def read_slice(path: Path, stacks: OpenStacks | None = None) -> NDArray[np.uint8] | None:
    """Return the pixels (H, W, 3) of a slice; None where the path names no slice.

    Raises:
        ImageError: it cannot be read.
    """
    address = slice_address(path)
    if address is None:
        return None
    with (stacks or OpenStacks(0)).at(address) as (stack, index):
        return stack[index]


def slice_size(path: Path, stacks: OpenStacks | None = None) -> tuple[int, int] | None:
    """Return (height, width) of a slice, from the headers; None where the path names no slice.

    Raises:
        ImageError: it cannot be used.
    """
    address = slice_address(path)
    if address is None:
        return None
    with (stacks or OpenStacks(0)).at(address) as (stack, index):
        if (problem := stack.problems.get(index)) is not None:
            raise ImageError(problem)
        return stack.size


def slice_bytes(size: tuple[int, int]) -> int:
    """Return the most bytes of memory that reading a slice takes."""
    return size[0] * size[1] * _WORKING_BYTES


def _opened(path: Path, axis: Axis | None) -> Stack:
    """The stack along an axis; a file whose only axis has no name is taken as it is."""
    stack = Stack.open(path)
    if axis in (None, stack.axis):
        return stack
    stack.close()
    return Stack.open(path, axis=axis)


def file_state(path: Path) -> _Key:
    """What changes when a file, or one in a folder, changes.

    Raises:
        ImageError: it is gone.
    """
    try:
        if not path.is_dir():
            state = path.stat()
            return state.st_size, state.st_mtime_ns
        with os.scandir(path) as entries:
            files = [(e.name, e.stat()) for e in entries if e.is_file()]
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist: check the path of the stack") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror or error})") from None
    return tuple(sorted((name, state.st_size, state.st_mtime_ns) for name, state in files))
