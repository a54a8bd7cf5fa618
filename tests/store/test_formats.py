"""Round trips: what was drawn comes back from every format, pixel by pixel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from samadapt.data import voc
from samadapt.data.coco import CocoDataset
from samadapt.data.import_issues import ImportIssues
from samadapt.data.labelme import load_labelme, save_labelme
from samadapt.data.masks import load_mask_folder
from samadapt.data.polygons import mask_to_polygons
from samadapt.data.rle import Rle
from samadapt.data.voc import load_voc, save_voc
from samadapt.data.yolo import joined, load_yolo, save_yolo
from samadapt.errors import DataError
from samadapt.store.dataset import to_dataset
from samadapt.store.export import FORMATS, save_dataset
from samadapt.store.importing import import_dataset
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project

Mask = NDArray[np.bool_]
Reader = Callable[[Path, Path], CocoDataset]

READERS: dict[str, Reader] = {
    "coco": lambda path, images: CocoDataset.load(path, images),
    "coco-polygons": lambda path, images: CocoDataset.load(path, images),
    "masks": lambda path, images: load_mask_folder(images, path),
    "label-maps": lambda path, images: load_mask_folder(images, path),
    "yolo": lambda path, images: load_yolo(path, images),
    "labelme": lambda path, images: load_labelme(path, images),
    "voc": lambda path, images: load_voc(path, images),
}
NAMELESS = {"masks", "label-maps"}
"""Formats whose files do not carry the classes' names (a table beside them does)."""


@pytest.fixture
def annotated(tmp_path: Path, folder: Path, square: Mask) -> Project:
    """Five objects on two images: parts, holes, a single pixel, one at the image's edge."""
    project = Project.open(tmp_path / "p.sqlite")
    project.images.scan(folder)
    first, _, third = [entry.id for entry in project.images.entries()]
    labels = project.labels.named(["cell", "dé-bris “x”"], "ann")
    pixel, edge, corner = (np.zeros((40, 56), np.bool_) for _ in range(3))
    pixel[10, 20] = True
    edge[:, 50:] = True
    corner[12:14, 2:4] = corner[14:16, 4:6] = True  # two parts that touch at a corner
    for image, mask, label in (
        (first, square, "cell"),
        (first, pixel, "dé-bris “x”"),
        (first, edge, "cell"),
        (third, corner, "dé-bris “x”"),
    ):
        project.objects.add(NewMask(image, Rle.from_mask(mask), labels[label]), "ann")
    gone = project.objects.add(NewMask(third, Rle.from_mask(square)), "ann")
    project.objects.delete(gone.id, 1, "ann")
    project.objects.add(NewMask(third, Rle.from_mask(square), None), "ann")
    return project


def masks_of(dataset: CocoDataset) -> dict[str, list[bytes]]:
    """Run lengths of all masks by image."""
    return {
        image.file_name: sorted(dataset.rle(a.id).counts for a in dataset.annotations_of(image.id))
        for image in dataset.images
        if dataset.annotations_of(image.id)
    }


def names_of(dataset: CocoDataset) -> list[tuple[str, bytes]]:
    return sorted(
        (dataset.category(a.category_id).name, dataset.rle(a.id).counts)
        for a in dataset.annotations
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_back_every_pixel(
    name: str, annotated: Project, folder: Path, tmp_path: Path
) -> None:
    dataset = to_dataset(annotated, folder)
    out = tmp_path / "out"
    save_dataset(dataset, name, out)
    again = READERS[name](out, folder)
    assert masks_of(again) == masks_of(dataset)
    if name not in NAMELESS:
        assert names_of(again) == names_of(dataset)


def test_ids_stay_and_areas_are_true(annotated: Project, folder: Path, tmp_path: Path) -> None:
    save_dataset(to_dataset(annotated, folder), "coco", tmp_path / "one.json")
    first, _, _ = [entry.id for entry in annotated.images.entries()]
    thing = annotated.objects.of_image(first)[0]
    annotated.objects.delete(thing.id, thing.revision, "ann")
    save_dataset(to_dataset(annotated, folder), "coco", tmp_path / "two.json")
    one, two = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("one", "two"))
    assert [a for a in one["annotations"] if a["id"] != thing.id] == two["annotations"]
    assert one["images"] == two["images"]
    assert one["categories"] == two["categories"]
    record = next(a for a in one["annotations"] if a["id"] == thing.id)
    assert record["area"] == int(thing.mask().sum())
    assert isinstance(record["segmentation"]["counts"], str)


def test_polygons_of_every_part_with_their_holes(
    annotated: Project, folder: Path, tmp_path: Path
) -> None:
    save_dataset(to_dataset(annotated, folder), "coco-polygons", tmp_path / "out.json")
    record = json.loads((tmp_path / "out.json").read_text())["annotations"][0]
    assert len(record["segmentation"]) == 2  # the square with its hole, and the small part


def test_importing_gives_the_same_objects_and_only_once(
    annotated: Project, folder: Path, tmp_path: Path
) -> None:
    dataset = to_dataset(annotated, folder)
    with Project.open(tmp_path / "other.sqlite") as other:
        other.images.scan(folder)
        found = import_dataset(other, dataset, "bob", "file")
        assert (found.added, found.known, found.left_out, found.differing) == (5, 0, (), ())
        assert masks_of(to_dataset(other, folder)) == masks_of(dataset)
        assert import_dataset(other, dataset, "bob", "file").known == 5


