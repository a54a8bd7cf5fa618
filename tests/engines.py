"""Engines and works for tests of what runs on them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from fakes import blobs
from samadapt.distributed.engine import Work
from samadapt.errors import DataError
from samadapt.models.nano.weights import write_weights
from small_models import tiny_nano

T = TypeVar("T")
R = TypeVar("R")


class Here:
    """Does the work in this process, the last batch first: order must not matter."""

    def __init__(self, workers: int = 1) -> None:
        self.workers, self.batches = workers, 0

    def run(self, work: Work[T, R], batches: Sequence[Sequence[T]]) -> Iterator[R]:
        function = work.start()
        for batch in reversed(batches):
            self.batches += 1
            yield function(batch)


@dataclass(frozen=True)
class Square:
    """Squares numbers. -1 is a mistake; the first worker to meet 13 dies, where a file is given."""

    died: Path | None = None
    fails: bool = False

    def start(self) -> Callable[[Sequence[int]], list[int]]:
        if self.fails:
            raise DataError("nothing to square with")
        return self._squares

    def _squares(self, batch: Sequence[int]) -> list[int]:
        if -1 in batch:
            raise DataError("-1: give a number above 0")
        if 13 in batch and self.died is not None and not self.died.exists():
            self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [number * number for number in batch]


@dataclass(frozen=True)
class Threads:
    """Tells how many threads a worker computes with; -1 is a mistake."""

    def start(self) -> Callable[[Sequence[int]], tuple[str | None, int]]:
        import torch

        def count(batch: Sequence[int]) -> tuple[str | None, int]:
            if -1 in batch:
                raise DataError("-1: give a number above 0")
            return os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()

        return count


@dataclass(frozen=True)
class Place:
    """Tells in which folder a worker is."""

    def start(self) -> Callable[[Sequence[int]], str]:
        return lambda batch: str(Path.cwd())


def tiny_weights(folder: Path, seed: int = 0) -> Path:
    """A file of weights of a tiny nano, which workers load by its path."""
    path = folder / f"tiny-{seed}.safetensors"
    if not path.exists():
        write_weights(tiny_nano(seed)._network, path, {})
    return path


def make_images(folder: Path, count: int) -> Path:
    """Small pictures of different sizes, img0.png to imgN.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = blobs(40 + 4 * (number % 3), 56 - 8 * (number % 2))
        Image.fromarray(np.roll(pixels, 5 * number, 1)).save(folder / f"img{number}.png")
    return folder
