"""`samadapt annotate --import`: what it tells, and what it does on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import FakeModel
from file_scenes import coco, put_images
from samadapt.cli import app, common
from samadapt.server import run as server
from samadapt.store.projects import Project, project_file


def brought(tmp_path: Path, content: object, *options: str) -> list[str]:
    """Lines at the terminal after annotating a folder with an import."""
    images = put_images(tmp_path / "img", "a.png")
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    arguments = ["annotate", str(images), "--no-browser", "--adapter", "none"]
    result = CliRunner().invoke(app, [*arguments, "--import", str(path), *options])
    assert result.exit_code == 0, result.output
    return result.stderr.splitlines()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: FakeModel())
    monkeypatch.setattr(server, "serve", lambda *arguments: None)


def test_everything_is_told_but_not_without_end(tmp_path: Path) -> None:
    bad = [{"segmentation": [[1, 2, 3]]}] * 12
    lines = brought(tmp_path, coco({}, *bad))
    assert lines[0] == "imported 1 objects (0 were there already), 12 left out"
    assert lines[1].startswith("left out: c.json: a.png, object 2: ")
    assert lines[11] == "left out: 2 more lines (2 objects)"
    assert brought(tmp_path, coco({}))[0] == "imported 0 objects (1 were there already)"


def test_crowds_are_taken_when_asked_for(tmp_path: Path) -> None:
    lines = brought(tmp_path, coco({"iscrowd": 1}))
    assert lines[0] == "imported 0 objects (0 were there already), 1 left out"
    assert "--crowds" in lines[1]
    assert brought(tmp_path, coco({"iscrowd": 1}), "--crowds")[0].startswith("imported 1 objects")
    with Project.open(project_file(tmp_path / "img")) as project:
        assert len(project.objects.all()) == 1
