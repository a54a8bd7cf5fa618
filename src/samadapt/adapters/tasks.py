"""`Tasks`: several learned tasks on one model, chosen by name for every prompt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import load_adapter
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.spelling import did_you_mean


class Tasks:
    """Adapters by the name of their task, all of them bound to one model.

        tasks = samadapt.Tasks(model, "adapters/wheel", "adapters/door")
        embedding = model.encode(image)
        model.predict(embedding, prompt, adapters=[tasks["wheel"]])

    The name of a task is the category that its adapter was taught. Adapters of any method can be
    used if they were trained for a category.

    Raises:
        AdapterError: an adapter that cannot be loaded, belongs to another model, or has no task;
            two adapters for the same task.
    """

    def __init__(
        self, model: SegmentationModel, *adapters: str | os.PathLike[str] | Adapter
    ) -> None:
        self._model = model
        self._adapters: dict[str, Adapter] = {}
        self._origins: dict[str, str] = {}
        for adapter in adapters:
            self.add(adapter)

    @classmethod
    def in_folder(cls, model: SegmentationModel, folder: str | os.PathLike[str]) -> Tasks:
        """Return the adapters of all sub-folders of one folder.

        Raises:
            AdapterError: there is none, or one that the class refuses.
        """
        found = sorted(path.parent for path in Path(folder).glob("*/adapter_config.json"))
        if not found:
            raise AdapterError(f"{folder} holds no adapter: give the folder of several of them")
        return cls(model, *found)

    def add(self, adapter: str | os.PathLike[str] | Adapter) -> str:
        """Add an adapter; returns its task's name.

        Raises:
            AdapterError: an adapter that the class refuses; the others stay.
        """
        if isinstance(adapter, Adapter):
            loaded, origin = adapter, f"an adapter of method {adapter.method!r}"
            loaded.bind(self._model)
        else:
            loaded, origin = load_adapter(adapter, self._model), str(adapter)
        name = task_of(loaded)
        if name is None:
            raise AdapterError(
                f"{origin} names no task: train it with a category, as in "
                "`samadapt fit task-prompt --category NAME`"
            )
        if name in self._adapters:
            raise AdapterError(
                f"two adapters for the task {name!r}, {self._origins[name]} and {origin}: keep one "
                "of them"
            )
        self._adapters[name], self._origins[name] = loaded, origin
        return name

    def __getitem__(self, name: str) -> Adapter:
        """The adapter of a task.

        Raises:
            AdapterError: there is none of this name.
        """
        if name in self._adapters:
            return self._adapters[name]
        hint = did_you_mean(name, self._adapters)
        known = ", ".join(sorted(self._adapters)) or "none"
        raise AdapterError(f"no task {name!r}{hint}; known tasks: {known}")

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks' names, in the order in which they were added."""
        return tuple(self._adapters)

    def __contains__(self, name: object) -> bool:
        return name in self._adapters

    def __iter__(self) -> Iterator[str]:
        return iter(self._adapters)

    def __len__(self) -> int:
        return len(self._adapters)


def task_of(adapter: Adapter) -> str | None:
    """The category that an adapter was taught; None unless it was taught exactly one."""
    return adapter.config.task
