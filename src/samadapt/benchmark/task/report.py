"""The tables and the HTML report of the task benchmark."""

from __future__ import annotations

from typing import Any

from samadapt.benchmark.formats import percent
from samadapt.benchmark.report import Report
from samadapt.benchmark.tables import Cell, Column, Row, Table
from samadapt.benchmark.task.result import TEST, TRANSFER, TaskResult
from samadapt.benchmark.task.summary import MAIN

_TITLES = {TEST: "Mean", TRANSFER: "Other data, same adapters: mean"}


def task_tables(result: TaskResult) -> list[Table]:
    """Return a table per place: methods down, measures across, in per cent."""
    return [table for place in (TEST, TRANSFER) if (table := _table(result, place)).rows]


def task_report(result: TaskResult) -> Report:
    """Return the report."""
    shown = {k: v for k, v in result.protocol.items() if k not in ("measured", "datasets")}
    return Report(
        benchmark="task",
        title=f"Teaching a task: {result.environment['model']['name']}",
        environment=result.environment,
        note=f"{', '.join(result.protocol['categories'])}: {result.protocol['draws']} prompts of "
        "each kind per object, the same for all rows. Each category has the same weight. Small "
        "numbers are 95 % bootstrap intervals over images.",
        tables=tuple(task_tables(result)),
        facts=(("Environment", result.environment), ("Options", shown)),
    )


def _table(result: TaskResult, place: str) -> Table:
    count = len(result.protocol["categories"])
    kind = "category" if count == 1 else "categories"
    rows: list[Row] = []
    for shots, methods in result.table(place).items():
        rows.append(Row(f"{shots} shots", kind="heading"))
        rows += [Row(method, _cells(row)) for method, row in methods.items()]
    return Table(
        f"{_TITLES[place]} over {count} {kind}, in per cent",
        tuple(Column(name) for name in (*MAIN, "parameters", "fit")),
        tuple(rows),
    )


def _cells(row: dict[str, Any]) -> tuple[Cell, ...]:
    fitted = row["parameters"] > 0
    return (
        *(percent(row[key], row["intervals"][key]) for key in MAIN),
        Cell(f"{row['parameters']:,}" if fitted else ""),
        Cell(f"{row['fit_seconds']:.0f} s" if fitted else ""),
    )
