"""The task benchmark: what a model can be taught from a few masks of one category."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from samadapt.benchmark.environment import describe_environment
from samadapt.benchmark.interactive import Progress, describe_dataset
from samadapt.benchmark.task_fits import Fit, Fits
from samadapt.benchmark.task_measure import Examination, TaskRow
from samadapt.benchmark.task_options import FROZEN, TaskOptions, fit_spec, shots_name
from samadapt.benchmark.task_summary import Cell, kept_gain, summarise
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.data.selection import select
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.training.fitting.embedding_store import (
    DEFAULT_BYTES,
    EmbeddingStore,
    default_folder,
)

FORMAT = "samadapt-task-1"
TEST, TRANSFER = "test", "transfer"

Table = dict[str, dict[str, dict[str, Any]]]
"""Summaries by shots and method."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What `run_task` found.

    Attributes:
        environment: software, machine and model.
        protocol: options, datasets, and which objects and images were measured.
        cells: all answers, by place ("test", "transfer"), shots and method.
        timing: seconds in total.
    """

    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    cells: Mapping[tuple[str, int | None, str], tuple[Cell, ...]] = field(repr=False)
    timing: Mapping[str, float] = field(default_factory=dict)

    def table(self, place: str = TEST) -> Table:
        """Summaries by shots and method; empty for a place that was not measured."""
        found: Table = {}
        for (where, shots, method), cells in self.cells.items():
            if where == place:
                found.setdefault(shots_name(shots), {})[method] = self._summary(cells)
        if place == TRANSFER:
            self._add_kept(found)
        return found

    def categories(self, place: str = TEST) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """Summaries by shots, method and category."""
        found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        for (where, shots, method), cells in self.cells.items():
            if where == place:
                here = found.setdefault(shots_name(shots), {}).setdefault(method, {})
                for name in dict.fromkeys(cell.category for cell in cells):
                    here[name] = self._summary([c for c in cells if c.category == name])
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "format": FORMAT,
            "environment": dict(self.environment),
            "protocol": dict(self.protocol),
            "summary": self.table(),
            "categories": self.categories(),
            "transfer": self.table(TRANSFER),
            "transfer_categories": self.categories(TRANSFER),
            "timing": dict(self.timing),
            "objects": [
                {
                    "place": place,
                    "shots": shots_name(shots),
                    "method": method,
                    "category": cell.category,
                    "training_seed": cell.seed,
                    **thing.to_dict(),
                }
                for (place, shots, method), cells in self._once()
                for cell in cells
                for thing in cell.row.objects
            ],
        }

    def _once(self) -> list[tuple[tuple[str, int | None, str], tuple[Cell, ...]]]:
        """All cells; those of frozen rows, which no shots change, only once."""
        first = next(iter(self.cells))[1] if self.cells else None
        return [
            (key, cells) for key, cells in self.cells.items() if fit_spec(key[2]) or key[1] == first
        ]

    def _summary(self, cells: Sequence[Cell]) -> dict[str, Any]:
        return summarise(cells, int(self.protocol["seed"]))

    def _add_kept(self, table: Table) -> None:
        for shots, rows in table.items():
            for method, row in rows.items():
                if not fit_spec(method) or FROZEN not in rows:
                    continue
                names = {c.category for c in self._cells(TRANSFER, shots, method)}
                home = [
                    self._summary([c for c in self._cells(TEST, shots, m) if c.category in names])
                    for m in (method, FROZEN)
                ]
                row["kept_gain"] = kept_gain((home[0], home[1]), (row, rows[FROZEN]))

    def _cells(self, place: str, shots: str, method: str) -> tuple[Cell, ...]:
        keys = [k for k in self.cells if (k[0], shots_name(k[1]), k[2]) == (place, shots, method)]
        return self.cells[keys[0]]


def run_task(
    train: CocoDataset,
    test: CocoDataset,
    model: SegmentationModel,
    options: TaskOptions | None = None,
    *,
    transfer: CocoDataset | None = None,
    work: Path | None = None,
    cache: Path | None = None,
    cache_bytes: int = DEFAULT_BYTES,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> TaskResult:
    """Teach each category from a few masks in several ways, and measure on other images.

    All rows answer the same prompts for the same objects. What is measured does not depend on
    the seed of a training, so frozen rows are measured once.

    Args:
        train: masks to learn from.
        test: masks to measure on; never learned from.
        model: stays frozen.
        options: categories, shots, methods, ...
        transfer: another dataset with some of the categories, to measure the same adapters on.
        work: folder of fits and finished cells. What is there already is not done again, if
            model, data and options are still the same; changes of the code are not noticed. None
            keeps nothing.
        cache: folder of embeddings; one in the user's cache if left out.
        cache_bytes: most bytes to keep there.
        progress: told of (done, total) steps: one per cell and image.
        command: what to record as the command line; `sys.argv` when left out.

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
    places = {TEST: {name: Examination(test, name, chosen) for name in names}}
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
                place: [exam.describe() for exam in exams.values()]
                for place, exams in places.items()
            },
        },
        cells=cells,
        timing={"seconds": round(time.perf_counter() - started, 3)},
    )


