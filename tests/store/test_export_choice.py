"""Which images are exported, and that no file names a place of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moving import disc_at, moving_disc, save_stack
from samadapt.data.rle import Rle
from samadapt.store.dataset import to_dataset
from samadapt.store.export import FORMATS, export_project
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Images: a with an object, b done without one, c skipped, d untouched."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "abcd":
        Image.new("RGB", (8, 6)).save(folder / f"{name}.png")
    project = Project.open(tmp_path / "p.samadapt")
    project.images.scan(folder)
    numbers = {image.name[0]: image.id for image in project.images.all().values()}
    label = project.labels.named(["thing"], "")["thing"]
    mask = np.zeros((6, 8), np.bool_)
    mask[1:4, 2:6] = True
    project.objects.add(NewMask(numbers["a"], Rle.from_mask(mask), label), "")
    project.images.mark(numbers["b"], "done", 0, "")
    project.images.mark(numbers["c"], "skipped", 0, "")
    yield project
    project.close()


def test_a_dataset_is_called_as_its_folder_or_as_its_project(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    described = to_dataset(project, folder).extra["info"]
    assert described == {"description": "pictures, annotated with samadapt"}
    with Project.open(tmp_path / "q.samadapt", "cells") as named:
        described = to_dataset(named, folder).extra["info"]
        assert described == {"description": "cells, annotated with samadapt"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({}, "ab"), ({"done_only": True}, "b"), ({"untouched": True}, "abcd")],
)
def test_untouched_images_are_left_out_unless_wanted(
    project: Project, tmp_path: Path, choice: dict[str, bool], expected: str
) -> None:
    found = export_project(project, tmp_path / "pictures", "coco", tmp_path / "o.json", **choice)
    assert "".join(image.file_name[0] for image in found.dataset.images) == expected
    objects = int("a" in expected)
    plural = "s" if len(expected) > 1 else ""
    noun = "object" if objects == 1 else "objects"
    assert found.summary() == f"{objects} {noun} on {len(expected)} image{plural}"


@pytest.mark.parametrize("format", FORMATS)
def test_no_file_names_a_place_of_the_machine(
    project: Project, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "out"
    export_project(project, tmp_path / "pictures", format, out, untouched=True)
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert str(tmp_path).encode() not in file.read_bytes()


@pytest.mark.parametrize(("choice", "expected"), [({}, ["a"]), ({"untouched": True}, ["a", "b"])])
def test_untouched_stacks_are_left_out_unless_wanted(
    tmp_path: Path, choice: dict[str, bool], expected: list[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "ab":
        save_stack(folder / f"{name}.tif", moving_disc(2))
    with Project.open(tmp_path / "p.samadapt") as project:
        project.images.scan(folder)
        (number,) = (i.id for i in project.images.all().values() if i.name == "a.tif#z=1")
        label = project.labels.named(["thing"], "")["thing"]
        project.objects.add(NewMask(number, Rle.from_mask(disc_at(1)), label), "")
        for format, ending in (("label-volume", "_labels.tif"), ("ctc", "")):
            out = tmp_path / format
            export_project(project, folder, format, out, **choice)
            assert sorted(path.name for path in out.iterdir()) == [n + ending for n in expected]
