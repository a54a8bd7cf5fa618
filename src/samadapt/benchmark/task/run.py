"""The run of the task benchmark: every category, number of masks, seed and method."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from samadapt.benchmark import finished_runs
from samadapt.benchmark.elsewhere import Elsewhere
from samadapt.benchmark.environment import describe_dataset, describe_environment, fingerprint
from samadapt.benchmark.options import Progress
from samadapt.benchmark.task.evaluator import TaskEvaluator, TaskRow
from samadapt.benchmark.task.fits import Fit, FitCache
from samadapt.benchmark.task.options import TaskOptions, fit_spec
from samadapt.benchmark.task.result import TEST, TRANSFER, TaskResult
from samadapt.benchmark.task.summary import CategoryRow
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.data.selection import select
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.store.dataset_encoder import DatasetEncoder
from samadapt.store.embeddings import DEFAULT_LIMIT, EmbeddingStore


def run_task(
    train: CocoDataset,
    test: CocoDataset,
    model: SegmentationModel,
    options: TaskOptions | None = None,
    *,
    transfer: CocoDataset | None = None,
    work: Path | None = None,
    cache: Path | None = None,
    cache_bytes: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    elsewhere: Elsewhere | None = None,
) -> TaskResult:
    """Fit each category from a few masks with several methods, and measure on other images.

    All rows answer the same prompts for the same objects. These do not depend on the seed of a
    training, so frozen rows are measured once.

    Args:
        train: training masks.
        test: test masks, never learned from.
        model: stays frozen.
        options: categories, shots, methods, ...
        transfer: another dataset with some of the categories, on which the same adapters are
            measured.
        work: folder of fits and finished rows. Those of the same model, data and options are not
            made again; changes of the code are not noticed. None keeps nothing.
        cache: folder of embeddings; defaults to one in the user's cache.
        cache_bytes: size limit of that folder.
        progress: called with (done, total) steps, one per row and image.
        command: recorded as the command line; `sys.argv` when left out.
        elsewhere: workers, each of which fits and measures one category, number of shots and seed
            at a time; `work` must be a folder that all of them share.

    Raises:
        DataError: an unknown category, fewer masks than shots, an unusable image or mask.
        AdapterError: a method that cannot be fitted.
    """
    chosen = options or TaskOptions()
    started = time.perf_counter()
    names = _categories(train, test, chosen)
    for name in names:
        most = max((count for count in chosen.shots if count is not None), default=None)
        select(train, name, most, chosen.seed)
    places = {TEST: {name: TaskEvaluator(test, name, chosen) for name in names}}
    if transfer is not None:
        places[TRANSFER] = _shared(transfer, names, chosen)
    groups = [
        (name, shots, seed) for name in names for shots in chosen.shots for seed in chosen.runs
    ]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) if work is None else work
        if elsewhere is not None:
            job = TaskWork(
                elsewhere.model,
                train,
                test,
                transfer,
                chosen,
                folder.absolute(),
                cache,
                cache_bytes,
            )
            # Their results are in the folder, from which the run below reads them.
            for done, _ in enumerate(elsewhere.engine.run(job, [[g] for g in groups]), 1):
                if progress is not None:
                    progress(done, len(groups))
        run = _Run(train, model, chosen, folder, cache, cache_bytes, progress)
        cells = run.all(places, groups)
    data = {"train": train, TEST: test, TRANSFER: transfer}
    return TaskResult(
        environment=describe_environment(model, command=command),
        protocol={
            **chosen.to_dict(),
            "categories": names,
            "datasets": {k: None if d is None else describe_dataset(d) for k, d in data.items()},
            "measured": {
                place: [evaluator.describe() for evaluator in evaluators.values()]
                for place, evaluators in places.items()
            },
        },
        cells=cells,
        timing={"seconds": round(time.perf_counter() - started, 3)},
    )


@dataclass(frozen=True, slots=True)
class TaskWork:
    """Fits and measures one category, number of shots and seed at a time in a worker."""

    model: WorkerModel
    train: CocoDataset
    test: CocoDataset
    transfer: CocoDataset | None
    options: TaskOptions
    folder: Path
    cache: Path | None
    cache_bytes: int

    def start(self) -> Callable[[Sequence[tuple[str, int | None, int]]], None]:
        """Load the model.

        Raises:
            ModelError: it is missing.
        """
        model = self.model.load()

        def measure(groups: Sequence[tuple[str, int | None, int]]) -> None:
            for name, shots, seed in groups:
                places = {TEST: {name: TaskEvaluator(self.test, name, self.options)}}
                if self.transfer is not None and name in _names(self.transfer):
                    evaluator = TaskEvaluator(self.transfer, name, self.options)
                    places[TRANSFER] = {name: evaluator}
                run = _Run(
                    self.train,
                    model,
                    self.options,
                    self.folder,
                    self.cache,
                    self.cache_bytes,
                    None,
                )
                run.all(places, [(name, shots, seed)])

        return measure


class _Run:
    """Fits, measures and keeps all rows."""

    def __init__(
        self,
        train: CocoDataset,
        model: SegmentationModel,
        options: TaskOptions,
        folder: Path,
        cache: Path | None,
        cache_bytes: int,
        progress: Progress | None,
    ) -> None:
        self._model, self._options = model, options
        self._fits = FitCache(model, train, folder / "fits", options, cache, cache_bytes)
        store = EmbeddingStore(cache, cache_bytes, is_cyclic=True)
        self._encode = DatasetEncoder(model, store)
        self._folder = finished_runs.make_folder(folder / "cells")
        self._progress = progress
        self._done, self._total = 0, 0

    def all(
        self,
        places: Mapping[str, Mapping[str, TaskEvaluator]],
        groups: Sequence[tuple[str, int | None, int]],
    ) -> dict[tuple[str, int | None, str], tuple[CategoryRow, ...]]:
        """Return every method at every number of shots in every place."""
        options = self._options
        self._total = sum(
            len(options.methods) + sum(len(e[name].images) for e in places.values() if name in e)
            for name, _, _ in groups
        )
        found: dict[tuple[str, int | None, str], list[CategoryRow]] = {
            (place, shots, method): []
            for place in places
            for shots in options.shots
            for method in options.methods
        }
        for name, shots, seed in groups:
            fits = {m: self._fit(m, name, shots, seed) for m in options.methods}
            for place, evaluators in places.items():
                if name not in evaluators:
                    continue
                for cell in self._group(evaluators[name], fits, seed):
                    cells = found[place, shots, cell.row.method]
                    if cell.seed is not None or name not in {c.category for c in cells}:
                        cells.append(cell)
        return {key: tuple(cells) for key, cells in found.items()}

    def _fit(self, method: str, category: str, shots: int | None, seed: int) -> Fit | None:
        fit = self._fits.get(method, category, shots, seed) if fit_spec(method) else None
        self._tell()
        return fit

    def _group(
        self, evaluator: TaskEvaluator, fits: Mapping[str, Fit | None], seed: int
    ) -> list[CategoryRow]:
        """Return one category at one number of shots and seed, measuring the missing rows."""
        paths = {m: self._path(evaluator, m, fit) for m, fit in fits.items()}
        rows = {m: found for m, path in paths.items() if (found := _read(path)) is not None}
        missing = [
            TaskRow(method, () if fit is None else (fit.adapter,))
            for method, fit in fits.items()
            if method not in rows
        ]
        if missing:
            evaluator.measure(self._model, missing, self._encode, self._tell)
        else:
            self._tell(len(evaluator.images))
        for row in missing:
            _write(paths[row.method], row)
            # Files have rounded numbers, so read the file for the same result in every call.
            rows[row.method] = _read(paths[row.method]) or row
        return [
            CategoryRow(evaluator.category, None, rows[method])
            if fit is None
            else CategoryRow(evaluator.category, seed, rows[method], fit.parameters, fit.seconds)
            for method, fit in fits.items()
        ]

    def _path(self, evaluator: TaskEvaluator, method: str, fit: Fit | None) -> Path:
        """Return a readable name with a digest of everything that the predictions depend on."""
        options = self._options
        about = {
            "fit": None if fit is None else fit.key,
            "method": method,
            "exam": evaluator.describe(),
            "data": describe_dataset(evaluator.dataset),
            "options": [options.draws, options.grid, options.min_area, options.seed],
            "model": fingerprint(self._model),
        }
        name = finished_runs.file_name((evaluator.category, method)) if fit is None else fit.key
        return self._folder / f"{name}_{finished_runs.digest(about)}.json"

    def _tell(self, more: int = 1) -> None:
        self._done += more
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


def _categories(train: CocoDataset, test: CocoDataset, options: TaskOptions) -> list[str]:
    if options.categories is not None:
        return list(options.categories)
    names = dict.fromkeys(train.category(a.category_id).name for a in train.annotations)
    there = _names(test)
    shared = [name for name in names if name in there]
    if not shared:
        raise DataError(f"{train.source} and {test.source} have no category in common")
    return shared


def _names(dataset: CocoDataset) -> set[str]:
    """Return the categories that a dataset has objects of."""
    return {dataset.category(a.category_id).name for a in dataset.annotations}


def _shared(
    transfer: CocoDataset, names: Sequence[str], options: TaskOptions
) -> dict[str, TaskEvaluator]:
    there = _names(transfer)
    found = {name: TaskEvaluator(transfer, name, options) for name in names if name in there}
    if not found:
        raise DataError(
            f"{transfer.source} has none of the categories {', '.join(names)}: it has "
            + (", ".join(sorted(there)) or "none")
        )
    return found


def _read(path: Path) -> TaskRow | None:
    """Return a kept row; None if it is missing or damaged, so that it is made again."""
    try:
        return TaskRow.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, row: TaskRow) -> None:
    with replacing(path) as file:
        file.write(json.dumps(row.to_dict(), allow_nan=False).encode())