class _Run:
    """All cells of one run: fitted, measured, kept."""

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
        self._fits = Fits(model, train, folder / "fits", options, cache, cache_bytes)
        self._store = EmbeddingStore(cache or default_folder(), cache_bytes, model)
        self._folder = folder / "cells"
        self._progress = progress
        self._done, self._total = 0, 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{folder}, where finished fits are kept, cannot be made "
                f"({error.strerror or error}): give another one"
            ) from None

    def all(
        self, places: Mapping[str, Mapping[str, Examination]]
    ) -> dict[tuple[str, int | None, str], tuple[Cell, ...]]:
        """Every method at every number of shots in every place."""
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
        found: dict[tuple[str, int | None, str], list[Cell]] = {
            (place, shots, method): []
            for place in places
            for shots in options.shots
            for method in options.methods
        }
        for name, shots, seed in groups:
            fits = {m: self._fit(m, name, shots, seed) for m in options.methods}
            for place, exams in places.items():
                if name not in exams:
                    continue
                for cell in self._group(exams[name], fits, seed):
                    cells = found[place, shots, cell.row.method]
                    if cell.seed is not None or name not in {c.category for c in cells}:
                        cells.append(cell)
        return {key: tuple(cells) for key, cells in found.items()}

    def _fit(self, method: str, category: str, shots: int | None, seed: int) -> Fit | None:
        fit = self._fits.get(method, category, shots, seed) if fit_spec(method) else None
        self._tell()
        return fit

    def _group(self, exam: Examination, fits: Mapping[str, Fit | None], seed: int) -> list[Cell]:
        """One category with one number of shots and seed: rows that are missing are measured."""
        paths = {m: self._path(exam, m, fit) for m, fit in fits.items()}
        rows = {m: found for m, path in paths.items() if (found := _read(path)) is not None}
        missing = [
            TaskRow(method, () if fit is None else (fit.adapter,))
            for method, fit in fits.items()
            if method not in rows
        ]
        if missing:
            exam.measure(self._model, missing, self._store, self._tell)
        else:
            self._tell(len(exam.images))
        for row in missing:
            _write(paths[row.method], row)
            # Files have rounded numbers: the first result is to be that of every later one.
            rows[row.method] = _read(paths[row.method]) or row
        return [
            Cell(exam.category, None, rows[method])
            if fit is None
            else Cell(exam.category, seed, rows[method], fit.parameters, fit.seconds)
            for method, fit in fits.items()
        ]

    def _path(self, exam: Examination, method: str, fit: Fit | None) -> Path:
        """Named for people, with a digest of all that the answers depend on."""
        options = self._options
        about = {
            "fit": None if fit is None else fit.key,
            "method": method,
            "exam": exam.describe(),
            "data": describe_dataset(exam.dataset),
            "options": [options.draws, options.grid, options.min_area, options.seed],
            "model": [
                self._model.identity.weights_hash,
                self._model.preprocessing,
                str(self._model.encoder_dtype),
            ],
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        name = f"{exam.category}_{method}" if fit is None else fit.key
        safe = "".join(c if c.isalnum() or c in "+-_." else "-" for c in name)
        return self._folder / f"{safe}_{digest}.json"

    def _tell(self, more: int = 1) -> None:
        self._done += more
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


# -- private --------------------------------------------------------------------------------


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
) -> dict[str, Examination]:
    there = {transfer.category(a.category_id).name for a in transfer.annotations}
    found = {name: Examination(transfer, name, options) for name in names if name in there}
    if not found:
        raise DataError(
            f"{transfer.source} has none of the categories {', '.join(names)}: it has "
            + (", ".join(sorted(there)) or "none")
        )
    return found


def _read(path: Path) -> TaskRow | None:
    """A row that was kept; None if there is none, or a damaged one, which is made again."""
    try:
        return TaskRow.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, row: TaskRow) -> None:
    with replacing(path) as file:
        file.write(json.dumps(row.to_dict(), allow_nan=False).encode())
