"""`python -m research.tables`: the plan, what is measured again, and what lands in documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from command_lines import parse
from research import tables
from research.plan import Measurement, read_plan
from research.tables import ROOT, duration, is_finished, main, measure, replaced, write_tables
from samadapt.cli import app as samadapt_app
from samadapt.cli import common
from samadapt.errors import DataError
from tiny_dataset import make_dataset, oracle

PLAN = """
runs:
  clicks:
    command: benchmark interactive --dataset {name} --max-objects {objects} --max-clicks 3
    each: {one: 4, two: 2}
    seconds: 1.5
    fixed: 10
    quick: {arguments: --max-clicks 1, fixed: 2}
  others:
    command: >-
      benchmark baselines {arguments} --max-objects {objects} --baselines grabcut --max-clicks 1
    each: {one: --dataset one}
    objects: 1
    seconds: 1
tables:
  clicks: {document: page.md, run: clicks, kind: clicks}
  others: {document: page.md, run: others, kind: baselines}
"""
PAGE = """Before.
<!-- table: clicks -->
old
<!-- end of table -->
Between.
<!-- table: others -->
<!-- end of table -->
After.
"""


class Samadapt:
    """Runs commands in this process on a model that knows the tiny objects."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.fails: set[str] = set()

    def __call__(self, arguments: Sequence[str]) -> int:
        self.commands.append(tuple(arguments))
        if self.fails & set(arguments):
            return 2
        return CliRunner().invoke(samadapt_app, list(arguments)).exit_code


