"""Tables and the HTML report of the adaptation benchmark."""

from __future__ import annotations

from samadapt.benchmark.adaptation.run import MAIN, AdaptationResult, Average, ScenarioResult
from samadapt.benchmark.formats import seconds_cell
from samadapt.benchmark.interactive.compare import Estimate
from samadapt.benchmark.interactive.plots import Goal, clicks_plot
from samadapt.benchmark.interactive.summary import MEASURES, SECONDS, Measure
from samadapt.benchmark.interactive.tables import change_cell, reduction_cell
from samadapt.benchmark.plots import Plot
from samadapt.benchmark.report import Report
from samadapt.benchmark.tables import Cell, Column, Row, Table

REDUCED = tuple(measure for measure in MEASURES if measure.key in ("fr20@85", "fr30@90"))
"""The failure rates whose relative reductions are shown."""
_COLUMNS = (
    Column("objects", in_terminal=False),
    Column(MAIN.label),
    Column("change (95 % interval)", terminal_intervals=True),
    *(
        column
        for measure in REDUCED
        for column in (
            Column(measure.label, in_terminal=False),
            Column(f"{measure.label}\nreduced"),
        )
    ),
    Column("time per click", in_terminal=False),
)
_NOTE = (
    "Values are means over all objects of all seeds; intervals are 95 % bootstraps over images, "
    "each drawn with all its objects under all seeds. A relative reduction is undefined where the "
    "frozen model never fails. Averages give every dataset the same weight."
)


def adaptation_tables(result: AdaptationResult) -> list[Table]:
    """Return a table per adapter: its scenarios against the frozen model."""
    seeds = len(result.options["seeds"])
    return [
        Table(
            f"{adapter} against frozen, {seeds} seed{'s' if seeds != 1 else ''}",
            _COLUMNS,
            tuple(_rows(result, adapter)),
            corner="scenario",
            notes=(_NOTE,),
            caption=tuple(
                f"{_average_name(mean)}, relative reduction: "
                + ", ".join(f"{m.label} {_reduction(mean, m).full}" for m in REDUCED)
                for mean in _averages(result, adapter)
            ),
        )
        for adapter in result.adapters
    ]


def adaptation_report(result: AdaptationResult) -> Report:
    """Return the report: tables and learning curves."""
    return Report(
        benchmark="adaptation",
        title=f"Frozen against adapting: {result.environment['model']['name']}",
        environment=result.environment,
        headlines=tuple(_headlines(result)),
        tables=tuple(adaptation_tables(result)),
        legend=("frozen", *result.adapters),
        plots_title="Clicks per object during annotation",
        plots=tuple(_plots(result)),
        facts=(("Environment", result.environment), ("Options", result.options)),
    )


def _rows(result: AdaptationResult, adapter: str) -> list[Row]:
    """Return the scenarios of an adapter, each kind followed by its average."""
    rows = [row for row in result.rows if row.adapter == adapter]
    averages = {mean.kind: mean for mean in _averages(result, adapter)}
    found: list[Row] = []
    for kind in dict.fromkeys(row.scenario.kind for row in rows):
        found += [_row(row) for row in rows if row.scenario.kind == kind]
        if kind in averages:
            found.append(_average_row(averages[kind]))
    return found


def _row(row: ScenarioResult) -> Row:
    found = row.comparison
    cells = [Cell(str(found.visits)), _pair(row, MAIN), change_cell(MAIN, found.change[MAIN.key])]
    for measure in REDUCED:
        cells += [_pair(row, measure), reduction_cell(found.reduction[measure.key])]
    seconds = (seconds_cell(_value(s[SECONDS])).text for s in (found.frozen, found.adapted))
    return Row(row.scenario.title, (*cells, Cell(" → ".join(seconds))))


def _average_row(mean: Average) -> Row:
    change = mean.change[MAIN.key]
    cells = [Cell(), Cell(), change_cell(MAIN, change and change[0])]
    for measure in REDUCED:
        cells += [Cell(), _reduction(mean, measure)]
    return Row(_average_name(mean), (*cells, Cell()), kind="average")


def _averages(result: AdaptationResult, adapter: str) -> list[Average]:
    return [mean for mean in result.averages if mean.adapter == adapter]


def _average_name(mean: Average) -> str:
    return "average" if mean.kind == "sequential" else f"average, {mean.kind.replace('-', ' ')}"


def _reduction(mean: Average, measure: Measure) -> Cell:
    found = mean.reduction[measure.key]
    return reduction_cell(found and found[0])


def _pair(row: ScenarioResult, measure: Measure) -> Cell:
    """Return a measure of the frozen and of the adapting model, such as "15.25 → 1.00"."""
    sides = (row.comparison.frozen, row.comparison.adapted)
    texts = [measure.format(_value(side[measure.key])) for side in sides]
    return Cell(" → ".join([texts[0].removesuffix(" %"), texts[1]]))


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _headlines(result: AdaptationResult) -> list[str]:
    """Return the main finding per adapter, if several datasets give an average."""
    lines = []
    for mean in result.averages:
        reduced = {m: mean.reduction[m.key] for m in REDUCED if mean.kind == "sequential"}
        parts = [
            f"{m.label} by {_reduction(mean, m).full}" for m, found in reduced.items() if found
        ]
        if parts:
            lines.append(f"{mean.adapter} reduces {' and '.join(parts)} on average over datasets.")
    return lines


def _plots(result: AdaptationResult) -> list[Plot]:
    """Return a learning curve per scenario: the frozen model, then every adapter."""
    limits = float(result.options["stop_at"]), int(result.options["max_clicks"])
    goal = Goal(min(0.85, limits[0]), min(20, limits[1]))
    scenarios: dict[int, list[ScenarioResult]] = {}
    for row in result.rows:
        scenarios.setdefault(id(row.scenario), []).append(row)
    plots = []
    for number, rows in enumerate(scenarios.values()):
        series = [[frozen for frozen, _ in rows[0].runs.values()]]
        series += [[adapted for _, adapted in row.runs.values()] for row in rows]
        plots.append(clicks_plot(series, goal, rows[0].scenario.title, f"scenario{number}"))
    return plots
