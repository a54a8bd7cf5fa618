"""`samadapt annotate` with the project of another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcome import one_error

from fakes import FakeModel
from file_scenes import put_images
from samadapt.cli import common
from samadapt.data.rle import Rle
from samadapt.server import run as server
from samadapt.server.routes_project import project as told_to_the_page
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project

FILE = Path("other.sqlite")


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the page is told, as soon as it is served; and a project of three annotated images."""
    found: list[str] = []

    def served(app: Any, *_: object) -> None:
        found.extend(told_to_the_page(app.state.workspace)["notes"])
        app.state.workspace.close()

    monkeypatch.setattr(common, "load_model", lambda name, device, dtype: FakeModel())
    monkeypatch.setattr(server, "serve", served)
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    images = put_images(tmp_path / "right", "1.png", "2.png", "sub/3.png", "never annotated.png")
    with Project.open(FILE) as project:
        project.images.scan(images)
        for image in list(project.images.all().values()):
            if not image.name.startswith("never"):
                project.objects.add(NewMask(image.id, Rle.from_mask(np.eye(40, 56) > 0)), "")
    return found


def names() -> set[str]:
    with Project.open(FILE) as project:
        return {image.name for image in project.images.all().values()}


def annotate(run: Any, folder: str, *more: str | Path) -> Any:
    return run("annotate", folder, "--no-browser", "--adapter", "none", *more)


def test_the_project_of_another_folder_is_refused(
    run: Any, tmp_path: Path, notes: list[str]
) -> None:
    put_images(tmp_path / "wrong", "a.png", "never annotated.png")
    before = names()
    line = one_error(annotate(run, "wrong", "--project", FILE))
    assert "3 of 3 annotated images of this project are not in wrong: " in line
    assert "give the folder of its images, or another --project" in line
    assert names() == before
    assert not list(tmp_path.glob("*.adapters"))
    # The folder was moved: names in it are the same.
    (tmp_path / "right").rename(tmp_path / "moved")
    result = annotate(run, "moved", "--project", FILE)
    assert (result.exit_code, notes) == (0, []), result.output
    assert "annotated images" not in result.stderr


@pytest.mark.parametrize(("there", "is_told"), [(["1.png"], True), (["1.png", "2.png"], False)])
def test_most_images_are_elsewhere(
    run: Any, tmp_path: Path, notes: list[str], there: list[str], is_told: bool
) -> None:
    put_images(tmp_path / "some", *there, "a.png")
    result = annotate(run, "some", "--project", FILE)
    assert result.exit_code == 0, result.output
    said = (
        "2 of 3 annotated images of this project are not in some: is it the project of another "
        "folder?"
    )
    assert notes == ([said] if is_told else [])
    assert (f"note: {said}" in result.stderr.splitlines()) == is_told


def test_a_project_in_the_folder_of_its_images_is_opened(
    run: Any, tmp_path: Path, notes: list[str]
) -> None:
    """All annotated files were renamed or removed: nobody is locked out."""
    put_images(tmp_path / "renamed", "a.png")
    FILE.rename(tmp_path / "renamed" / "samadapt.sqlite")
    result = annotate(run, "renamed")
    assert result.exit_code == 0, result.output
    assert "3 of 3 annotated images of this project are not in renamed" in notes[0]
