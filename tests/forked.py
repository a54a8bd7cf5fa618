"""Programs in processes of their own, forked from one that has imported what takes long."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
_LONG = ("accelerate", "samadapt.training.fit", "samadapt.server.app", "samadapt.server.workspace")
CONTEXT.set_forkserver_preload([*_LONG, "engines"])


class Program:
    """A Python script that runs in a process of its own, with arguments and environment.

    Attributes:
        exitcode: how it ended; minus the signal that killed it.
        stdout, stderr: what it wrote.
    """

    def __init__(self, script: str, *arguments: str, environment: Mapping[str, str] | None = None):
        self._folder = TemporaryDirectory(prefix="samadapt-forked-")
        told = script, arguments, dict(environment or {}), self._folder.name
        self._process = CONTEXT.Process(target=_run, args=told, daemon=True)
        self._process.start()

    def ended(self, seconds: float = 240) -> Program:
        """Wait until it has ended; one that takes longer is killed."""
        self._process.join(seconds)
        self._process.kill()
        self._process.join()
        self.exitcode = self._process.exitcode
        self.stdout, self.stderr = (
            (Path(self._folder.name) / name).read_text() for name in ("stdout", "stderr")
        )
        self._folder.cleanup()
        return self


def run_two(script: str, *arguments: str) -> tuple[Any, Any]:
    """Run `script` as ranks 0 and 1, as a launcher would; what each printed last, as JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
    }
    started = [
        Program(script, *arguments, environment={**common, "RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    ended = [program.ended() for program in started]
    assert [one.exitcode for one in ended] == [0, 0], [one.stderr for one in ended]
    first, second = (json.loads(one.stdout.splitlines()[-1]) for one in ended)
    return first, second


def _run(script: str, arguments: tuple[str, ...], environment: dict[str, str], folder: str) -> None:
    os.environ.update(environment)
    for name in ("stdout", "stderr"):
        getattr(sys, name).flush()
        handle = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, getattr(sys, f"__{name}__").fileno())
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102
