"""`models`, `doctor` and `demo`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from outcome import one_error

from samadapt.benchmark import demo
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.cli import checks, common
from samadapt.cli.checks import Check, all_checks
from samadapt.errors import CheckpointError
from samadapt.models import registry
from samadapt.models.interface import DecoderSpec
from tiny_dataset import TinyDataset, oracle

WEIGHTS_SHA256 = hashlib.sha256(b"weights").hexdigest()


class TestModels:
    def test_table_names_every_model(self, run):
        result = run("models")
        assert result.exit_code == 0
        for info in registry.known_models():
            assert info.name in result.stdout
        assert "hf download" in result.stdout

    def test_json(self, run):
        rows = json.loads(run("models", "--json").stdout)
        assert rows[0]["name"] == "nano"
        assert rows[0]["get"] == "ships with samadapt"
        row = next(row for row in rows if row["name"] == "facebook/sam-vit-base")
        assert row["get"] == "hf download facebook/sam-vit-base"
        assert row["family"] == "SAM"
        assert isinstance(row["offline"], bool)


class TestDoctor:
    @pytest.fixture
    def nano(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine where the shipped model works."""
        monkeypatch.setattr(registry, "load", lambda *_: oracle())
        monkeypatch.setattr(checks, "check_weights", lambda: ("ok", "there"))

    @pytest.mark.usefixtures("nano")
    def test_a_fit_machine(self, run):
        result = run("doctor", "--json")
        values = json.loads(result.stdout)
        assert values["fit"] is True, values
        assert result.exit_code == 0
        found = {check["name"]: check for check in values["checks"]}
        for name in ("python", "packages", "torch", "processor", "number format", "memory", "disk"):
            assert found[name]["status"] in ("ok", "note")
            assert found[name]["detail"]
        assert "encode" in found["nano at work"]["detail"]
        assert "click" in found["nano at work"]["detail"]

    def test_an_unfit_machine(self, run, monkeypatch: pytest.MonkeyPatch):
        def broken(*_: object) -> None:
            raise CheckpointError("the weights are damaged")

        monkeypatch.setattr(registry, "load", broken)
        result = run("doctor")
        assert result.exit_code == 1
        assert "problem" in result.stdout
        assert "the weights are damaged" in result.stdout
        assert "not fit" in result.stdout

    @pytest.mark.usefixtures("nano")
    def test_a_check_that_fails_is_a_problem_not_an_end(self, monkeypatch: pytest.MonkeyPatch):
        def explode() -> None:
            raise RuntimeError("boom\nbang")

        monkeypatch.setattr(checks, "check_disk", explode)
        (found,) = (check for check in all_checks() if check.name == "disk")
        assert found == Check("disk", "problem", "RuntimeError: boom bang")

    def test_missing_packages(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(checks, "_NEEDED", ("torch", "no-such-package"))
        status, detail = checks.check_packages()
        assert status == "problem"
        assert "missing: no-such-package" in detail

    @pytest.fixture
    def weights(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """A weights file with its card, run from a source tree."""
        file = tmp_path / "w"
        file.write_bytes(b"weights")
        (tmp_path / "card.json").write_text(json.dumps({"sha256": WEIGHTS_SHA256}))
        monkeypatch.setattr(checks, "_weights_file", lambda: file)
        monkeypatch.setattr(checks, "_recorded_hash", lambda _: None)
        return file

    def test_weights_are_compared_with_what_was_installed(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ):
        # sha256 of b"weights", as pip's RECORD writes it
        right = "mhKQONmgCu0M9qfqBZylCoE0SQYauHhIzxoT6v3zOyw"
        for recorded, status in ((right, "ok"), ("AAAA", "problem"), (None, "ok")):
            monkeypatch.setattr(checks, "_recorded_hash", lambda _, r=recorded: r)
            assert checks.check_weights()[0] == status
        weights.unlink()
        assert checks.check_weights()[0] == "problem"

    def test_weights_are_compared_with_their_card(self, weights: Path):
        assert checks.check_weights()[0] == "ok"
        weights.write_bytes(b"others")
        status, detail = checks.check_weights()
        assert status == "problem"
        assert "not the file of its model card" in detail
        assert "research.nano.card" in detail

    @pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}"])
    def test_a_card_that_is_missing_or_damaged_is_noted(self, weights: Path, content: bytes | None):
        card = weights.with_name("card.json")
        card.unlink()
        if content is not None:
            card.write_bytes(content)
        status, detail = checks.check_weights()
        assert status == "note"
        assert "card.json" in detail

    def test_the_shipped_weights_are_those_of_the_shipped_card(self):
        status, detail = checks.check_weights()
        assert (status, detail.endswith("matches its model card")) == ("ok", True), detail


@dataclass(frozen=True)
class Loaded:
    """A model as it was asked for."""

    name: str
    device: str
    dtype: str
    spec: ClassVar[DecoderSpec] = DecoderSpec(width=8)


class TestDemo:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch, tiny: TinyDataset) -> list[tuple[object, ...]]:
        calls: list[tuple[object, ...]] = []

        def run_demo(*arguments: object) -> list[InteractiveResult]:
            calls.append(arguments)
            return [run_interactive(tiny.open(), oracle())]

        monkeypatch.setattr(demo, "run_demo", run_demo)
        monkeypatch.setattr(common, "load_model", Loaded)
        return calls

    def test_options(self, run, calls):
        result = run("demo", "--out", "there", "--seed", "3", "--max-objects", "5", "-m", "x")
        assert result.exit_code == 0, result.output
        ((out, model, seed, max_objects, adapter, _),) = calls
        assert (out, model) == (Path("there"), Loaded("x", "auto", "auto"))
        assert (seed, max_objects, adapter) == (3, 5, "online")
        assert "9 objects in 3 images" in result.stdout
        assert "NoC20@85" in result.stdout
        assert str(Path("there/report.html")) in result.stdout

    def test_without_learning(self, run, calls):
        assert run("demo", "--adapter", "none").exit_code == 0
        assert calls[0][-2] is None

    def test_bad_options(self, run, calls):
        assert "at least one object" in one_error(run("demo", "--max-objects", "0"))
        Path("file").touch()
        assert "is a file" in one_error(run("demo", "--out", "file"))
        assert calls == []


class TestExportModel:
    def test_a_folder_that_exists(self, run, tmp_path):
        line = one_error(run("export-model", str(tmp_path)))
        assert line.endswith(f"{tmp_path} exists: give a folder that does not, or remove it first")

    def test_without_the_extra(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("samadapt.exporting.export._NEEDED", ("no_such_package",))
        line = one_error(run("export-model", str(tmp_path / "out")))
        assert line.endswith("needs no_such_package: pip install 'samadapt[onnx]'")
        assert not (tmp_path / "out").exists()
