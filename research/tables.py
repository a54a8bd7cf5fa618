"""Measure and write every table of the documents: `python -m research.tables`.

Each measurement is a `samadapt benchmark` command whose JSON file is kept, so an interrupted run
goes on where it stopped, and a table can be written again without measuring. The plan is
`research/tables.yaml`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from research.plan import DocumentTable, Measurement, read_plan
from research.render import RENDERERS
from samadapt.benchmark.tables import markdown_table
from samadapt.data.files import replacing
from samadapt.errors import DataError

Runner: TypeAlias = Callable[[Sequence[str]], int]
"""Runs `samadapt` with these arguments and returns its exit code."""

ROOT = Path(__file__).resolve().parents[1]


def run_samadapt(arguments: Sequence[str]) -> int:
    """Run `samadapt` in a process of its own."""
    return subprocess.run([sys.executable, "-m", "samadapt", *arguments], check=False).returncode  # noqa: S603


def measure(
    measurements: Sequence[Measurement],
    again: bool,
    run: Runner = run_samadapt,
    say: Callable[[str], None] = typer.echo,
) -> list[Measurement]:
    """Run the measurements that have no result yet; return those that failed.

    Args:
        measurements: in order.
        again: whether those with a result are run as well.
        run: runs a command.
        say: told of the expected time, every command and every failure.
    """
    missing = [m for m in measurements if again or not is_finished(m)]
    expected = sum(m.seconds for m in missing)
    say(
        f"{len(measurements) - len(missing)} of {len(measurements)} measurements are there; the "
        f"other {len(missing)} take about {duration(expected)}"
    )
    failed, done, spent = [], 0.0, 0.0
    for number, measurement in enumerate(missing, 1):
        command = " ".join(measurement.arguments)
        say(f"[{number}/{len(missing)}, {duration(measurement.seconds)}] samadapt {command}")
        measurement.result.parent.mkdir(parents=True, exist_ok=True)
        if again:
            shutil.rmtree(measurement.result.with_name(f"{measurement.result.name}.runs"), True)
        started = time.monotonic()
        if run(measurement.arguments) or not is_finished(measurement):
            say(f"failed: {measurement.run} {measurement.name}".rstrip())
            failed.append(measurement)
        else:
            spent += time.monotonic() - started
            done += measurement.seconds
            left = (expected - done) * spent / done
            say(f"  took {duration(time.monotonic() - started)}, about {duration(left)} left")
    return failed


def is_finished(measurement: Measurement) -> bool:
    """Return whether the result is there and was made by the same command."""
    try:
        values = json.loads(measurement.result.read_bytes())
        return list(values["environment"]["command"][1:]) == list(measurement.arguments)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_tables(tables: Sequence[DocumentTable], results: Path, docs: Path | None) -> list[str]:
    """Write the tables whose results are all there.

    Args:
        tables: of the plan.
        results: folder in which each table is written as NAME.md.
        docs: folder that the documents' paths start from; None leaves the documents alone.

    Returns:
        The names of the tables that were written.

    Raises:
        DataError: a document has no place for a table.
    """
    written = []
    for table in tables:
        if not all(is_finished(m) for m in table.measurements):
            continue
        found = {m.name: json.loads(m.result.read_bytes()) for m in table.measurements}
        shown = markdown_table(RENDERERS[table.kind](found, table.options))
        text = f"{shown}\n{provenance(table.measurements, found)}\n"
        _write(results / f"{table.name}.md", text)
        if docs is not None:
            path = docs / table.document
            _write(path, replaced(path.read_text(), table.name, text, path))
        written.append(table.name)
    return written


def replaced(document: str, name: str, text: str, path: Path) -> str:
    """Return a document with the table of this name replaced.

    Raises:
        DataError: it has not exactly one place for it.
    """
    pattern = rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end of table -->)"
    new, count = re.subn(pattern, lambda m: f"{m[1]}\n{text}\n{m[2]}", document, flags=re.DOTALL)
    if count != 1:
        raise DataError(
            f"{path} has {count} places for the table {name}: write <!-- table: {name} --> and "
            "<!-- end of table --> on lines of their own, once"
        )
    return new


def provenance(measurements: Sequence[Measurement], found: Mapping[str, Any]) -> str:
    """Return a line on when, with what weights and by which command a table was measured."""
    environments = [result["environment"] for result in found.values()]
    dates = sorted({str(one["date"])[:10] for one in environments})
    weights = sorted({digest for one in found.values() if (digest := _weights(one))})
    first = measurements[0]
    command = re.sub(r" (--json|--out) \S+", "", " ".join(first.arguments))
    more = f", and likewise for {len(measurements) - 1} more" if len(measurements) > 1 else ""
    parts = [
        " to ".join(dict.fromkeys((dates[0], dates[-1]))),
        f"weights {', '.join(f'`{digest[:12]}`' for digest in weights)}",
        f"torch {environments[0]['torch']}",
    ]
    return f"Measured {', '.join(parts)}: `samadapt {command}`{more}."


def duration(seconds: float) -> str:
    """Return a time in words, such as "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _weights(result: Mapping[str, Any]) -> str | None:
    """Return the hash of the model's weights."""
    described = [result["environment"], *result.get("methods", {}).values()]
    hashes = (one.get("model", {}).get("weights_hash") for one in described)
    return next((str(digest) for digest in hashes if digest), None)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode())


def main(
    objects: Annotated[
        int | None,
        typer.Option(
            "--objects",
            metavar="N",
            min=1,
            help="At most so many objects in every measurement, for a quick look; the documents "
            "then stay as they are unless --docs names them.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="TABLE", help="This table; may be given several times."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again what has a result already.")
    ] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Measure nothing: only write the tables.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="DIR", help="Folder of the JSON files and tables."),
    ] = None,
    docs: Annotated[
        Path | None,
        typer.Option("--docs", metavar="DIR", help="Folder that the documents' paths start from."),
    ] = None,
) -> None:
    """Measure and write every table of the documents.

    Says at the start how long it expects to take. Results that are there are not
    measured again. Datasets are found in the folder that SAMADAPT_DATA names.
    """
    folder = results or Path("runs/tables" if objects is None else f"runs/tables-{objects}")
    target = docs or (ROOT if objects is None else None)
    try:
        tables = _chosen(read_plan(folder, objects), only)
        parts = dict.fromkeys(m for table in tables for m in table.measurements)
        failed = [] if render else measure(list(parts), again)
        written = write_tables(tables, folder, target)
    except DataError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote {len(written)} of {len(tables)} tables to {folder}")
    if target is not None and written:
        typer.echo(
            f"and into {', '.join(sorted({t.document for t in tables if t.name in written}))}"
        )
    raise typer.Exit(1 if failed else 0)


def _chosen(
    tables: Sequence[DocumentTable], only: Sequence[str] | None
) -> tuple[DocumentTable, ...]:
    known = {table.name for table in tables}
    for name in only or ():
        if name not in known:
            raise DataError(f"--only {name}: use one of {', '.join(sorted(known))}")
    return tuple(table for table in tables if not only or table.name in only)


if __name__ == "__main__":
    typer.run(main)
