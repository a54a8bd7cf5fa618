"""supervision reads what we export: the same classes, boxes and masks, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from numpy.typing import NDArray
from PIL import Image

from fakes import blobs
from samadapt.data.rle import Rle
from samadapt.store.export import export_project
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project

Mask = NDArray[np.bool_]
SIZE = (40, 56)


def masks() -> dict[str, list[tuple[str, Mask]]]:
    """(class, mask) by image: a hole, several parts, a single pixel; an image without objects."""
    holed, parts, pixel = (np.zeros(SIZE, np.bool_) for _ in range(3))
    holed[22:36, 30:46] = True
    holed[26:29, 33:37] = False
    parts[2:9, 2:9] = parts[12:20, 12:30] = True
    pixel[10, 20] = True
    return {
        "a.png": [("cell", holed), ("debris", pixel)],
        "b.png": [("debris", parts)],
        "c.png": [],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    for name in masks():
        Image.fromarray(blobs(*SIZE)).save(place / name)
    return place


@pytest.fixture
def project(folder: Path) -> Project:
    project = Project.open(folder / "samadapt.sqlite")
    project.images.scan(folder)
    labels = project.labels.named(["cell", "debris"], "")
    for name, objects in masks().items():
        image = project.images.named(name)
        assert image is not None
        for label, mask in objects:
            project.objects.add(NewMask(image.id, Rle.from_mask(mask), labels[label]), "")
    return project


def read(dataset: sv.DetectionDataset) -> dict[str, list[tuple[str, Mask]]]:
    return {
        Path(path).name: [
            (dataset.classes[int(number)], np.asarray(mask, np.bool_))
            for number, mask in zip(
                found.class_id, () if found.mask is None else found.mask, strict=True
            )
        ]
        for path, _, found in dataset
    }


def test_coco_keeps_every_pixel(project: Project, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    export_project(project, folder, "coco", out)
    dataset = sv.DetectionDataset.from_coco(str(folder), str(out), force_masks=True)
    assert dataset.classes == ["cell", "debris"]
    found = read(dataset)
    assert found.keys() == masks().keys()
    for name, objects in masks().items():
        assert [label for label, _ in found[name]] == [label for label, _ in objects]
        for (_, mask), (_, wanted) in zip(found[name], objects, strict=True):
            np.testing.assert_array_equal(mask, wanted)


def test_boxes_are_those_of_the_masks(project: Project, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    export_project(project, folder, "coco", out)
    dataset = sv.DetectionDataset.from_coco(str(folder), str(out), force_masks=True)
    (holed,) = (found.xyxy[0] for path, _, found in dataset if Path(path).name == "a.png")
    np.testing.assert_array_equal(holed, [30, 22, 46, 36])


@pytest.mark.parametrize("format", ["coco-polygons", "yolo", "labelme", "voc"])
def test_the_other_formats_are_read_too(
    project: Project, folder: Path, tmp_path: Path, format: str
) -> None:
    """Polygons are filled with their outline there, so masks may grow by a pixel all round."""
    out = tmp_path / "out"
    export_project(project, folder, format, out)
    reader = {
        "coco-polygons": lambda: sv.DetectionDataset.from_coco(str(folder), str(out), True),
        "yolo": lambda: sv.DetectionDataset.from_yolo(
            str(folder), str(out / "labels"), str(out / "data.yaml"), True
        ),
        "labelme": lambda: sv.DetectionDataset.from_labelme(str(folder), str(out), True),
        "voc": lambda: sv.DetectionDataset.from_pascal_voc(str(folder), str(out / "Annotations")),
    }[format]
    dataset = reader()
    boxes = {Path(path).name: found for path, _, found in dataset}
    (square,) = (
        box
        for box, number in zip(boxes["a.png"].xyxy, boxes["a.png"].class_id, strict=True)
        if dataset.classes[int(number)] == "cell"
    )
    np.testing.assert_allclose(square, [30, 22, 46, 36], atol=1.01)
