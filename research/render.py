"""Tables for the documents, made of the JSON files that the benchmarks write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from samadapt.benchmark.formats import percent
from samadapt.benchmark.interactive.compare import Estimate
from samadapt.benchmark.interactive.summary import MEASURES, Measure
from samadapt.benchmark.interactive.tables import change_cell, measure_cell, reduction_cell
from samadapt.benchmark.robustness.result import METRICS
from samadapt.benchmark.statistics import mean
from samadapt.benchmark.tables import Cell, Column, Row, Table
from samadapt.benchmark.task.summary import AP, OVERLAPS

Results: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The JSON files of a run by name, such as that of the dataset; "" for a single file."""
Renderer: TypeAlias = Callable[[Results, Mapping[str, Any]], Table]

_BY_KEY = {measure.key: measure for measure in MEASURES}
_NOC, _FR = _BY_KEY["noc20@85"], _BY_KEY["fr20@85"]


def clicks(results: Results, options: Mapping[str, Any]) -> Table:
    """Return the measures of interactive results, a row per dataset."""
    del options
    summaries = {
        name: (result["summary"]["objects"], result["summary"], result["intervals"])
        for name, result in results.items()
    }
    return _measures(summaries)


def frozen(results: Results, options: Mapping[str, Any]) -> Table:
    """Return the measures of the frozen model in an adaptation result, a row per dataset."""
    del options
    (result,) = results.values()
    found = {}
    for row in _rows(result, "sequential", result["options"]["adapters"][0]):
        known = {key: value for key, value in row["frozen"].items() if value is not None}
        values = {key: value["value"] for key, value in known.items()}
        spans = {key: value["interval"] for key, value in known.items()}
        found[row["dataset"]] = (row["visits"], values, spans)
    return _measures(found)


def comparison(results: Results, options: Mapping[str, Any]) -> Table:
    """Return the measures of one result, frozen and adapting, with the change."""
    del options
    (result,) = results.values()
    found = result["comparison"]
    rows = [
        Row(
            measure.label,
            (
                _estimate(measure, found["frozen"][measure.key]),
                _estimate(measure, found["adapted"][measure.key]),
                _change(measure, found["change"][measure.key]),
            ),
        )
        for measure in MEASURES
        if found["frozen"][measure.key] is not None
    ]
    return _table(["frozen", "adapting", "change"], rows)


def adaptation(results: Results, options: Mapping[str, Any]) -> Table:
    """Return frozen against adapting by dataset, with the average."""
    del options
    (result,) = results.values()
    adapter = result["options"]["adapters"][0]
    shown = [_BY_KEY[key] for key in ("fr30@90", "iou@1", "iou@5")]
    rows = [
        Row(
            row["dataset"],
            (
                _pair(_NOC, row),
                _change(_NOC, row["change"][_NOC.key]),
                _pair(_FR, row),
                reduction_cell(_read(row["reduction"][_FR.key])),
                *(_pair(measure, row) for measure in shown),
            ),
        )
        for row in _rows(result, "sequential", adapter)
    ]
    for average in _averages(result, "sequential", adapter):
        changes = [Cell("reduced by " + _reduction(average, "fr30@90"))]
        changes += [_change(m, average["change"][m.key]) for m in shown[1:]]
        change = _change(_NOC, average["change"][_NOC.key])
        cells = (Cell(), change, Cell(), Cell(_reduction(average, _FR.key)), *changes)
        rows.append(Row("average", cells, kind="average"))
    titles = [_NOC.label, "change", _FR.label, "relative reduction", *(m.label for m in shown)]
    return _table(titles, rows)


def streams(results: Results, options: Mapping[str, Any]) -> Table:
    """Return NoC20@85 of frozen and adapting by stream, a column per dataset."""
    del options
    (result,) = results.values()
    adapter, datasets = result["options"]["adapters"][0], result["options"]["datasets"]
    rows = []
    for stream in dict.fromkeys(row["stream"] for row in result["results"]):
        by_dataset = {row["dataset"]: row for row in _rows(result, stream, adapter)}
        changes = _averages(result, stream, adapter) or list(by_dataset.values())
        pairs = [
            _pair(_NOC, by_dataset[name]) if name in by_dataset else Cell() for name in datasets
        ]
        rows.append(Row(stream, (*pairs, _change(_NOC, changes[0]["change"][_NOC.key]))))
    return _table([*datasets, "change, on average"], rows)


