"""The commands and the tables of the papers' claims, without running a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from command_lines import parse
from research.sam_shaped.claim_tables import robustness
from research.sam_shaped.claims import make_table, place_table
from research.sam_shaped.plan import KINDS, TABLES, Amounts, plan
from samadapt.benchmark.tables import markdown_table
from samadapt.errors import DataError


def robust_result(values: dict[str, float], objects: int = 4) -> dict[str, Any]:
    """A result with one mIoU (and mSF) per row."""
    rows = [
        {"name": name, "summary": {f"{m}@{k}": v for m in ("miou", "msf") for k in KINDS}}
        for name, v in values.items()
    ]
    return {"rows": rows, "summary": {"objects": objects}}


def test_means_go_over_sets_and_seeds() -> None:
    found = {
        "davis": robust_result(
            {"frozen": 0.5, "/r/adapters/lora-0": 0.6, "/r/adapters/lora-1": 0.7}
        ),
        "voc": robust_result({"frozen": 0.7, "/r/adapters/lora-0": 0.8, "/r/adapters/lora-1": 0.9}),
        "nuclei": robust_result({"frozen": 0.1}, 9),
    }
    text = markdown_table(robustness(found))
    lines = [[part.strip() for part in line.split("|")[1:3]] for line in text.splitlines()[2:]]
    assert [label for label, _ in lines] == [
        "**photographs: 2 sets, 8 objects**",
        "frozen",
        "lora",
        "**novel domains: 9 objects**",
        "frozen",
    ]
    assert [value for _, value in lines] == ["", "60.0", "75.0", "", "10.0"]


class Recorder:
    """Stands for `samadapt`: notes the arguments and writes a result that says how it came."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[list[str]] = []
        self.failing = failing

    def __call__(self, arguments: Sequence[str]) -> int:
        self.calls.append(list(arguments))
        if self.failing and self.failing in arguments:
            return 1
        if "--json" in arguments:
            path = Path(arguments[arguments.index("--json") + 1])
            content = robust_result({"frozen": 0.5})
            path.write_text(json.dumps({**content, "environment": {"command": ["x", *arguments]}}))
        return 0


def test_adapters_are_fitted_then_measured_and_results_are_kept(tmp_path: Path) -> None:
    amounts = Amounts(objects=3, seeds=2, training=7, datasets=("davis", "voc"), methods=("lora",))
    run = Recorder()
    text = make_table("stable", "base", tmp_path, amounts, run)
    assert text is not None
    assert "photographs: 2 sets, 8 objects" in text
    assert (tmp_path / "stable.md").read_text() == text
    fits = [call for call in run.calls if call[0] == "fit"]
    assert [call[call.index("--seed") + 1] for call in fits] == ["0", "1"]
    assert all(call[call.index("--max-objects") + 1] == "7" for call in fits)
    measured = [call for call in run.calls if call[0] == "benchmark"]
    assert len(measured) == 2
    assert measured[0].count("--adapter") == 2
    again = Recorder()
    make_table("stable", "base", tmp_path, amounts, again)
    assert [call[0] for call in again.calls] == ["fit", "fit"]  # which find their adapters


def test_unseen_kinds_of_images_have_adapters_of_their_own(tmp_path: Path) -> None:
    amounts = Amounts(objects=3, seeds=1, methods=("stable",))
    make_table("stable", "base", tmp_path, amounts, Recorder())
    run = Recorder()
    text = make_table("unseen", "base", tmp_path, amounts, run)
    assert text is not None
    assert [name in text for name in ("fetal: 4", "polyps: 4", "cardiac: 4")] == [True] * 3
    fit, *measured = run.calls
    assert fit[fit.index("--dataset") + 1] == "fetal,polyps,cardiac"
    adapter = fit[fit.index("--out") + 1]
    assert [call[call.index("--adapter") + 1] for call in measured] == [adapter] * 3
    assert adapter != str(tmp_path / "adapters" / "stable-0")


def test_a_failure_is_no_table(tmp_path: Path) -> None:
    amounts = Amounts(seeds=1, methods=("lora",), datasets=("davis",))
    assert make_table("stable", "base", tmp_path, amounts, Recorder("fit")) is None
    assert make_table("brittle", "base", tmp_path, amounts, Recorder("davis")) is None


def test_a_table_goes_into_its_place_with_its_command(tmp_path: Path) -> None:
    page = tmp_path / "papers.md"
    page.write_text("A\n<!-- table: stable-base -->\nold\n<!-- end of table -->\nB\n")
    place_table(page, "stable-base", "| new |\n", ["--table", "stable", "--fit", "--steps 60"])
    text = page.read_text()
    assert text.startswith("A\n<!-- table: stable-base -->\n\n| new |\n")
    assert "`python -m research.sam_shaped.claims --table stable --fit '--steps 60'`" in text
    assert text.endswith("<!-- end of table -->\nB\n")
    with pytest.raises(DataError, match="0 places"):
        place_table(page, "online-base", "", [])


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_command_is_one_that_the_command_line_knows(table: str, tmp_path: Path) -> None:
    todo = plan(table, "base", tmp_path, Amounts(training=5, steps=2))
    for arguments in [*todo.fits, *(m.arguments for m in todo.measurements)]:
        parse(list(arguments))
