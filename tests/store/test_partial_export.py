"""One object or image that cannot be written never takes the rest of an export with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import text
from typer.testing import Result

from samadapt.data import voc
from samadapt.data.coco import CocoDataset
from samadapt.data.rle import Rle
from samadapt.store.export import FORMATS, export_project
from samadapt.store.format_limits import LIMITS
from samadapt.store.objects import NewMask
from samadapt.store.projects import PROJECT_FILE, Project

Mask = NDArray[np.bool_]


@pytest.fixture
def project(folder: Path) -> Project:
    with Project.open(folder / PROJECT_FILE) as opened:
        opened.images.scan(folder)
        yield opened


def annotate(project: Project, name: str, mask: Mask, label: str | None = None) -> int:
    image = project.images.named(name)
    assert image is not None
    number = None if label is None else project.labels.named([label], "")[label]
    return project.objects.add(NewMask(image.id, Rle.from_mask(mask), number), "ann").id


def written(out: Path) -> list[int]:
    return [a.id for a in CocoDataset.load(out).annotations]


@pytest.mark.parametrize("name", FORMATS)
def test_objects_of_a_replaced_image_are_named_and_the_rest_is_written(
    project: Project, folder: Path, square: Mask, tmp_path: Path, name: str
) -> None:
    stale = annotate(project, "img2.png", square)
    other = annotate(project, "img10.png", square)
    Image.new("RGB", (128, 96)).save(folder / "img2.png")
    fresh = annotate(project, "img2.png", np.ones((96, 128), np.bool_))
    found = export_project(project, folder, name, tmp_path / "out")
    assert {a.id for a in found.dataset.annotations} == {other, fresh}
    (line,) = found.left_out
    assert line.startswith(
        f"img2.png, object {stale}: drawn on 56 x 40 pixels, but the image now has 128"
    )
    sizes = {i.file_name: (i.width, i.height) for i in found.dataset.images}
    assert sizes["img2.png"] == (128, 96)
    # With the old file back, everything is there again but what was drawn on the new one.
    shutil.copy(folder / "img10.png", folder / "img2.png")
    back = export_project(project, folder, name, tmp_path / "back")
    assert {a.id for a in back.dataset.annotations} == {stale, other}


def test_a_damaged_object_is_named(
    project: Project, folder: Path, square: Mask, tmp_path: Path
) -> None:
    bad, good = (annotate(project, name, square) for name in ("img2.png", "img10.png"))
    with project.database.write() as tx:
        tx.execute(text("UPDATE objects SET counts = 'zz' WHERE id = :bad"), {"bad": bad})
    found = export_project(project, folder, "coco", tmp_path / "out.json")
    assert written(tmp_path / "out.json") == [good]
    assert f"img2.png, object {bad}" in found.left_out[0]
    info = json.loads((tmp_path / "out.json").read_text())["info"]
    assert info["samadapt_left_out"] == list(found.left_out)


@pytest.mark.parametrize("name", ["C:odd.png", "a\\..\\..\\odd.png", ":.png"])
@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_an_image_whose_name_no_dataset_can_have_is_named(
    project: Project, folder: Path, square: Mask, tmp_path: Path, name: str, format: str
) -> None:
    Image.new("RGB", (56, 40)).save(folder / name, "PNG")
    project.images.scan(folder)
    odd, good = annotate(project, name, square), annotate(project, "img2.png", square)
    found = export_project(project, folder, format, tmp_path / "out")
    kept = {a.id for a in found.dataset.annotations}
    assert good in kept
    assert (odd in kept) == (not any(line.startswith(f"{name} (1") for line in found.left_out))


@pytest.mark.parametrize("name", LIMITS)
def test_images_that_would_share_a_file_are_named(
    project: Project, folder: Path, square: Mask, tmp_path: Path, name: str
) -> None:
    for other in ("img2.jpg", f"{'x' * 251}.png"):
        Image.new("RGB", (56, 40)).save(folder / other)
    suffix = LIMITS[name].target(Path("a.png")).suffix  # type: ignore[arg-type]
    deep_names = ("deep.png", f"deep{suffix}/in.png") if suffix != ".png" else ()
    for other in reversed(deep_names):
        (folder / other).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "img2.png", folder / other)
    project.images.scan(folder)
    kept = annotate(project, "img2.jpg", square)  # its twin has no object: that one gives way
    long = annotate(project, f"{'x' * 251}.png", square)
    deep = [annotate(project, deep_name, square) for deep_name in deep_names]
    found = export_project(project, folder, name, tmp_path / "out", untouched=True)
    objects = {a.id for a in found.dataset.annotations}
    assert kept in objects
    assert any(line.startswith("img2.png (0 objects)") for line in found.left_out)
    # Names end in .json, which is longer than .png, or in the same or a shorter ending.
    assert (long in objects) == (name != "labelme")
    assert len(objects & set(deep)) == len(deep) // 2
    assert (tmp_path / "out").is_dir()


def test_voc_takes_what_it_can_number(
    project: Project,
    folder: Path,
    square: Mask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for label in ("cell", "cell", "rare"):
        annotate(project, "img2.png", square, label)
    annotate(project, "img10.png", square, "cell")
    monkeypatch.setattr(voc, "MOST", 1)
    found = export_project(project, folder, "voc", tmp_path / "out")
    assert [a.id for a in found.dataset.annotations] == [1, 4]
    assert len(found.left_out) == 2
    assert "class 'rare'" in found.left_out[0]
    assert "img2.png: 1 of its 2 objects" in found.left_out[1]


def test_the_command_names_what_is_left_out_and_says_so_by_its_exit_code(
    run: Callable[..., Result],
    project: Project,
    folder: Path,
    square: Mask,
    tmp_path: Path,
) -> None:
    annotate(project, "img2.png", square)
    assert run("export", folder, "--out", tmp_path / "out.json").exit_code == 0
    Image.new("RGB", (128, 96)).save(folder / "img2.png")
    result = run("export", folder, "--out", tmp_path / "out.json", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["objects"] == 0
    assert json.loads(result.stdout)["left_out"][0].startswith("img2.png, object 1")
    assert result.stderr.startswith("left out: img2.png, object 1: drawn on 56 x 40 pixels")