def adapters(results: Results, options: Mapping[str, Any]) -> Table:
    """Return NoC20@85 and its change by adapter, a row per dataset, with the average."""
    del options
    (result,) = results.values()
    names = result["options"]["adapters"]
    rows = []
    for dataset in result["options"]["datasets"]:
        own = [
            row
            for name in names
            for row in _rows(result, "sequential", name)
            if row["dataset"] == dataset
        ]
        cells = [_estimate(_NOC, own[0]["frozen"][_NOC.key], interval=False)]
        for row in own:
            adapted = _estimate(_NOC, row["adapted"][_NOC.key], interval=False).text
            cells.append(Cell(f"{adapted}, {_change(_NOC, row['change'][_NOC.key]).full}"))
        rows.append(Row(dataset, tuple(cells)))
    means = [average for name in names for average in _averages(result, "sequential", name)]
    if means:
        changes = tuple(_change(_NOC, average["change"][_NOC.key]) for average in means)
        rows.append(Row("average", (Cell(), *changes), kind="average"))
    return _table(["frozen", *(f"`{name}`" for name in names)], rows)


def robustness(results: Results, options: Mapping[str, Any]) -> Table:
    """Return mIoU by dataset and adapter, then means over the datasets in `options["mean"]`."""
    kinds = _kinds(results)
    rows = [
        Row(f"{dataset}, {row['name']}", tuple(percent(row["summary"][f"miou@{k}"]) for k in kinds))
        for dataset, result in results.items()
        for row in result["rows"]
    ]
    chosen = [results[name]["rows"] for name in options["mean"]]
    for metric, title in METRICS.items():
        for same in zip(*chosen, strict=True):
            values = [mean([row["summary"][f"{metric}@{k}"] for row in same]) for k in kinds]
            label = f"mean, {title.partition(',')[0]}, {same[0]['name']}"
            rows.append(Row(label, tuple(percent(value) for value in values), kind="average"))
    return _table(kinds, rows)


def robustness_change(results: Results, options: Mapping[str, Any]) -> Table:
    """Return the change of mIoU by dataset, then the mean change of every metric, in points."""
    del options
    kinds = _kinds(results)
    last = {name: result["rows"][-1]["changes"] for name, result in results.items()}

    def points(changes: Sequence[Mapping[str, Any]], metric: str) -> tuple[Cell, ...]:
        values = [mean([one[f"{metric}@{kind}"]["mean"] for one in changes]) for kind in kinds]
        return tuple(Cell(f"{100 * value:+.1f}") for value in values)

    rows = [Row(name, points([changes], "miou")) for name, changes in last.items()]
    for metric, title in METRICS.items():
        label = f"mean, {title.partition(',')[0]}"
        rows.append(Row(label, points(list(last.values()), metric), kind="average"))
    return _table(kinds, rows)


def task_categories(results: Results, options: Mapping[str, Any]) -> Table:
    """Return IoU of one point by method and category, with means of three measures."""
    del options
    rows = []
    for shots, method in _shots_and_methods(results):
        summaries = [result["summary"][shots][method] for result in results.values()]
        cells = [percent(summary[OVERLAPS[0]]) for summary in summaries]
        cells += [percent(mean([s[key] for s in summaries])) for key in OVERLAPS[:3]]
        rows.append(Row(f"{shots} masks, `{method}`", tuple(cells)))
    means = ["mean", "mean, boundary", "mean, box0.4"]
    return _table([*results, *means], rows)


def task(results: Results, options: Mapping[str, Any]) -> Table:
    """Return IoU and boundary IoU of a point, IoU of a box, and AP, a column per result."""
    del options
    rows = []
    for shots, method in _shots_and_methods(results):
        cells = []
        for result in results.values():
            summary = result["summary"].get(shots, {}).get(method)
            cells.append(Cell() if summary is None else _overlaps(summary))
        rows.append(Row(f"{shots} masks, `{method}`", tuple(cells)))
    return _table(list(results), rows)