@pytest.fixture
def samadapt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Samadapt:
    for name in ("one", "two"):
        make_dataset(tmp_path / "data" / name)
    monkeypatch.setenv("SAMADAPT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(common, "load_model", lambda *_: oracle())
    monkeypatch.chdir(tmp_path)
    return Samadapt()


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    path = tmp_path / "tables.yaml"
    path.write_text(PLAN)
    return path


def measurements(planned: Path, objects: int | None = None) -> list[Measurement]:
    found = read_plan(Path("results"), objects, planned)
    return [measurement for table in found for measurement in table.measurements]


class TestPlan:
    def test_commands_and_times_by_hand(self, planned: Path):
        one, two, other = measurements(planned)
        assert one.arguments == (
            "benchmark", "interactive", "--dataset", "one", "--max-objects", "4",
            "--max-clicks", "3", "--json", "results/clicks_one.json",
        )  # fmt: skip
        assert (one.seconds, two.seconds, other.seconds) == (16, 13, 5)
        assert other.arguments[2:4] == ("--dataset", "one")

    def test_few_objects(self, planned: Path):
        found = [m.arguments for m in measurements(planned, 3)]
        counts = [arguments[arguments.index("--max-objects") + 1] for arguments in found]
        assert counts == ["3", "2", "1"], "never more than planned"
        assert [arguments[-4:-2] for arguments in found[:2]] == [("--max-clicks", "1")] * 2
        assert [m.seconds for m in measurements(planned, 3)] == [2 + 4.5, 2 + 3, 4 + 1]

    def test_an_unknown_run(self, planned: Path):
        planned.write_text(PLAN.replace("run: others", "run: other"))
        with pytest.raises(DataError, match="table others names an unknown run"):
            measurements(planned)

    def test_every_command_of_the_real_plan_is_one_that_samadapt_takes(self):
        for table in read_plan(Path("results")):
            for measurement in table.measurements:
                parse(measurement.arguments)

    def test_every_table_of_the_real_plan_has_its_place(self):
        for table in read_plan(Path("results")):
            path = ROOT / table.document
            assert "| new |" in replaced(path.read_text(), table.name, "| new |\n", path)


class TestMeasure:
    def test_it_tells_the_time_and_goes_on_where_it_stopped(
        self, samadapt: Samadapt, planned: Path
    ):
        said: list[str] = []
        samadapt.fails = {"two"}
        failed = measure(measurements(planned), False, samadapt, said.append)
        assert [(m.run, m.name) for m in failed] == [("clicks", "two")]
        assert said[0] == "0 of 3 measurements are there; the other 3 take about 34 s"
        assert said.count("failed: clicks two") == 1
        assert len(samadapt.commands) == 3, "one failure does not take the others with it"
        samadapt.fails, samadapt.commands = set(), []
        assert measure(measurements(planned), False, samadapt, said.append) == []
        assert [command[3] for command in samadapt.commands] == ["two"]
        measure(measurements(planned), True, samadapt, said.append)
        assert len(samadapt.commands) == 4

    def test_a_result_of_another_command_or_a_damaged_one_does_not_count(
        self, samadapt: Samadapt, planned: Path
    ):
        measure(measurements(planned), False, samadapt, lambda _: None)
        assert all(is_finished(m) for m in measurements(planned))
        assert not is_finished(measurements(planned, 1)[0])
        first = measurements(planned)[0]
        first.result.write_text(first.result.read_text()[:-9])
        assert not is_finished(first)

    def test_again_forgets_the_parts_that_were_kept(self, tmp_path: Path, planned: Path):
        first = measurements(planned)[0]
        kept = tmp_path / "kept.json.runs"
        kept.mkdir()
        moved = Measurement("a", "", first.arguments, tmp_path / "kept.json", 1)
        measure([moved], True, lambda _: 1, lambda _: None)
        assert not kept.exists()


class TestWrite:
    def test_tables_between_their_markers_and_in_files(
        self, samadapt: Samadapt, planned: Path, tmp_path: Path
    ):
        (tmp_path / "page.md").write_text(PAGE)
        samadapt.fails = {"grabcut"}
        measure(measurements(planned), False, samadapt, lambda _: None)
        found = read_plan(Path("results"), path=planned)
        assert write_tables(found, Path("results"), tmp_path) == ["clicks"]
        page = (tmp_path / "page.md").read_text()
        assert page.startswith("Before.\n<!-- table: clicks -->\n\n|  | objects | IoU@1 |")
        assert page.endswith(PAGE[PAGE.index("<!-- end of table -->\nBetween.") :])
        value = json.loads(Path("results/clicks_one.json").read_text())["summary"]["iou@1"]
        assert f"| one | 4 | {value:.3f} (1.000 to 1.000) |" in page
        assert "| two | 2 |" in page
        assert "weights `" in page
        assert (
            "`samadapt benchmark interactive --dataset one --max-objects 4 --max-clicks 3`, "
            in page
        )
        assert Path("results/clicks.md").read_text() in page
        again = (tmp_path / "page.md").read_text()
        write_tables(found, Path("results"), tmp_path)
        assert (tmp_path / "page.md").read_text() == again

    def test_a_document_without_the_place(self):
        with pytest.raises(DataError, match=r"page\.md has 0 places for the table clicks"):
            replaced("text", "clicks", "new", Path("page.md"))
        with pytest.raises(DataError, match="2 places"):
            replaced(PAGE * 2, "clicks", "new", Path("page.md"))

    def test_backslashes_in_a_table_stay(self):
        assert "a\\|1\\g" in replaced(PAGE, "clicks", "a\\|1\\g\n", Path("page.md"))


class TestCommand:
    def invoke(self, *arguments: str):
        app = typer.Typer()
        app.command()(main)
        return CliRunner().invoke(app, arguments)

    def test_few_objects_leave_the_documents_alone(
        self, samadapt: Samadapt, planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(tables, "read_plan", lambda *given: read_plan(*given, planned))
        monkeypatch.setattr(tables.measure, "__defaults__", (samadapt, typer.echo))
        monkeypatch.setattr(tables, "ROOT", tmp_path)
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "page.md").write_text(PAGE)
        result = self.invoke("--objects", "1")
        assert result.exit_code == 0, result.output
        assert "wrote 2 of 2 tables to runs/tables-1" in result.output
        assert (tmp_path / "docs" / "page.md").read_text() == PAGE
        result = self.invoke("--objects", "1", "--render", "--docs", "docs", "--only", "clicks")
        assert result.exit_code == 0, result.output
        assert "and into page.md" in result.output
        assert "old" not in (tmp_path / "docs" / "page.md").read_text()

    def test_bad_input(self):
        result = self.invoke("--only", "clocks")
        assert result.exit_code == 2
        assert "error: --only clocks: use one of demo, faces, " in result.output


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (600, "10 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text
