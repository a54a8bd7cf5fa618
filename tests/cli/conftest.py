from __future__ import annotations

from pathlib import Path

import pytest
from outcome import Run, foreign_options
from typer.testing import CliRunner, Result

from fakes import FakeModel
from samadapt.cli import app, choice, common
from tiny_dataset import TinyDataset, make_dataset, oracle


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    return make_dataset(tmp_path / "tiny")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The model that every command gets, whatever its name: knows the tiny pictures' objects."""
    model = oracle()
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: model)
    monkeypatch.setattr(choice, "_here", lambda spec, why: spec)
    return model


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `samadapt` with these arguments in an empty folder.

    Every test checks that an error names only options that the command has.
    """
    monkeypatch.delenv("SAMADAPT_DEBUG", raising=False)
    monkeypatch.delenv("SAMADAPT_DATA", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def invoke(*arguments: object) -> Result:
        given = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, given)
        if result.exit_code == 2:
            assert foreign_options(given, result.stderr) == set()
        return result

    return invoke
