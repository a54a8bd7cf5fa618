"""`TaskResult`: all predictions of the task benchmark, and their summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from samadapt.benchmark.results import BenchmarkResult
from samadapt.benchmark.task.options import FROZEN, fit_spec, shots_name
from samadapt.benchmark.task.summary import CategoryRow, kept_gain, summarise

FORMAT = "samadapt-task-1"
TEST, TRANSFER = "test", "transfer"

Summaries = dict[str, dict[str, dict[str, Any]]]
"""Summaries by shots and method."""


@dataclass(frozen=True)
class TaskResult(BenchmarkResult):
    """One run of the task benchmark.

    Attributes:
        environment: software, machine and model.
        protocol: options, datasets, and the measured objects and images.
        cells: all predictions, by place ("test", "transfer"), shots and method.
        timing: seconds in total.
    """

    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    cells: Mapping[tuple[str, int | None, str], tuple[CategoryRow, ...]] = field(repr=False)
    timing: Mapping[str, float] = field(default_factory=dict)

    def table(self, place: str = TEST) -> Summaries:
        """Return summaries by shots and method; empty for a place that was not measured."""
        found: Summaries = {}
        for (where, shots, method), cells in self.cells.items():
            if where == place:
                found.setdefault(shots_name(shots), {})[method] = self._summary(cells)
        if place == TRANSFER:
            self._add_kept(found)
        return found

    def categories(self, place: str = TEST) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """Return summaries by shots, method and category."""
        found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        for (where, shots, method), cells in self.cells.items():
            if where == place:
                here = found.setdefault(shots_name(shots), {}).setdefault(method, {})
                for name in dict.fromkeys(cell.category for cell in cells):
                    here[name] = self._summary([c for c in cells if c.category == name])
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
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

    def _once(self) -> list[tuple[tuple[str, int | None, str], tuple[CategoryRow, ...]]]:
        """Return all cells, but cells of frozen rows, which do not depend on shots, only once."""
        first = next(iter(self.cells))[1] if self.cells else None
        return [
            (key, cells) for key, cells in self.cells.items() if fit_spec(key[2]) or key[1] == first
        ]

    def _summary(self, cells: Sequence[CategoryRow]) -> dict[str, Any]:
        return summarise(cells, int(self.protocol["seed"]))

    def _add_kept(self, table: Summaries) -> None:
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

    def _cells(self, place: str, shots: str, method: str) -> tuple[CategoryRow, ...]:
        keys = [k for k in self.cells if (k[0], shots_name(k[1]), k[2]) == (place, shots, method)]
        return self.cells[keys[0]]
