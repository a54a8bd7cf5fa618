"""`--model` left out: the project's model, the adapter's, or the best on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeModel
from samadapt.cli import choice
from samadapt.cli.choice import RECORD, record
from samadapt.errors import DataError
from samadapt.models.choice import Choice
from samadapt.models.places import MODELS_VARIABLE


def choose(*arguments: Any, **options: Any) -> str:
    """The model, and what is said, as commands do it."""
    chosen = choice.choose(*arguments, **options)
    chosen.tell()
    return chosen.spec


@pytest.fixture(autouse=True)
def best(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """The folders that a choice was made for; the best is always edgetam."""
    asked: list[Path | None] = []

    def choose_best(device: str, dtype: str, folder: Path | None) -> Choice:
        asked.append(folder)
        return Choice("edgetam", "the best of 2 models here")

    monkeypatch.setattr("samadapt.models.choice.choose_model", choose_best)
    return asked


def adapter(folder: Path, base: str) -> Path:
    folder.mkdir(parents=True)
    config = {"base_model": {"name": base, "weights_hash": "0" * 64}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_what_is_named_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, "facebook/sam-vit-base")
    assert choose("nano", "cpu", "auto", kept=tmp_path, has_objects=True) == "nano"
    assert capsys.readouterr().err == ""


def test_a_new_project_takes_the_best(
    tmp_path: Path, best: list[Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose(None, "cpu", "auto", folder=tmp_path, kept=tmp_path / "kept") == "edgetam"
    assert best == [tmp_path]
    said = capsys.readouterr()
    assert said.err == "model: edgetam (the best of 2 models here)\n"
    assert said.out == ""


def test_a_project_keeps_its_model(
    tmp_path: Path, best: list[Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The record first, then what was learned last, then what every older project began with."""
    kept = tmp_path / "samadapt.adapters"
    assert choose(None, "cpu", "auto", kept=kept, has_objects=True) == "nano"
    adapter(kept / "current" / "online-0123", "facebook/sam-vit-base")
    assert choose(None, "cpu", "auto", kept=kept, has_objects=True) == "facebook/sam-vit-base"
    record(kept, "facebook/sam2.1-hiera-tiny")
    assert choose(None, "cpu", "auto", kept=kept) == "facebook/sam2.1-hiera-tiny"
    assert "annotated with it; --model NAME takes another" in capsys.readouterr().err
    assert not best


def test_a_record_of_a_file_holds_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pth").write_bytes(b"")
    record(tmp_path / "kept", "mine.pth")
    assert choose(None, "cpu", "auto", kept=tmp_path / "kept") == str(tmp_path / "mine.pth")
    (tmp_path / "mine.pth").unlink()
    with pytest.raises(DataError, match=r"mine.pth is not on this machine .*--model nano"):
        choose(None, "cpu", "auto", kept=tmp_path / "kept")
    (tmp_path / "kept" / RECORD).write_text("[1]")
    assert choose(None, "cpu", "auto", kept=tmp_path / "kept") == "edgetam"


def test_an_adapter_names_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    wheel = adapter(tmp_path / "wheel", "facebook/sam-vit-base")
    assert choose(None, "cpu", "auto", adapters=["online", str(wheel)]) == "facebook/sam-vit-base"
    assert choose(None, "cpu", "auto", adapters=["stable-nano"]) == "nano"
    assert choose(None, "cpu", "auto", adapters=["online"]) == "edgetam"
    mine = adapter(tmp_path / "mine", "sam_mine")
    with pytest.raises(DataError, match="sam_mine is not on this machine"):
        choose(None, "cpu", "auto", adapters=[str(mine)])
    (tmp_path / "sam_mine.pth").write_bytes(b"")
    found = choose(None, "cpu", "auto", adapters=[str(mine)])
    assert found == str(tmp_path / "sam_mine.pth")


def test_predict_says_which(
    run, model: FakeModel, image_file: Path, best: list[Path | None]
) -> None:
    plain = run("predict", image_file, "--point", "10,10", "--out", "mask.png")
    assert plain.exit_code == 0, plain.output
    assert "model: edgetam (the best of 2 models here)" in plain.stderr
    named = run("predict", image_file, "--point", "10,10", "--out", "mask.png", "--model", "nano")
    assert "model:" not in named.stderr
    assert len(best) == 1


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "image.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(path)
    return path


def test_benchmarks_and_fit_have_a_default() -> None:
    """Their results must not depend on what lies on the machine."""
    from typer.main import get_command

    from samadapt.cli import app

    def defaults(command: object, name: str) -> dict[str, object]:
        found = {}
        for child, sub in getattr(command, "commands", {}).items():
            found |= defaults(sub, f"{name} {child}".strip())
        for option in getattr(command, "params", ()):
            if option.name == "model":
                found[name] = option.default
        return found

    by_command = defaults(get_command(app), "")
    chosen = {name for name, default in by_command.items() if default is None}
    assert chosen == {"annotate", "predict", "embed"}
    assert len(by_command) >= 8