def test_what_does_not_fit_is_named_and_left_out(
    annotated: Project, folder: Path, tmp_path: Path
) -> None:
    dataset = to_dataset(annotated, folder)
    Image.new("RGB", (9, 9)).save(folder / "img2.png")
    (folder / "sub" / "it's “ünï”.png").unlink()
    with Project.open(tmp_path / "other.sqlite") as other:
        other.images.scan(folder)
        found = import_dataset(other, dataset, "bob", "file")
    assert (found.added, found.left_out_count) == (0, 5)
    assert [str(one) for one in found.left_out if one.objects == 2] == [
        "file: sub/it's “ünï”.png: no such image here"
    ]
    sizes = [one for one in found.left_out if "56 x 40 pixels, the image has 9 x 9" in one.why]
    assert len(sizes) == 3


def test_only_finished_images_if_asked_for(annotated: Project, folder: Path) -> None:
    first = annotated.images.entries()[0].id
    annotated.images.mark(first, "done", 0, "ann")
    dataset = to_dataset(annotated, folder, done_only=True)
    assert [image.id for image in dataset.images] == [first]
    assert len(dataset.annotations) == 3


@given(st.integers(0, 2**20 - 1), st.integers(1, 5))
def test_one_closed_line_holds_any_mask(bits: int, width: int) -> None:
    height = 20 // width
    flat = np.array([bits >> k & 1 for k in range(height * width)], np.bool_)
    mask = flat.reshape(height, width)
    if mask.any():
        line = joined(mask_to_polygons(mask))
        assert np.array_equal(Rle.from_polygons([line], mask.shape).mask(), mask)


def test_yolo_boxes_and_names_of_other_tools(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "img2.txt").write_text("1 0.5 0.5 0.5 0.5\n\n")
    (tmp_path / "data.yaml").write_text("names: [a, b]\n")
    dataset = load_yolo(tmp_path, folder)
    (thing,) = dataset.annotations
    assert dataset.category(thing.category_id).name == "b"
    expected = np.zeros((40, 56), np.bool_)
    expected[10:30, 14:42] = True
    assert np.array_equal(dataset.mask(thing.id), expected)


@pytest.mark.parametrize(
    "line",
    [
        "x 0 0 1 1 0 1",
        "0 0.1 0.2",
        "-1 0 0 1 1 0 1",
        "0 0 0 1 1 0 z",
        "0 nan 0 1 1 0 1",
        "0.5 0 0 1",
    ],
)
def test_broken_yolo_lines_are_named_one_by_one(folder: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "classes.txt").write_text("a\n")
    (tmp_path / "img2.txt").write_text(f"0 0 0 1 0 1 1\n{line}\n0 0 0 1 0 1 1 0 1\n")
    findings = ImportIssues()
    dataset = load_yolo(tmp_path, folder, findings)
    assert [dataset.rle(a.id).area for a in dataset.annotations][1:] == [40 * 56]
    (one,) = findings.left_out
    assert (one.where, one.objects) == (f"{tmp_path / 'img2.txt'}, line 2", 1)


def test_labelme_shapes_of_other_kinds(tmp_path: Path, folder: Path) -> None:
    shapes = [
        {"label": "a", "shape_type": "rectangle", "points": [[2, 1], [6, 4]]},
        {"label": "b", "shape_type": "point", "points": [[2, 1]]},
        {"label": "c", "shape_type": "circle", "points": [[10, 10], [10, 15]]},
    ]
    document = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 20, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(document))
    findings = ImportIssues()
    dataset = load_labelme(tmp_path, folder, findings)
    assert [str(one).partition(", ")[2] for one in findings.left_out] == [
        "shape 2: it is a point of 1 points, which encloses nothing"
    ]
    assert [c.name for c in dataset.categories] == ["a", "c"]
    assert dataset.rle(1).box == (2, 1, 4, 3)
    assert dataset.rle(2).area == pytest.approx(np.pi * 25, rel=0.1)


@pytest.mark.parametrize(
    "content",
    ["no json", "[]", "{}", '{"imagePath":"a","imageHeight":2,"imageWidth":2,"shapes":[{}]}'],
)
def test_broken_labelme_files_are_named(tmp_path: Path, folder: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    findings = ImportIssues()
    assert load_labelme(tmp_path, folder, findings).annotations == ()
    assert [one.where.partition(",")[0] for one in findings.left_out] == [str(tmp_path / "a.json")]


def test_voc_refuses_more_than_it_can_number(
    annotated: Project,
    tmp_path: Path,
    folder: Path,
    square: Mask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = annotated.images.entries()[0].id
    annotated.objects.add(NewMask(first, Rle.from_mask(~square)), "ann")
    monkeypatch.setattr(voc, "MOST", 3)
    with pytest.raises(DataError, match="has 4 objects, VOC can number 3"):
        save_voc(to_dataset(annotated, folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(voc, "MOST", 1)
    with pytest.raises(DataError, match="classes: VOC can number 1"):
        save_voc(to_dataset(annotated, folder), tmp_path / "out")


def test_voc_with_entities_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><annotation/>')
    findings = ImportIssues()
    load_voc(tmp_path, tmp_path, findings)
    assert "document type" in str(findings.left_out)


@pytest.mark.parametrize("save", [save_yolo, save_labelme, save_voc])
def test_a_folder_with_something_in_it_is_not_touched(
    save: Callable[[CocoDataset, Path], None], annotated: Project, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(DataError, match="not an empty folder"):
        save(to_dataset(annotated, folder), out)
    assert [p.name for p in out.iterdir()] == ["mine"]