def baselines(results: Results, options: Mapping[str, Any]) -> Table:
    """Return the measures of a model and baselines, a row per dataset."""
    del options
    first = next(iter(results.values()))
    methods = list(first["methods"])
    shown = [_FR, _BY_KEY["iou@1"], _BY_KEY["iou@5"]]
    rows = []
    for name, result in results.items():
        summary, spans = result["summary"][name], result["intervals"][name]
        cells = [Cell(str(summary[methods[0]]["objects"]))]
        cells += [measure_cell(_NOC, summary[m][_NOC.key], spans[m][_NOC.key]) for m in methods]
        cells += [
            Cell(", ".join(measure.format(summary[m][measure.key]) for m in methods))
            for measure in shown
        ]
        rows.append(Row(name, tuple(cells)))
    titles = ["objects", *(f"{_NOC.label} {m}" for m in methods), *(m.label for m in shown)]
    return _table(titles, rows)


RENDERERS: Mapping[str, Renderer] = {
    "clicks": clicks,
    "frozen": frozen,
    "comparison": comparison,
    "adaptation": adaptation,
    "streams": streams,
    "adapters": adapters,
    "robustness": robustness,
    "robustness-change": robustness_change,
    "task-categories": task_categories,
    "task": task,
    "baselines": baselines,
}
"""The kinds of tables."""


def _table(titles: Sequence[str], rows: Sequence[Row]) -> Table:
    return Table("", tuple(Column(title) for title in titles), tuple(rows))


def _measures(
    summaries: Mapping[str, tuple[int, Mapping[str, Any], Mapping[str, Any]]],
) -> Table:
    known = [
        measure
        for measure in MEASURES
        if any(values.get(measure.key) is not None for _, values, _ in summaries.values())
    ]
    rows = [
        Row(
            name,
            (
                Cell(str(objects)),
                *(measure_cell(m, values.get(m.key), spans.get(m.key)) for m in known),
            ),
        )
        for name, (objects, values, spans) in summaries.items()
    ]
    return _table(["objects", *(measure.label for measure in known)], rows)


def _rows(result: Mapping[str, Any], stream: str, adapter: str) -> list[Mapping[str, Any]]:
    rows = result["results"]
    return [row for row in rows if (row["stream"], row["adapter"]) == (stream, adapter)]


def _averages(result: Mapping[str, Any], stream: str, adapter: str) -> list[Mapping[str, Any]]:
    rows = result["averages"]
    return [row for row in rows if (row["stream"], row["adapter"]) == (stream, adapter)]


def _read(estimate: Mapping[str, Any] | None) -> Estimate | None:
    if estimate is None:
        return None
    span = estimate["interval"]
    return Estimate(estimate["value"], (span[0], span[1]) if span else None)


def _estimate(measure: Measure, estimate: Mapping[str, Any] | None, interval: bool = True) -> Cell:
    found = _read(estimate)
    if found is None:
        return measure_cell(measure, None)
    return measure_cell(measure, found.value, found.interval if interval else None)


def _change(measure: Measure, estimate: Mapping[str, Any] | None) -> Cell:
    return change_cell(measure, _read(estimate))


def _pair(measure: Measure, row: Mapping[str, Any]) -> Cell:
    sides = (row["frozen"][measure.key], row["adapted"][measure.key])
    return Cell(" → ".join(_estimate(measure, side, interval=False).text for side in sides))


def _reduction(average: Mapping[str, Any], key: str) -> str:
    found = average["reduction"][key]
    text = reduction_cell(_read(found)).full
    return text if found is None else f"{text} of {found['datasets']}"


def _kinds(results: Results) -> list[str]:
    return list(next(iter(results.values()))["protocol"]["prompts"])


def _shots_and_methods(results: Results) -> list[tuple[str, str]]:
    found = (
        (shots, method)
        for result in results.values()
        for shots, methods in result["summary"].items()
        for method in methods
    )
    return list(dict.fromkeys(found))


def _overlaps(summary: Mapping[str, Any]) -> Cell:
    values = [percent(summary[key]).text for key in OVERLAPS[:3]]
    found = percent(summary[AP]).text
    return Cell(" ".join(values) + (f", {found}" if found else ""))
