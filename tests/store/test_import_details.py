"""Attributes and tags come back from the exports that hold them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from samadapt.data.rle import Rle
from samadapt.store.events import Attribute, Label
from samadapt.store.export import export_project
from samadapt.store.importing import import_dataset
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.readers import read_annotations

SAID = {"colour": "black", "age": 3.5, "asleep": True, "remark": "on the sofa"}


@pytest.mark.parametrize("format", ["coco", "labelme"])
def test_what_was_said_comes_back(tmp_path: Path, folder: Path, format: str) -> None:
    mask = np.zeros((40, 56), np.bool_)
    mask[4:20, 4:20] = True
    attributes = (
        Attribute(name="colour", kind="choice", choices=("black", "white")),
        Attribute(name="age", kind="number"),
        Attribute(name="asleep", kind="flag"),
        Attribute(name="remark"),
    )
    out = tmp_path / ("out.json" if format == "coco" else "out")
    with Project.open(tmp_path / "one.sqlite") as project:
        project.images.scan(folder)
        image, *_ = project.images.all()
        label = Label(id=0, name="cat", colour="#ff0000", attributes=attributes)
        project.labels.set([label], 0, "ann")
        project.objects.add(NewMask(image, Rle.from_mask(mask), 1), "ann")
        project.details.describe(1, SAID, "ann")
        project.details.tag(image, ["night", "blurred"], "ann")
        export_project(project, folder, format, out)
    with Project.open(tmp_path / "two.sqlite") as project:
        project.images.scan(folder)
        image, *_ = project.images.all()
        project.details.tag(image, ["mine"], "bob")
        for added in (1, 0):  # the second time there is nothing new
            found = import_dataset(project, read_annotations(out, folder), "bob", "out")
            assert (found.added, found.left_out) == (added, ())
        assert project.details.attributes() == {1: SAID}
        assert project.details.tags() == {image: ["mine", "night", "blurred"]}
        kinds = {one.name: one.kind for one in project.labels.all()[0][0].attributes}
        # labelme has no place for the choices: it is a text there.
        assert kinds["colour"] == ("choice" if format == "coco" else "text")
        assert (kinds["age"], kinds["asleep"], kinds["remark"]) == ("number", "flag", "text")


def test_what_cannot_be_said_is_left_out_and_told(tmp_path: Path, folder: Path) -> None:
    name = sorted(path.name for path in folder.glob("*.png"))[0]
    square = [[4, 4, 20, 4, 20, 20, 4, 20]]
    said = [{"age": 4, "size": {"deep": 1}}, {"age": "old"}, {"age": 5, "a\u0007b": 1}, "nothing"]
    document = {
        "images": [{"id": 1, "file_name": name, "height": 40, "width": 56, "tags": "night"}],
        "categories": [{"id": 1, "name": "cat", "attributes": "none"}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "attributes": one,
             "segmentation": [[v + k for v in square[0]]]}
            for k, one in enumerate(said, 1)
        ],
    }  # fmt: skip
    path = tmp_path / "in.json"
    path.write_text(json.dumps(document))
    with Project.open(tmp_path / "p.sqlite") as project:
        project.images.scan(folder)
        label = Label(
            id=0, name="cat", colour="#ff0000", attributes=(Attribute(name="age", kind="number"),)
        )
        project.labels.set([label], 0, "ann")
        found = import_dataset(project, read_annotations(path, folder), "bob", "in.json")
        assert found.added == 4
        assert project.details.attributes() == {1: {"age": 4.0}, 3: {"age": 5.0}}
        assert project.details.tags() == {}
        told = " ".join(map(str, found.left_out))
        assert "'age' cannot be 'old'" in told
        assert "control characters" in told
