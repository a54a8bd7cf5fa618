"""The tables of the papers' claims, from the JSON files of the benchmarks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from research.render import adaptation, task
from research.sam_shaped.plan import DOMAINS, KINDS, PHOTOGRAPHS
from samadapt.benchmark.formats import percent
from samadapt.benchmark.statistics import mean
from samadapt.benchmark.tables import Cell, Column, Row, Table

Results: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The JSON files of a table by data set or task."""

_METRICS = {"miou": "mIoU", "msf": "mSF"}
_SEED = re.compile(r"-\d+$")


def robustness(results: Results) -> Table:
    """Mean mIoU and mSF by method, over photographs and over domains, and over seeds."""
    rows = [
        row
        for title, names in (("photographs", PHOTOGRAPHS), ("novel domains", DOMAINS))
        if (found := [results[name] for name in names if name in results])
        for row in _group(title, found)
    ]
    return Table("", _columns(), tuple(rows))


def unseen(results: Results) -> Table:
    """The same by data set."""
    rows = [row for name, result in results.items() for row in _group(name, [result])]
    return Table("", _columns(), tuple(rows))


def online(results: Results) -> Table:
    """Frozen against adapting, one group of rows per adapter."""
    (result,) = results.values()
    rows: list[Row] = []
    columns: tuple[Column, ...] = ()
    for name in result["options"]["adapters"]:
        only = {**result, "options": {**result["options"], "adapters": [name]}}
        table = adaptation({"": only}, {})
        columns = table.columns
        rows += [Row(f"`{name}`", kind="heading"), *table.rows]
    return Table("", columns, tuple(rows))


def prompts(results: Results) -> Table:
    """IoU and boundary IoU of a point and IoU of a box, by method and number of masks."""
    return task(results, {})


RENDERERS: Mapping[str, Callable[[Results], Table]] = {
    "brittle": robustness,
    "stable": robustness,
    "unseen": unseen,
    "online": online,
    "prompts": prompts,
}
"""By table of `plan.TABLES`."""


def row_name(name: str) -> str:
    """The method of a row whose name is the folder of its adapter, one folder per seed."""
    return _SEED.sub("", name.rpartition("/")[2])


def _columns() -> tuple[Column, ...]:
    return tuple(Column(f"{label} {kind}") for label in _METRICS.values() for kind in KINDS)


def _group(title: str, results: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
    """A heading, and a row per method with means over data sets and seeds."""
    objects = sum(result["summary"]["objects"] for result in results)
    sets = f"{len(results)} sets, " if len(results) > 1 else ""
    yield Row(f"{title}: {sets}{objects} objects", kind="heading")
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for row in result["rows"]:
            by_method.setdefault(row_name(row["name"]), []).append(row["summary"])
    for name, summaries in by_method.items():
        cells: list[Cell] = []
        for metric in _METRICS:
            for kind in KINDS:
                values = [s[f"{metric}@{kind}"] for s in summaries]
                there = [value for value in values if value is not None]
                cells.append(percent(mean(there)) if there else Cell())
        yield Row(name, tuple(cells))
