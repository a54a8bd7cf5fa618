"""Processes of this machine: every batch once, and errors as they were raised."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines import Square
from forked import CONTEXT
from samadapt.distributed.engine import WorkerError, in_batches, make_engine
from samadapt.errors import DataError


@pytest.fixture(autouse=True)
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that need not import torch anew."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda *_: CONTEXT)


def test_every_batch_once_and_a_mistake_arrives_as_it_was_raised() -> None:
    engine = make_engine("local", 2)
    found = [one for batch in engine.run(Square(), in_batches(range(7), 3)) for one in batch]
    assert sorted(found) == [0, 1, 4, 9, 16, 25, 36]
    with pytest.raises(DataError, match="nothing to square with"):
        list(engine.run(Square(fails=True), in_batches([1], 1)))


def test_a_worker_that_dies_is_told_and_what_was_finished_came(tmp_path: Path) -> None:
    engine = make_engine("local", 1)
    found: list[int] = []
    work = Square(tmp_path / "died")

    def collect() -> None:
        for batch in engine.run(work, in_batches([1, 2, 13, 4], 1)):
            found.extend(batch)

    with pytest.raises(WorkerError, match="run the same command again"):
        collect()
    assert set(found) <= {1, 4}
    assert (tmp_path / "died").exists()


@dataclass(frozen=True)
class Fatal:
    """Gives names back, and dies at bad.png."""

    def start(self) -> Callable[[Sequence[str]], list[str]]:
        return self._read

    def _read(self, batch: Sequence[str]) -> list[str]:
        if "bad.png" in batch:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(batch)


def test_the_files_that_a_worker_died_at_are_named() -> None:
    batches = [["a.png"], ["b.png", "bad.png"], ["c.png"]]
    with pytest.raises(WorkerError, match=r"died at one of b\.png, bad\.png, perhaps"):
        list(make_engine("local", 1).run(Fatal(), batches))


def test_options_that_make_no_sense() -> None:
    assert in_batches([1, 2, 3], 2) == [[1, 2], [3]]
    for arguments, said in (
        (("local", 0), "--workers 0"),
        (("local", 1, 1.0), "--gpus belongs to --engine ray"),
        (("local", 1, 0.0, "auto"), "--address belongs to --engine ray"),
        (("ray", 1, -1.0), "--gpus -1"),
        (("slurm", 1), "--engine slurm"),
    ):
        with pytest.raises(DataError, match=said):
            make_engine(*arguments)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="--batch 0"):
        in_batches([1], 0)
