"""`LocalServer`: a samadapt server that the plugin starts on this machine."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from napari_samadapt.errors import SamadaptError

COMMAND = "SAMADAPT_COMMAND"
"""Environment variable that names the `samadapt` program, if another environment has it."""
_SECONDS = 180.0


class LocalServer:
    """A process that runs `samadapt annotate FOLDER --no-browser`.

    Args:
        folder: folder of the project, with planes, objects and what was learned; a folder of an
            earlier server continues its project.
        first: file name and content of an image, which is written into a folder without images.
        command: the `samadapt` program; if it is empty, that of the environment variable or PATH.
        options: further options of `samadapt annotate`, such as "--model".

    Attributes:
        url: address of the server.
        token: secret of the server.

    Raises:
        SamadaptError: the program is missing, it does not start, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        first: tuple[str, bytes],
        command: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        program = command or os.environ.get(COMMAND) or shutil.which("samadapt")
        if not program or shutil.which(program) is None:
            raise SamadaptError(
                f"no program {program or 'samadapt'}: pip install samadapt, here or elsewhere, "
                "and say where it is"
            )
        _begin(folder, first)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - the program that the person named
            [program, "annotate", str(folder), "--no-browser", "--json", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        atexit.register(self.stop)  # no server outlives napari
        try:
            said = json.loads(self._first_line())
            self.url, self.token = str(said["url"]).partition("?")[0], str(said["token"])
        except (ValueError, KeyError):
            reason = self._last_error()
            self.stop()
            raise SamadaptError(f"samadapt did not start: {reason}") from None

    @property
    def is_running(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop the process. Accepted objects are saved already."""
        atexit.unregister(self.stop)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _first_line(self) -> str:
        lines: queue.Queue[str] = queue.Queue()
        out = self._process.stdout
        threading.Thread(target=lambda: lines.put(out.readline()), daemon=True).start()
        try:
            return lines.get(timeout=_SECONDS)
        except queue.Empty:
            return ""

    def _last_error(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)  # its output ends a moment before it does
        if self.is_running:
            return f"it said nothing for {_SECONDS:.0f} s"
        self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else f"it ended with {self._process.returncode}"


def _begin(folder: Path, first: tuple[str, bytes]) -> None:
    name, content = first
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(path.suffix in (".png", ".tif") for path in folder.iterdir()):
            part = folder / f".{name}.part"
            part.write_bytes(content)
            part.replace(folder / name)
    except OSError as error:
        raise SamadaptError(
            f"{folder} cannot be written to ({error.strerror or error}): choose another folder"
        ) from None
