"""Labels that are merged, attributes of objects, tags of images, and colours for 40 labels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.store.dataset import to_dataset
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import Attribute, Label
from samadapt.store.label_merging import merge_label, unmerge_label
from samadapt.store.labels import COLOURS
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.rebuild import differences, read_log, rebuild


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Project]:
    """Two images; labels cat (with attributes) and dog; a cat on each image and a dog."""
    from PIL import Image

    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    project = Project.open(tmp_path / "p.samadapt")
    project.images.scan(tmp_path)
    attributes = (
        Attribute(name="colour", kind="choice", choices=("black", "white")),
        Attribute(name="age", kind="number"),
        Attribute(name="asleep", kind="flag"),
        Attribute(name="remark"),
    )
    labels = [
        Label(id=0, name="cat", colour="#ff0000", attributes=attributes),
        Label(id=0, name="dog", colour="#00ff00"),
    ]
    project.labels.set(labels, 0, "ann")
    rle = Rle.from_mask(np.ones((6, 8), np.bool_))
    first, second = sorted(project.images.all())
    for image, label in ((first, 1), (second, 1), (second, 2)):
        project.objects.add(NewMask(image, rle, label), "ann")
    yield project
    project.close()


def test_a_label_is_merged_into_another_on_all_images(filled: Project) -> None:
    with pytest.raises(MissingError):
        merge_label(filled, 1, 9, 1, "bob")
    with pytest.raises(ConflictError):
        merge_label(filled, 1, 2, 0, "bob")
    assert [thing.label_id for thing in filled.objects.all()] == [1, 1, 2]
    merged = merge_label(filled, 1, 2, 1, "bob")
    assert [thing.id for thing in merged.objects] == [1, 2]
    assert [thing.label_id for thing in filled.objects.all()] == [2, 2, 2]
    assert [label.name for label in filled.labels.all()[0]] == ["dog"]
    # Taken back: the label with its attributes, and what nobody changed since.
    filled.objects.delete(2, 2, "ann")
    versions = [(one.id, one.revision) for one in merged.objects]
    back = unmerge_label(filled, 1, versions, "bob")
    assert [thing.id for thing in back.objects] == [1]
    labels, revision = filled.labels.all()
    assert {label.name: len(label.attributes) for label in labels} == {"dog": 0, "cat": 4}
    assert [thing.label_id for thing in filled.objects.all()] == [1, 2]
    filled.objects.restore(2, 3, "ann")
    merge_label(filled, 1, 2, revision, "bob")
    assert len(merge_label(filled, 2, None, revision + 1, "bob").objects) == 3
    assert filled.objects.label_counts() == {None: 3}
    assert differences(filled, read_log(filled)) == ""


def test_attributes_and_tags_are_kept_and_rebuilt(filled: Project) -> None:
    values = {"colour": "black", "age": 3.5, "asleep": True, "remark": "on the sofa"}
    filled.details.describe(1, values, "ann")
    filled.details.describe(2, {"age": 1}, "ann")
    filled.details.describe(2, {"age": None}, "ann")
    image = min(filled.images.all())
    assert filled.details.tag(image, [" night ", "blurred", "night"], "ann") == ["night", "blurred"]
    found = filled.details.attributes(), filled.details.tags(), filled.labels.all()
    assert found[:2] == ({1: values}, {image: ["night", "blurred"]})
    assert len(found[2][0][0].attributes) == 4
    assert differences(filled, read_log(filled)) == ""
    rebuild(filled)
    assert (filled.details.attributes(), filled.details.tags(), filled.labels.all()) == found


def test_two_people_who_change_different_things_lose_nothing(filled: Project) -> None:
    filled.details.describe(1, {"age": 3, "remark": "old"}, "ann")
    filled.details.describe(1, {"colour": "white"}, "bob")
    assert filled.details.describe(1, {"remark": None}, "ann") == {"age": 3, "colour": "white"}
    image = min(filled.images.all())
    filled.details.tag(image, ["night", "blurred"], "ann")
    filled.details.tag(image, ["dawn"], "bob", remove=["night"])
    assert filled.details.tag(image, ["blurred", "late"], "ann") == ["blurred", "dawn", "late"]
    # What a dog has, too, stays shown; the rest is shown again once the object is a cat again.
    labels, revision = filled.labels.all()
    dog = labels[1].model_copy(update={"attributes": (Attribute(name="age", kind="number"),)})
    filled.labels.set([labels[0], dog], revision, "ann")
    filled.objects.change(1, 1, "ann", 2, None)
    number = filled.journal.last_number()
    assert filled.details.describe(1, {}, "bob") == {"age": 3}
    assert filled.details.describe(1, {"age": 3}, "bob") == {"age": 3}
    assert filled.details.tag(image, ["late"], "bob") == ["blurred", "dawn", "late"]
    assert filled.journal.last_number() == number
    assert filled.details.attributes() == {1: {"age": 3}}
    assert filled.details.describe(1, {"age": 4}, "bob") == {"age": 4}
    filled.objects.change(1, 2, "ann", None, None)
    assert filled.details.attributes() == {}
    filled.objects.change(1, 3, "ann", 1, None)
    assert filled.details.attributes() == {1: {"age": 4, "colour": "white"}}
    assert differences(filled, read_log(filled)) == ""
    rebuild(filled)
    assert filled.details.attributes() == {1: {"age": 4, "colour": "white"}}


def test_what_a_label_cannot_have_is_not_shown(filled: Project) -> None:
    filled.details.describe(1, {"age": 1}, "ann")
    labels, revision = filled.labels.all()
    dog = labels[1].model_copy(update={"attributes": (Attribute(name="age", kind="flag"),)})
    filled.labels.set([labels[0], dog], revision, "ann")
    filled.objects.change(1, 1, "ann", 2, None)
    assert filled.details.attributes() == {}
    assert filled.details.describe(1, {"age": True}, "ann") == {"age": True}
    assert filled.details.attributes() == {1: {"age": True}}
    (exported,) = (
        one.extra.get("attributes")
        for one in to_dataset(filled, Path(filled.database.name).parent).annotations
        if one.id == 1
    )
    assert exported == {"age": True}


@pytest.mark.parametrize(
    "values",
    [
        {"colour": "red"},
        {"age": "old"},
        {"age": True},
        {"age": float("inf")},
        {"asleep": "yes"},
        {"remark": 3.0},
        {"remark": "half \ud800"},
        {"remark": "bell \x07"},
        {"remark": "escape \x1b[31m"},
        {"remark": "x" * 1001},
        {"size": "large"},
    ],
)
def test_a_value_that_cannot_be_is_refused(
    filled: Project, values: dict[str, str | float | bool]
) -> None:
    with pytest.raises(DataError, match=next(iter(values))):
        filled.details.describe(1, values, "ann")
    assert filled.details.attributes() == {}


def test_attributes_need_names_of_their_own_and_choices(filled: Project) -> None:
    labels, revision = filled.labels.all()
    for attributes in (
        (Attribute(name="a"), Attribute(name="a", kind="flag")),
        (Attribute(name="a", kind="choice"),),
        (Attribute(name=" "),),
        (Attribute(name="a", kind="choice", choices=("x", " y")),),
    ):
        changed = labels[0].model_copy(update={"attributes": attributes})
        with pytest.raises(DataError):
            filled.labels.set([changed, labels[1]], revision, "ann")


def test_forty_colours_differ_for_all_eyes() -> None:
    """In CIELAB (D65), seen with all cones and, after Machado et al. 2009, without one kind."""
    cones = {
        "all": np.eye(3),
        "no red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.052]],
        "no green": [[0.3673, 0.8606, -0.228], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        "no blue": [
            [1.2555, -0.0767, -0.1788],
            [-0.0784, 0.9308, 0.1476],
            [0.0047, 0.6914, 0.3039],
        ],
    }
    assert len(set(COLOURS)) == 40
    srgb = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in COLOURS]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    for matrix in cones.values():
        xyz = np.clip(linear @ np.array(matrix).T, 0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack(
            [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1
        )
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 10
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab[:12], 2)) > 20
