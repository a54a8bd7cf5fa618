"""`Teaching`: a task is learned from the labels of the project, behind the work."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.errors import BusyError, DataError, SamadaptError, first_line
from samadapt.models.base import SegmentationModel
from samadapt.store.dataset import to_dataset
from samadapt.store.projects import Project
from samadapt.training.fit import run_fit
from samadapt.training.fitting.methods import fit_methods
from samadapt.training.fitting.progress import FitStatus

FEWEST = 3
"""Objects that a task is taught from at least."""

_LOG = logging.getLogger("samadapt.server")


@dataclass(slots=True)
class TeachingProgress:
    """How far a run is.

    Attributes:
        label: what is taught.
        step, steps: done, and of the whole run.
        quality: mean IoU of the last steps.
        running: whether it goes on.
        problem: why it ended early; empty if it did not.
        spec: the adapter that came out; empty before the end.
    """

    label: str = ""
    step: int = 0
    steps: int = 0
    quality: float | None = None
    running: bool = False
    problem: str = ""
    spec: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the page takes it."""
        return {name: getattr(self, name) for name in self.__slots__}


class Teaching:
    """One run at a time, in a thread.

    Args:
        project: whose labels are taught.
        images: its folder.
        model: the model, which stays as it is.
        folder: where what was taught is kept, a folder for each.
        cache: folder of embeddings.
    """

    def __init__(
        self, project: Project, images: Path, model: SegmentationModel, folder: Path, cache: Path
    ) -> None:
        self._project, self._images, self._model = project, images, model
        self._folder, self._cache = folder, cache
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress = TeachingProgress()

    def start(self, label: str, steps: int | None = None) -> None:
        """Teach the objects of a label.

        Args:
            label: its name.
            steps: of the run; the method's own number if left out.

        Raises:
            BusyError: a run goes on already.
            DataError: too few objects.
        """
        numbers = {one.name: one.id for one in self._project.labels.all()[0]}
        count = self._project.objects.label_counts().get(numbers.get(label), 0)
        if label not in numbers or count < FEWEST:
            raise DataError(f"{label!r} has {count} objects: accept {FEWEST} or more first")
        with self._lock:
            if self.progress.running:
                raise BusyError(f"{self.progress.label!r} is being taught: stop that, or wait")
            self.progress = TeachingProgress(label, running=True)
            self._stopping.clear()
            self._thread = threading.Thread(
                target=self._run, args=(label, steps), name="samadapt-teaching", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Give the run up."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=10)

    def _run(self, label: str, steps: int | None) -> None:
        progress, out = self.progress, self._place(label)
        try:
            method = next(one for one in fit_methods() if one.one_task)
            settings: dict[str, Any] = dict(method.task_changes) | {"category": label}
            if steps is not None:
                settings["steps"] = steps
            dataset = to_dataset(self._project, self._images)
            run_fit(
                method.name,
                self._model,
                [dataset],
                out,
                cache=self._cache,
                progress=self._tell,
                settings=settings,
            )
            progress.spec = f"task:{out.name}"
        except _StoppedError:
            progress.problem = "stopped"
        except SamadaptError as error:
            progress.problem = first_line(error)
        except Exception as error:
            _LOG.exception("teaching ended", exc_info=error)
            progress.problem = first_line(error)
        finally:
            if not progress.spec:
                shutil.rmtree(out, ignore_errors=True)
            progress.running = False

    def _tell(self, status: FitStatus) -> None:
        if self._stopping.is_set():
            raise _StoppedError
        self.progress.step, self.progress.steps = status.step, status.steps
        self.progress.quality = status.miou

    def _place(self, label: str) -> Path:
        """A folder that is not there yet."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", label).strip("-.")[:60] or "task"
        number = 1
        while (place := self._folder / f"{plain}-{number}").exists():
            number += 1
        return place


class _StoppedError(Exception):
    """Somebody stopped the run."""
