"""No command replaces what somebody could miss, whatever its output options name."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from outcome import one_error
from PIL import Image

from fakes import FakeModel
from samadapt.cli import app
from samadapt.store.projects import PROJECT_FILE, Project
from tiny_dataset import TinyDataset

Run = Callable[..., Any]
OUTPUTS = ("--out", "--overlay", "--json", "--html", "--report")
"""Options that name something to write; `--json` without a value prints."""

COMMANDS: dict[tuple[str, str], str] = {
    ("predict", "--out"): "predict I/1.png --point 14,12 --out {}.png",
    ("predict", "--overlay"): "predict I/1.png --point 14,12 --out new.png --overlay {}.png",
    ("export", "--out"): "export P --out {}",
    ("fit", "--json"): "fit task-prompt --images I --masks M --out new --steps 1 --json {}",
    ("fit", "--out"): "fit task-prompt --images I --masks M --steps 1 --out {}",
    ("benchmark interactive", "--json"): "benchmark interactive --images I --masks M --json {}",
    ("benchmark interactive", "--html"): "benchmark interactive --images I --masks M --html {}",
    ("benchmark robustness", "--json"): "benchmark robustness --images I --masks M --json {}",
    ("benchmark robustness", "--html"): "benchmark robustness --images I --masks M --html {}",
    ("benchmark task", "--json"): "benchmark task --images I --train M --test M --json {}",
    ("benchmark task", "--html"): "benchmark task --images I --train M --test M --html {}",
    (
        "benchmark baselines",
        "--json",
    ): ("benchmark baselines --images I --masks M --model none --json {}"),
    ("benchmark adaptation", "--json"): "benchmark adaptation --dataset set --json {}",
    ("benchmark adaptation", "--report"): "benchmark adaptation --dataset set --report {}",
    ("demo", "--out"): "demo --max-objects 1 --no-open --out {}",
    ("serve", "--out"): "serve --label-studio --images I --out {}",
}
FOLDERS = {("fit", "--out"), ("benchmark adaptation", "--report"), ("demo", "--out")}
FOLDERS |= {("serve", "--out")}


def options(command: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every (command, output option) that the command line has."""
    for key, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{name} {key}".strip())
    for parameter in getattr(command, "params", ()):
        if not getattr(parameter, "is_flag", True):
            yield from ((name, option) for option in parameter.opts if option in OUTPUTS)


@pytest.fixture
def type_(
    run: Run,
    tiny: TinyDataset,
    model: FakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Run one of `COMMANDS` with something in the place of its output."""
    with Project.open(tiny.images / PROJECT_FILE) as project:
        project.images.scan(tiny.images)
    data = tmp_path / "data" / "set"
    data.mkdir(parents=True)
    (data / "images").symlink_to(tiny.images)
    (data / "test.json").symlink_to(tiny.masks)
    monkeypatch.setenv("SAMADAPT_DATA", str(data.parent))
    places = {"I": tiny.images, "M": tiny.masks, "P": tiny.images, "I/1.png": tiny.images / "1.png"}

    def typed(text: str, output: str | Path) -> Any:
        suffix = ".png" if "{}.png" in text else ""
        words = [word.replace("{}" + suffix, "\0") for word in text.split()]
        return run(*(str(output) if w == "\0" else places.get(w, w) for w in words))

    return typed


def test_every_output_option_is_tried_below() -> None:
    assert set(options(typer.main.get_command(app))) == set(COMMANDS)


@pytest.mark.parametrize("key", COMMANDS, ids=" ".join)
def test_nothing_that_could_be_missed_is_replaced(
    type_: Callable[..., Any], key: tuple[str, str], tiny: TinyDataset, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "to-project").symlink_to(tiny.images / PROJECT_FILE)
    (tmp_path / "mine.png").symlink_to(tiny.images / "2.png")
    kept = [tiny.images / PROJECT_FILE, tiny.images / "2.png", tiny.masks]
    before = [path.read_bytes() for path in kept]
    there = sorted(tiny.images.iterdir())
    hazards = [*kept[1:2], tmp_path / "mine.png", tmp_path / "pipe.png", Path("/dev/null")]
    hazards += [kept[0], tmp_path / "to-project", tiny.images / f"{PROJECT_FILE}-wal", tiny.images]
    if "M" in COMMANDS[key] or "set" in COMMANDS[key]:
        hazards.append(tiny.masks)
    for hazard in hazards:
        if key == ("serve", "--out") and hazard == tiny.images / f"{PROJECT_FILE}-wal":
            continue  # the name of a new folder
        if key in FOLDERS and not hazard.exists():
            continue
        assert "--" in one_error(type_(COMMANDS[key], hazard)), hazard
    assert [path.read_bytes() for path in kept] == before
    assert stat.S_ISFIFO((tmp_path / "pipe.png").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert sorted(tiny.images.iterdir()) == there


def test_an_input_folder_is_not_written_into(run: Run, model: FakeModel, tiny: TinyDataset) -> None:
    masks = tiny.images.parent / "masks"
    masks.mkdir()
    (masks / "1.json").write_text("{}")
    words = ("benchmark", "interactive", "--images", tiny.images, "--masks", masks, "--json")
    assert "would overwrite an input" in one_error(run(*words, masks / "1.json"))
    assert (masks / "1.json").read_text() == "{}"


def test_samadapts_own_pictures_may_be_written_again(
    run: Run, model: FakeModel, tiny: TinyDataset
) -> None:
    words = ("predict", tiny.images / "1.png", "--point", "14,12", "--out", "m.png", "--overlay")
    for overlay in ("o.png", "o.jpg", "o.webp"):
        for _ in range(2):
            result = run(*words, overlay)
            assert result.exit_code == 0, result.stderr
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("m.png")
    assert "did not write" in one_error(run(*words, "o.png"))


def test_a_link_to_an_earlier_result_is_followed(run: Run, tiny: TinyDataset) -> None:
    with Project.open(tiny.images / PROJECT_FILE) as project:
        project.images.scan(tiny.images)
    Path("old.json").write_text("{}")
    Path("link.json").symlink_to("old.json")
    assert run("export", tiny.images, "--out", "link.json").exit_code == 0
    assert Path("link.json").is_symlink()
    assert '"images"' in Path("old.json").read_text()
