"""`FitCache`: trained adapters of the task benchmark, kept in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import get_method
from samadapt.benchmark import finished_runs
from samadapt.benchmark.environment import describe_dataset, fingerprint
from samadapt.benchmark.task.options import TaskOptions, fit_spec, shots_name
from samadapt.data.coco import CocoDataset
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.training.fit import run_fit
from samadapt.training.fitting.methods import fit_method


@dataclass(frozen=True, slots=True)
class Fit:
    """One trained adapter.

    Attributes:
        adapter: trained.
        parameters: number of trained parameters.
        seconds: of the training.
        key: unique to this fit.
    """

    adapter: Adapter
    parameters: int
    seconds: float
    key: str


class FitCache:
    """Fits adapters of one model on one dataset, or reads them if they were fitted before.

    Args:
        model: stays frozen.
        train: all masks.
        folder: of the fits.
        options: of the benchmark.
        cache: folder of embeddings.
        cache_bytes: size limit of that folder.
    """

    def __init__(
        self,
        model: SegmentationModel,
        train: CocoDataset,
        folder: Path,
        options: TaskOptions,
        cache: Path | None,
        cache_bytes: int,
    ) -> None:
        self._model, self._train, self._folder = model, train, folder
        self._options, self._cache, self._bytes = options, cache, cache_bytes
        self._data = describe_dataset(train)["sha256"]

    def get(self, method: str, category: str, shots: int | None, seed: int) -> Fit:
        """Return the fit of a row of the table.

        Raises:
            DataError: fewer masks than shots, or no usable image.
        """
        key = self.key(method, category, shots, seed)
        report = run_fit(
            self._spec(method),
            self._model,
            [self._train],
            self._folder / key,
            cache=self._cache,
            cache_bytes=self._bytes,
            progress=False,
            settings=self._options.settings_of(method, category, shots, seed),
        )
        adapter = report.adapter
        return Fit(adapter, adapter.parameter_count, float(report.values["seconds"]), key)

    def key(self, method: str, category: str, shots: int | None, seed: int) -> str:
        """Return a readable name with a digest of everything that the fit depends on."""
        name, _, variant = self._spec(method).partition(":")
        recipe = fit_method(name).recipe.changed(
            **self._options.settings_of(method, category, shots, seed)
        )
        about: dict[str, Any] = {
            "method": self._spec(method),
            "adapter": get_method(name).create(variant or None).config.to_dict(),
            "recipe": recipe.to_dict(),
            "data": self._data,
            "model": fingerprint(self._model),
        }
        name = finished_runs.file_name((category, method, shots_name(shots), f"seed{seed}"))
        return f"{name}_{finished_runs.digest(about)}"

    def _spec(self, method: str) -> str:
        spec = fit_spec(method)
        if spec is None:
            raise DataError(f"the row {method!r} is not trained")
        return spec
