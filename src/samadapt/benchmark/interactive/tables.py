"""The summary table of one interactive result, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.benchmark.formats import seconds_cell, verdict_of
from samadapt.benchmark.interactive.compare import FAILURES, Comparison, Estimate, compare_frozen
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.summary import MEASURES, OBJECTS, SECONDS, Measure
from samadapt.benchmark.statistics import Interval
from samadapt.benchmark.tables import UNKNOWN, Cell, Column, Row, Table


def labels(results: Sequence[InteractiveResult]) -> list[str]:
    """Return names for results side by side; where some adapt, others are marked as frozen."""
    adapts = [bool(result.environment.get("adapters")) for result in results]
    return [
        f"{result.name}, frozen" if any(adapts) and not own else result.name
        for result, own in zip(results, adapts, strict=True)
    ]


def summary_table(results: Sequence[InteractiveResult]) -> Table:
    """Return the summary of one result, or of several side by side.

    One result is shown with its 95 % intervals. For two results a last column has the mean change
    per object from the first to the second with its 95 % interval.
    """
    names = labels(results)
    columns = [
        Column(name, key=number if len(results) > 1 else 0) for number, name in enumerate(names, 1)
    ]
    rows = summary_rows(results)
    if len(results) == 1:
        columns.append(Column("95 % interval"))
        rows = [
            Row(row.label, (Cell(cell.text), Cell(cell.interval)), row.meaning, row.kind)
            for row in rows
            for cell in row.cells
        ]
    elif len(results) == 2:
        columns.append(Column("change (95 % interval)", terminal_intervals=True))
    counts = (
        {int(result.summary[OBJECTS] or 0) for result in results},
        {len({row.image_id for row in result.objects}) for result in results},
    )
    objects, images = (" / ".join(map(str, sorted(found))) for found in counts)
    reductions = _reductions(_comparison(results))
    return Table(
        f"{objects} object{'s' * (objects != '1')} in {images} image{'s' * (images != '1')}",
        tuple(columns),
        tuple(rows),
        corner="measure",
        notes=(*reductions, "Intervals are 95 % bootstraps over images."),
        caption=reductions,
        show_meaning=len(results) == 1,
    )


def summary_rows(results: Sequence[InteractiveResult]) -> list[Row]:
    """Return a row per measure with a cell per result; with two, the change follows."""
    comparison = _comparison(results)
    rows = []
    for measure in MEASURES:
        if all(result.summary[measure.key] is None for result in results):
            continue  # the protocol's limits hide it
        cells = [
            measure_cell(measure, result.summary[measure.key], result.intervals.get(measure.key))
            for result in results
        ]
        if len(results) == 2:
            change = None if comparison is None else comparison.change[measure.key]
            cells.append(change_cell(measure, change))
        rows.append(Row(measure.label, tuple(cells), measure.meaning, "measure"))
    times = [seconds_cell(r.summary[SECONDS], r.intervals.get(SECONDS)) for r in results]
    if len(results) == 2:
        times.append(Cell())
    meaning = "click to mask, learning included"
    return [*rows, Row("Time per click", tuple(times), meaning, "measure")]


def measure_cell(measure: Measure, value: float | int | None, span: Interval | None = None) -> Cell:
    """Return a measure's value with its interval."""
    return Cell(measure.format(value), measure.format(*span) if span else "")


def change_cell(measure: Measure, change: Estimate | None) -> Cell:
    """Return a change with its interval and verdict; empty for None."""
    if change is None:
        return Cell()
    span = change.interval
    return Cell(
        measure.format(change.value, signed=True),
        measure.format(*span, signed=True) if span else "",
        verdict_of(span, measure.is_higher_better),
    )


def reduction_cell(reduction: Estimate | None) -> Cell:
    """Return a relative reduction with its interval, such as 48.1 % (40.2 to 55.0)."""
    if reduction is None:
        return Cell(UNKNOWN)
    low_high = reduction.interval or ()
    return Cell(
        f"{reduction.value * 100:.1f} %", " to ".join(f"{end * 100:.1f}" for end in low_high)
    )


def _comparison(results: Sequence[InteractiveResult]) -> Comparison | None:
    """Return the comparison of two results that have objects in common."""
    if len(results) != 2 or not set(results[0].curves) & set(results[1].curves):
        return None
    return compare_frozen(results[0], results[1])


def _reductions(comparison: Comparison | None) -> tuple[str, ...]:
    """Return sentences with the relative reduction of failures from the first to the second."""
    found = {} if comparison is None else comparison.reduction
    return tuple(
        f"relative reduction of {measure.label}: {reduction_cell(found[measure.key]).full}"
        for measure in FAILURES
        if found.get(measure.key) is not None
    )
