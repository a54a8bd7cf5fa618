"""One command per table of the papers' claims: `python -m research.sam_shaped.claims --table NAME`.

Adapters are fitted first, then everything is measured with `samadapt`; what is there already is
neither fitted nor measured again. The table is printed, written beside the results, and with
--page put into its place in a document, <!-- table: TABLE-BASE --> to <!-- end of table -->.

    export SAMADAPT_DATA=DATA
    python -m research.sam_shaped.claims --table brittle --results RESULTS
    python -m research.sam_shaped.claims --table stable --results RESULTS --model nano
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from research.sam_shaped.claim_tables import RENDERERS
from research.sam_shaped.plan import TABLES, Amounts, plan
from research.tables import Runner, is_finished, measure, replaced
from samadapt.benchmark.tables import markdown_table
from samadapt.data.files import replacing

WEIGHTS = Path(__file__).with_name("weights")
"""The trained base."""


def run_samadapt(arguments: Sequence[str]) -> int:
    """Run `samadapt`, which knows the family, in a process of its own."""
    command = [sys.executable, "-m", "research.sam_shaped", *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603


def make_table(
    table: str, model: str, results: Path, amounts: Amounts, run: Runner = run_samadapt
) -> str | None:
    """Fit, measure and render a table; None if a fit or all measurements failed.

    Args:
        table: of `TABLES`.
        model: name or folder of the base.
        results: folder of this base's results.
        amounts: how much is measured.
        run: runs `samadapt` with arguments and returns its exit code.
    """
    results.mkdir(parents=True, exist_ok=True)
    todo = plan(table, model, results, amounts)
    for arguments in todo.fits:
        if run(arguments):
            return None
    measure(todo.measurements, False, run)
    finished = [m for m in todo.measurements if is_finished(m)]
    if not finished:
        return None
    found = {m.name: json.loads(m.result.read_bytes()) for m in finished}
    text = markdown_table(RENDERERS[table](found))
    _write(results / f"{table}.md", text)
    return text


def place_table(page: Path, name: str, text: str, command: Sequence[str]) -> None:
    """Put a table into its place in a document, with the command that makes it.

    Raises:
        DataError: the document has not exactly one place for it.
    """
    said = f"`python -m research.sam_shaped.claims {shlex.join(command)}`"
    _write(page, replaced(page.read_text(), name, f"{text}\n{said}\n", page))


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def main() -> None:
    """Make one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", choices=sorted(TABLES), required=True)
    parser.add_argument("--results", type=Path, required=True, help="a folder below it per base")
    parser.add_argument("--model", default=str(WEIGHTS), help="the base; its weights if left out")
    defaults = Amounts()
    for name in ("objects", "seeds", "draws", "training", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    for name in ("fit", "shots"):
        parser.add_argument(f"--{name}", default=getattr(defaults, name))
    for name in ("datasets", "methods"):
        parser.add_argument(f"--{name}", type=lambda text: tuple(text.split(",")), default=())
    parser.add_argument("--page", type=Path, help="the document that shows the table")
    values = vars(parser.parse_args())
    table, model, results = (values.pop(name) for name in ("table", "model", "results"))
    page = values.pop("page")
    base = "sam-shaped" if Path(model).is_dir() else Path(model).name
    text = make_table(table, model, results / base, Amounts(**values))
    if text is None:
        sys.exit(f"{table}: nothing was measured, see the messages above")
    if page is not None:
        left = {"--page", str(page), "--results", str(results)}
        given = [part for part in sys.argv[1:] if part not in left]
        place_table(page, f"{table}-{base}", text, [*given, "--results", "RESULTS"])
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
