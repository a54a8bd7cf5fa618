"""`Teaching`: fits an adapter for a task to the objects of a label, in the background."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.tiled.image import is_huge
from samadapt.errors import AdapterError, DataError, ImageError
from samadapt.models.base import SegmentationModel
from samadapt.server.background import BackgroundRun, RunProgress
from samadapt.store.dataset import to_dataset
from samadapt.store.projects import Project
from samadapt.training.fit import run_fit
from samadapt.training.fitting.methods import fit_methods
from samadapt.training.fitting.progress import FitStatus

FEWEST = 3
"""Least number of objects to teach a task from."""


@dataclass(slots=True)
class TeachingProgress(RunProgress):
    """Progress of the fit of a task.

    Attributes:
        label: name of the label that is taught.
        step, steps: number of steps done, and of the whole run.
        quality: mean IoU of the last steps.
        spec: names the fitted adapter, as in `Learning.load`; empty before the end.
    """

    label: str = ""
    step: int = 0
    steps: int = 0
    quality: float | None = None
    spec: str = ""


class Teaching(BackgroundRun[TeachingProgress]):
    """Fits a task to the objects of a label, one run at a time.

    Args:
        project: the project with labels and objects.
        images: folder of the images.
        model: the model, which does not change.
        folder: folder of the fitted adapters, each in a folder of its own.
        cache: folder of the cached embeddings.
    """

    def __init__(
        self, project: Project, images: Path, model: SegmentationModel, folder: Path, cache: Path
    ) -> None:
        self._project, self._images, self._model = project, images, model
        self._folder, self._cache = folder, cache
        super().__init__("teaching", TeachingProgress())

    def start(self, label: str, steps: int | None = None) -> None:
        """Teach the objects of a label.

        Args:
            label: name of the label.
            steps: number of steps; the method's default if left out.

        Raises:
            ConflictError: another run is going on.
            DataError: there is no such label, or it has too few objects.
            AdapterError: the model takes no adapters.
        """
        if not self._model.spec.takes_adapters:
            raise AdapterError(
                f"{self._model.identity.name} is an exported model, which cannot be taught: start "
                "with the model that it was exported from"
            )
        numbers = {one.name: one.id for one in self._project.labels.all()[0]}
        if label not in numbers:
            raise DataError("there is no label of this name in the project: choose another")
        count = self._project.objects.label_counts().get(numbers[label], 0)
        if count < FEWEST:
            raise DataError(f"{label!r} has {count} objects: accept {FEWEST} or more first")
        progress = TeachingProgress(label=label)
        busy = f"{self.progress.label!r} is being taught: stop that, or wait"
        self.begin(progress, lambda: self._teach(progress, steps), busy)

    def _teach(self, progress: TeachingProgress, steps: int | None) -> None:
        out = self._place(progress.label)
        try:
            method = next(one for one in fit_methods() if one.one_task)
            settings: dict[str, Any] = dict(method.task_changes) | {"category": progress.label}
            if steps is not None:
                settings["steps"] = steps
            dataset = _in_memory(to_dataset(self._project, self._images), self._images)
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
        finally:
            if not progress.spec:
                shutil.rmtree(out, ignore_errors=True)

    def _tell(self, status: FitStatus) -> None:
        self.check()
        self.progress.step, self.progress.steps = status.step, status.steps
        self.progress.quality = status.miou

    def _place(self, label: str) -> Path:
        """Return the path of a new folder, named after a label."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", label).strip("-.")[:60] or "task"
        number = 1
        while (place := self._folder / f"{plain}-{number}").exists():
            number += 1
        return place


def _in_memory(dataset: CocoDataset, folder: Path) -> CocoDataset:
    """Return a dataset without the images that are larger than memory.

    Raises:
        DataError: all objects are on such images.
    """
    large = {image.id for image in dataset.images if _is_huge(folder / image.file_name)}
    images = tuple(image for image in dataset.images if image.id not in large)
    annotations = tuple(one for one in dataset.annotations if one.image_id not in large)
    if dataset.annotations and not annotations:
        raise DataError(
            "all objects are on images larger than memory, from which no task is taught yet: cut "
            "parts out of them into images of their own"
        )
    return replace(dataset, images=images, annotations=annotations) if large else dataset


def _is_huge(path: Path) -> bool:
    try:
        return is_huge(path)
    except ImageError:
        return False  # raised again when the file is read
