"""The run of the task benchmark: every category, number of masks, seed and method."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from samadapt.benchmark import finished_runs
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
) -> TaskResult:
    """Fit each category from a few masks in several ways, and measure on other images.

    All rows answer the same prompts for the same objects. These do not depend on the seed of a
    training, so frozen rows are measured once.

    Args:
        train: masks to learn from.
        test: masks to measure on; never learned from.
        model: stays frozen.
        options: categories, shots, methods, ...
        transfer: another dataset with some of the categories, to measure the same adapters on.
        work: folder of fits and finished rows. Those of the same model, data and options are not
            made again; changes of the code are not noticed. None keeps nothing.
        cache: folder of embeddings; one in the user's cache if left out.
        cache_bytes: most bytes to keep there.
        progress: told of (done, total) steps: one per row and image.
        command: recorded as the command line; `sys.argv` when left out.

    Raises:
        DataError: an unknown category, fewer masks than shots, an image or mask that cannot be
            used.
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
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) if work is None else work
        run = _Run(train, model, chosen, folder, cache, cache_bytes, progress)
        cells = run.all(places)
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
        self, places: Mapping[str, Mapping[str, TaskEvaluator]]
    ) -> dict[tuple[str, int | None, str], tuple[CategoryRow, ...]]:
        """Return every method at every number of shots in every place."""
        options = self._options
        groups = [
            (name, shots, seed)
            for name in places[TEST]
            for shots in options.shots
            for seed in options.runs
        ]
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
        """Return one category at one number of shots and seed; measure rows that are not kept."""
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
            # Files have rounded numbers: the first result is to be that of every later one.
            rows[row.method] = _read(paths[row.method]) or row
        return [
            CategoryRow(evaluator.category, None, rows[method])
            if fit is None
            else CategoryRow(evaluator.category, seed, rows[method], fit.parameters, fit.seconds)
            for method, fit in fits.items()
        ]

    def _path(self, evaluator: TaskEvaluator, method: str, fit: Fit | None) -> Path:
        """Return a readable name with a digest of everything that the answers depend on."""
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
    there = {test.category(a.category_id).name for a in test.annotations}
    shared = [name for name in names if name in there]
    if not shared:
        raise DataError(f"{train.source} and {test.source} have no category in common")
    return shared


def _shared(
    transfer: CocoDataset, names: Sequence[str], options: TaskOptions
) -> dict[str, TaskEvaluator]:
    there = {transfer.category(a.category_id).name for a in transfer.annotations}
    found = {name: TaskEvaluator(transfer, name, options) for name in names if name in there}
    if not found:
        raise DataError(
            f"{transfer.source} has none of the categories {', '.join(names)}: it has "
            + (", ".join(sorted(there)) or "none")
        )
    return found


def _read(path: Path) -> TaskRow | None:
    """Return a row that was kept; None if there is none, or a damaged one, which is made again."""
    try:
        return TaskRow.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, row: TaskRow) -> None:
    with replacing(path) as file:
        file.write(json.dumps(row.to_dict(), allow_nan=False).encode())
