"""The plan of all measurements: `tables.yaml` as values."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from research.render import RENDERERS
from samadapt.benchmark.finished_runs import file_name
from samadapt.errors import DataError

_START = 4.0
"""Seconds until a command that fits nothing has loaded the model."""

PLAN = Path(__file__).with_name("tables.yaml")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One command and the JSON file that it writes.

    Attributes:
        run: name of the run that it is a part of.
        name: of the part, such as the dataset; "" for a run of a single command.
        arguments: of `samadapt`.
        result: the JSON file.
        seconds: expected time.
    """

    run: str
    name: str
    arguments: tuple[str, ...]
    result: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class DocumentTable:
    """One table of a document.

    Attributes:
        name: of its place in the document.
        document: path of the document in the repository.
        measurements: whose results it shows.
        kind: of `RENDERERS`.
        options: of the renderer.
    """

    name: str
    document: str
    measurements: tuple[Measurement, ...]
    kind: str
    options: Mapping[str, Any]


def read_plan(
    results: Path, objects: int | None = None, path: Path = PLAN
) -> tuple[DocumentTable, ...]:
    """Read all tables with their measurements.

    Args:
        results: folder of the JSON files.
        objects: at most so many in every measurement; None for as many as the plan says.
        path: of the plan.

    Raises:
        DataError: a table of an unknown run or kind.
    """
    values = yaml.safe_load(path.read_text())
    runs = {
        name: _measurements(name, run, results, objects) for name, run in values["runs"].items()
    }
    tables = []
    for name, table in values["tables"].items():
        options = dict(table)
        document, run, kind = (options.pop(key) for key in ("document", "run", "kind"))
        if run not in runs or kind not in RENDERERS:
            raise DataError(f"{path}: table {name} names an unknown run or kind")
        tables.append(DocumentTable(name, document, runs[run], kind, options))
    return tuple(tables)


def _measurements(
    name: str, run: Mapping[str, Any], results: Path, objects: int | None
) -> tuple[Measurement, ...]:
    found = []
    for part, value in run.get("each", {"": ""}).items():
        planned = value if isinstance(value, int) else run["objects"]
        count = planned if objects is None else min(objects, planned)
        stem = file_name((name, part)) if part else name
        folder = results / stem
        is_inside = "json" in run
        result = folder / run["json"] if is_inside else results / f"{stem}.json"
        text = run["command"].format(
            name=shlex.quote(part),
            objects=count,
            arguments=value,
            folder=shlex.quote(str(folder)),
        )
        output = () if is_inside else ("--json", str(result))
        fixed = run.get("fixed", _START)
        if objects is not None and "quick" in run:
            text += f" {run['quick']['arguments']}"
            fixed = run["quick"]["fixed"]
        seconds = fixed + run["seconds"] * count
        found.append(Measurement(name, part, (*shlex.split(text), *output), result, seconds))
    return tuple(found)
