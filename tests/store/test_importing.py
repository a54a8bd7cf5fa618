"""Import: what is new is added, what is known is not, and all else is named and counted."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from file_scenes import AREA, BOX, HEIGHT, WIDTH, coco, put_images, rectangle
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.store.importing import Imported, import_dataset
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.readers import read_annotations


class Place:
    """A folder of images with its project, and annotations to import into it."""

    def __init__(self, root: Path) -> None:
        self.images, self.ann = root / "img", root / "ann"
        self.ann.mkdir()
        self.project: Project | None = None

    def put(self, *names: str) -> None:
        put_images(self.images, *names)

    def write(self, name: str, content: Any) -> Path:
        path = self.ann / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    def bring(self, path: Path | None = None, **options: bool) -> Imported:
        if self.project is None:
            self.project = Project.open(self.ann.parent / "p.sqlite")
            self.project.images.scan(self.images)
        dataset = read_annotations(path or self.ann, self.images)
        return import_dataset(self.project, dataset, "ann", (path or self.ann).name, **options)

    @property
    def areas(self) -> list[int]:
        assert self.project is not None
        return [thing.rle.area for thing in self.project.objects.all()]

    @property
    def labels(self) -> list[str]:
        assert self.project is not None
        return [label.name for label in self.project.labels.all()[0]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.put("a.png")
    yield made
    if made.project is not None:
        made.project.close()


SMALL = [1, 1, 9, 1, 9, 9, 1, 9]


# -- the right image ----------------------------------------------------------------------


def test_images_of_the_same_name_in_other_folders_get_nothing(place: Place) -> None:
    found = place.bring(
        place.write(
            "c.json",
            coco({}, {"image_id": 2, "segmentation": [SMALL]}, names=("train/a.png", "val/a.png")),
        )
    )
    assert (found.added, found.left_out_count, place.areas) == (1, 1, [AREA])
    assert str(found.left_out[0]).startswith("c.json: val/a.png: not used for a.png")


def test_a_bare_name_that_two_images_have_is_left_out(place: Place) -> None:
    place.put("x/b.png", "y/b.png")
    found = place.bring(place.write("c.json", coco({}, names=("b.png",))))
    assert (found.added, found.left_out_count) == (0, 1)
    assert "x/b.png and y/b.png both match" in found.left_out[0].why


@pytest.mark.parametrize("name", ["C:\\data\\img\\a.png", "/home/x/a.png", "../img/a.png"])
def test_paths_of_other_systems(place: Place, name: str) -> None:
    assert place.bring(place.write("c.json", coco({}, names=(name,)))).added == 1


# -- the right size -----------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(0, 0), (None, None), ("64", "48"), (-1, 48)])
def test_sizes_that_are_missing_come_from_the_image(place: Place, width: Any, height: Any) -> None:
    content: dict[str, Any] = coco({})
    content["images"][0] |= {"width": width, "height": height}
    assert place.bring(place.write("c.json", content)).added == 1
    assert place.areas == [AREA]


def turned(place: Place) -> None:
    """An image that is shown as 48 x 64."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(place.images / "ex.jpg", exif=exif)


def test_masks_of_the_unturned_image_are_left_out_whatever_the_format(place: Place) -> None:
    turned(place)
    shape = {"label": "cell", "points": [[20, 10], [44, 30]], "shape_type": "rectangle"}
    document = {"shapes": [shape], "imagePath": "ex.jpg", "imageHeight": 48, "imageWidth": 64}
    place.write("labelme/ex.json", document)
    for path in (
        place.ann / "labelme",
        place.write("c.json", coco({}, names=("ex.jpg",))),
    ):
        found = place.bring(path)
        assert (found.added, found.left_out_count) == (0, 1)
        assert "64 x 48 pixels, the image has 48 x 64" in found.left_out[0].why
        assert "EXIF" in found.left_out[0].why


def test_the_image_as_it_is_now_counts(place: Place) -> None:
    path = place.write("c.json", coco({}))
    place.bring(place.write("none.json", coco()))
    Image.new("RGB", (2 * WIDTH, 2 * HEIGHT)).save(place.images / "a.png")
    assert "128 x 96" in place.bring(path).left_out[0].why


# -- one bad record -----------------------------------------------------------------------

BAD: list[tuple[str, Any, Any]] = [
    ("annotations", 0, {"id": 1}),
    ("annotations", 0, "text"),
    ("annotations", 0, {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [BOX]}),
    ("annotations", 0, {"id": 1, "image_id": [], "category_id": 1, "segmentation": [BOX]}),
    ("annotations", 0, {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"a": 1}}),
    ("annotations", 0, {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]]}),
    (
        "annotations",
        0,
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"size": [48, 64], "counts": "x"},
        },
    ),
    ("images", 1, {"id": 2}),
    ("images", 1, {"id": 2, "file_name": "b.png", "width": 0, "height": 0}),
]


@pytest.mark.parametrize(("key", "index", "record"), BAD)
def test_one_bad_record_never_takes_the_rest_along(
    place: Place, key: str, index: int, record: Any
) -> None:
    content: dict[str, Any] = coco({}, {}, names=("a.png", "b.png"))
    if key == "images":
        content["annotations"][0]["image_id"] = 2
    content[key][index] = record
    found = place.bring(place.write("c.json", content))
    assert (found.added, found.left_out_count, place.areas) == (1, 1, [AREA])


def test_ids_that_occur_twice(place: Place) -> None:
    content: dict[str, Any] = coco({}, {"id": 1, "segmentation": [SMALL]})
    assert place.bring(place.write("c.json", content)).added == 2
    assert sorted(place.areas) == [64, AREA]


def test_an_image_id_of_two_files_belongs_to_none(place: Place) -> None:
    content: dict[str, Any] = coco({}, names=("a.png", "b.png"))
    content["images"][1]["id"] = 1
    found = place.bring(place.write("c.json", content))
    assert (found.added, found.left_out_count) == (0, 1)
    assert "a.png and b.png" in str(found.left_out)


def test_classes_without_a_name_and_with_two(place: Place) -> None:
    content: dict[str, Any] = coco({"category_id": 7}, {"category_id": 1, "segmentation": [SMALL]})
    content["categories"].append({"id": 1, "name": "dog"})
    found = place.bring(place.write("c.json", content))
    assert (found.added, found.left_out_count, place.labels) == (1, 1, ["class 7"])


def test_texts_that_no_terminal_can_show_are_escaped(place: Place) -> None:
    found = place.bring(place.write("c.json", coco({}, names=("\ud800\n\x1b[31m.png",))))
    shown = str(found.left_out[0])
    assert shown.isprintable()
    shown.encode()


# -- why nothing came ---------------------------------------------------------------------


def test_boxes_only_are_counted(place: Place) -> None:
    box = {"segmentation": [], "bbox": [20, 10, 24, 20]}
    found = place.bring(place.write("c.json", coco(box, box)))
    assert (found.added, found.left_out_count) == (0, 2)
    assert "2 of 2 objects have only a box" in found.left_out[0].why


def test_no_annotation_at_all_is_said(place: Place) -> None:
    summary = place.bring(place.write("c.json", coco())).summary()
    assert summary == (
        "imported 0 objects (0 were there already), there is no object in the annotations"
    )


def test_crowds_are_offered(place: Place) -> None:
    path = place.write("c.json", coco({"iscrowd": 1}, {"segmentation": [SMALL]}))
    found = place.bring(path)
    assert (found.added, found.crowds, found.left_out_count) == (1, 1, 1)
    assert "1 of 2 objects are marked as crowds" in found.left_out[0].why
    assert place.bring(path, crowds=True).added == 1
    assert sorted(place.areas) == [64, AREA]


# -- again --------------------------------------------------------------------------------


def test_the_same_file_changed_adds_what_is_new(place: Place) -> None:
    place.bring(place.write("c.json", coco({})))
    found = place.bring(place.write("c.json", coco({"segmentation": [SMALL]}, {})))
    assert (found.added, found.known, place.areas) == (1, 1, [AREA, 64])
    found = place.bring(place.write("c.json", coco({"segmentation": [SMALL]})))
    assert (found.added, found.known) == (0, 1)
    assert "1 objects that were imported before are not in it" in str(found.left_out)


def test_the_same_object_in_other_words_is_known(place: Place) -> None:
    place.bring(place.write("c.json", coco({})))
    rle = Rle.from_mask(rectangle(20, 10, 44, 30)).to_coco()
    assert place.bring(place.write("d.json", coco({"segmentation": rle}))).known == 1


def test_a_mask_or_label_that_changed_is_said_to_differ(place: Place) -> None:
    place.bring(place.write("c.json", coco({})))
    wider = [20, 10, 50, 10, 50, 30, 20, 30]
    found = place.bring(place.write("c.json", coco({"segmentation": [wider]})))
    assert (found.added, found.known, len(found.differing)) == (0, 0, 1)
    assert "overlaps object 1 of a.png by 80%" in found.differing[0].why
    content: dict[str, Any] = coco({})
    content["categories"][0]["name"] = "dog"
    found = place.bring(place.write("c.json", content))
    assert (found.added, len(found.differing)) == (0, 1)
    assert "the label 'cell'" in found.differing[0].why
    assert place.labels == ["cell"]


def test_parts_and_wholes_of_one_file_are_both_new(place: Place) -> None:
    wider = [20, 10, 50, 10, 50, 30, 20, 30]
    path = place.write("c.json", coco({}, {"segmentation": [wider]}))
    assert place.bring(path).added == 2
    assert place.bring(path).known == 2


def test_what_a_file_has_twice_is_taken_twice_and_said(place: Place) -> None:
    path = place.write("c.json", coco({}, {}))
    found = place.bring(path)
    assert (found.added, found.left_out_count) == (2, 0)
    assert "same mask and label" in found.left_out[0].why
    assert place.bring(path).known == 2


def test_what_was_deleted_does_not_come_back(place: Place) -> None:
    path = place.write("c.json", coco({}))
    place.bring(path)
    assert place.project is not None
    place.project.objects.delete(1, 1, "ann")
    assert (place.bring(path).known, place.areas) == (1, [])


def test_what_people_drew_counts_as_there(place: Place) -> None:
    place.bring(place.write("none.json", coco()))
    assert place.project is not None
    image = place.project.images.entries()[0].id
    label = place.project.labels.named(["cell"], "ann")["cell"]
    mask = Rle.from_mask(rectangle(20, 10, 44, 30))
    place.project.objects.add(NewMask(image, mask, label), "ann")
    assert place.bring(place.write("c.json", coco({}))).known == 1


# -- labels -------------------------------------------------------------------------------


def test_labels_that_cannot_be_are_named_and_the_rest_is_taken(place: Place) -> None:
    names = ["cell ", "x" * 101, "a\x07b", " ", "ünï"]
    content: dict[str, Any] = coco(
        *({"category_id": k, "segmentation": [[k, k, k + 9, k, k + 9, k + 9]]} for k in range(1, 6))
    )
    content["categories"] = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    found = place.bring(place.write("c.json", content))
    assert (found.added, found.left_out_count, place.labels) == (2, 3, ["cell", "ünï"])
    reasons = " ".join(map(str, found.left_out))
    assert all(part in reasons for part in ("101 characters", "control characters", "empty"))


def test_more_labels_than_a_project_can_have(place: Place) -> None:
    masks = [[10 * k, 0, 10 * k + 3, 0, 10 * k + 3, 3] for k in range(5)]
    content: dict[str, Any] = coco(
        *({"category_id": k, "segmentation": [m]} for k, m in enumerate(masks, 1))
    )
    content["categories"] = [{"id": k, "name": f"c{k}"} for k in range(1, 6)]
    place.bring(place.write("none.json", coco()))
    assert place.project is not None
    place.project.labels.named([f"known {k}" for k in range(498)], "ann")
    found = place.bring(place.write("c.json", content))
    assert (found.added, found.left_out_count, len(place.labels)) == (2, 3, 500)


# -- folders of other tools ---------------------------------------------------------------

LINE = "0 0.3125 0.2083333 0.6875 0.2083333 0.6875 0.625 0.3125 0.625"


@pytest.mark.parametrize("opened", ["", "images", "images/train"])
@pytest.mark.parametrize("given", ["", "labels", "labels/train", "data.yaml"])
def test_yolo_as_ultralytics_lays_it_out(tmp_path: Path, opened: str, given: str) -> None:
    place = Place(tmp_path)
    place.images = place.ann
    place.put("images/train/a.png", "images/val/a.png")
    place.write("labels/train/a.txt", LINE)
    place.write("data.yaml", "names: {0: cell, 2: no}")
    place.images = place.ann / opened
    found = place.bring(place.ann / given)
    assert (found.added, place.areas, place.labels) == (1, [AREA], ["cell"])
    assert place.project is not None
    (thing,) = place.project.objects.all()
    assert "val" not in place.project.images.get(thing.image_id).name


@pytest.mark.parametrize("opened", ["", "train", "train/images"])
@pytest.mark.parametrize("given", ["", "train", "train/labels"])
def test_yolo_as_roboflow_lays_it_out(tmp_path: Path, opened: str, given: str) -> None:
    place = Place(tmp_path)
    place.images = place.ann
    place.put("train/images/a.png", "valid/images/a.png")
    place.write("train/labels/a.txt", LINE)
    place.write("README.roboflow.txt", "Exported for you\n")
    place.write("data.yaml", "names: [cell]")
    place.images = place.ann / opened
    assert (place.bring(place.ann / given).added, place.areas) == (1, [AREA])


def test_label_files_that_fit_no_image_are_an_error(place: Place) -> None:
    place.write("data.yaml", "names: [cell]")
    place.write("labels/b.txt", LINE)
    with pytest.raises(DataError, match=r"no label file in .* fits an image"):
        place.bring()


def test_a_label_file_that_fits_two_images_is_left_out(place: Place) -> None:
    place.put("b.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(place.images / "b.jpg")
    place.write("classes.txt", "\ufeffcell\n")
    place.write("a.txt", f"{LINE} 0.91\n")
    place.write("b.txt", f"{LINE}\n{LINE}\n")
    found = place.bring()
    assert (found.added, found.left_out_count, place.labels) == (1, 2, ["cell"])
    assert "b.jpg and b.png both match" in str(found.left_out)


def voc(place: Place, objects: int, root: str = "annotation") -> None:
    things = "".join(f"<object><name>c{k}</name></object>" for k in range(1, objects + 1))
    place.write("Annotations/a.xml", f"<{root}><filename>a.png</filename>{things}</{root}>")


def test_voc_with_boxes_or_classes_only_says_what_is_missing(place: Place) -> None:
    voc(place, 2)
    found = place.bring()
    assert (found.added, found.left_out_count) == (0, 2)
    assert "only boxes" in found.left_out[0].why
    (place.ann / "SegmentationClass").mkdir()
    Image.new("P", (WIDTH, HEIGHT)).save(place.ann / "SegmentationClass" / "a.png")
    found = place.bring()
    assert (found.added, found.left_out_count) == (0, 2)
    assert "masks of classes" in found.left_out[0].why


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_voc_in_every_kind_of_image(place: Place, mode: str) -> None:
    voc(place, 3)
    values = rectangle(20, 10, 44, 30).astype(np.uint8)
    values[rectangle(2, 2, 12, 12)] = 2
    values[rectangle(50, 40, 52, 42)] = 4
    (place.ann / "SegmentationObject").mkdir()
    colours = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]
    image = Image.fromarray(values)
    if mode != "L":
        image.putpalette(colours)
    image.convert(mode).save(place.ann / "SegmentationObject" / "a.png")
    found = place.bring()
    assert (found.added, found.left_out_count, place.areas) == (2, 2, [AREA, 100])
    assert place.labels == ["c1", "c2"]


def test_voc_in_other_encodings_and_files_that_are_none(place: Place) -> None:
    (place.ann / "SegmentationObject").mkdir()
    mask = Image.fromarray(rectangle(20, 10, 44, 30).astype(np.uint8))
    for name in ("a", "b", "c"):
        place.put(f"{name}.png")
        mask.save(place.ann / "SegmentationObject" / f"{name}.png")
    (place.ann / "Annotations").mkdir()
    text = "<annotation><filename>{}.png</filename><object><name>细胞</name></object></annotation>"
    head = '<?xml version="1.0" encoding="{}"?>'
    for name, encoding in (("a", "gb18030"), ("b", "utf-16")):
        content = head.format(encoding) + text.format(name)
        (place.ann / "Annotations" / f"{name}.xml").write_bytes(content.encode(encoding))
    place.write("Annotations/c.xml", "<annotation><object>")
    place.write("Annotations/d.xml", "<project/>")
    place.write("Annotations/._a.xml", "\0\0")
    found = place.bring()
    assert (found.added, found.left_out_count, place.labels) == (2, 1, ["细胞"])
    assert "it is no VOC annotation" in str(found.left_out)


def shape(kind: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {"label": "cell", "shape_type": kind, "points": [list(p) for p in points], **more}


def labelme(*shapes: Any, **more: Any) -> dict[str, Any]:
    return {
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageHeight": 48,
        "imageWidth": 64,
    } | more


CORNERS = ((20, 10), (44, 10), (44, 30), (20, 30))


@pytest.mark.parametrize(
    "given",
    [
        shape("rectangle", (20, 10), (44, 30)),
        shape("rectangle", (44, 30), (20, 10)),
        shape("rectangle", *CORNERS),
        shape("rotation", *CORNERS, direction=0.0),
        shape("polygon", *CORNERS),
    ],
)
def test_labelme_shapes_with_the_same_pixels(place: Place, given: dict[str, Any]) -> None:
    place.write("a.json", "\ufeff" + json.dumps(labelme(given)))
    assert (place.bring().added, place.areas) == (1, [AREA])


@pytest.mark.parametrize(
    ("corner", "expected"),
    [((-4, 5), (0, 5, 8, 15)), ((60, 44), (60, 44, 64, 48)), ((3, -2), (3, 0, 15, 8))],
)
def test_labelme_masks_that_reach_outside(
    place: Place, corner: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    file = io.BytesIO()
    Image.new("L", (12, 10), 1).save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    place.write("a.json", labelme(shape("mask", corner, (0, 0), mask=encoded)))
    place.bring()
    assert place.project is not None
    np.testing.assert_array_equal(place.project.objects.all()[0].mask(), rectangle(*expected))


def test_labelme_shapes_that_are_none_are_left_out_one_by_one(place: Place) -> None:
    bad = [
        shape("polygon", (2, 2), (8, 2)),
        shape("line", (2, 2), (8, 2)),
        shape("rectangle", (2, 2), (8, 2), (8, 8)),
        shape("mask", (2, 2), mask="no image"),
        shape("polygon", (float("nan"), 2), (8, 2), (3, 9)),
        {"label": None, "points": []},
        {},
        7,
    ]
    place.write("a.json", labelme(*bad, shape("polygon", *CORNERS), imageHeight=None))
    place.write("b.json", "{")
    place.write("package.json", {"name": "something else"})
    found = place.bring()
    assert (found.added, found.left_out_count, place.areas) == (1, len(bad), [AREA])
    assert "no list 'shapes'" in str(found.left_out)


def test_a_folder_with_one_coco_file(place: Place) -> None:
    place.write("annotations/instances_default.json", coco({}))
    assert place.bring().added == 1
    place.write("annotations/other.json", coco({}))
    with pytest.raises(DataError, match="give one of them"):
        place.bring()


def test_an_archive_is_to_be_unpacked(place: Place) -> None:
    with zipfile.ZipFile(place.ann / "export.zip", "w") as archive:
        archive.writestr("ann.json", "{}")
    with pytest.raises(DataError, match="unpack it"):
        place.bring(place.ann / "export.zip")


@pytest.mark.parametrize(
    ("name", "content"), [("a.xml", "<annotation/>"), ("a.txt", LINE), ("a.json", labelme())]
)
def test_one_file_of_many_is_named_as_such(place: Place, name: str, content: Any) -> None:
    with pytest.raises(DataError, match="give the folder that holds"):
        place.bring(place.write(name, content))


def test_labels_come_in_the_order_of_the_file(place: Place) -> None:
    content: dict[str, Any] = coco({"category_id": 2}, {"segmentation": [SMALL]})
    content["categories"] = [{"id": k, "name": name} for k, name in enumerate("abc", 1)]
    place.bring(place.write("c.json", content))
    assert place.labels == ["a", "b"]


def test_one_bad_mask_never_takes_the_rest_along(place: Place) -> None:
    place.put("b.png", "c.png")
    mask = Image.fromarray(rectangle(20, 10, 44, 30).astype(np.uint8))
    mask.save(place.ann / "a.png")
    mask.resize((9, 9)).save(place.ann / "b.png")
    (place.ann / "c.png").write_bytes(b"\x89PNG")
    mask.save(place.ann / "elsewhere.png")
    found = place.bring()
    assert (found.added, found.left_out_count, place.areas) == (1, 3, [AREA])
    assert "no image in" in str(found.left_out)


def test_one_damaged_image_never_takes_the_rest_along(place: Place) -> None:
    place.put("b.png")
    (place.images / "b.png").write_bytes(b"\x89PNG")
    place.write("classes.txt", "cell")
    place.write("a.txt", LINE)
    place.write("b.txt", LINE)
    found = place.bring()
    assert (found.added, found.left_out_count, place.areas) == (1, 1, [AREA])


def test_one_broken_place_leaves_the_other_names_as_they_are(place: Place) -> None:
    content: dict[str, Any] = coco({}, {"category_id": 2, "segmentation": [SMALL]})
    content["categories"] = [{"id": 1, "name": "細胞"}, {"id": 2, "name": "?"}]
    path = place.write("c.json", json.dumps(content, ensure_ascii=False))
    path.write_bytes(path.read_bytes().replace(b'"?"', b'"x\xff"'))
    found = place.bring(path)
    assert (found.added, place.labels) == (2, ["細胞", "x\ufffd"])
    assert "1 places are not UTF-8" in found.left_out[0].why


def test_half_a_character_leaves_the_other_names_as_they_are(place: Place) -> None:
    content: dict[str, Any] = coco({}, {"category_id": 2, "segmentation": [SMALL]})
    content["categories"] = [{"id": 1, "name": "ü"}, {"id": 2, "name": "\ud800"}]
    path = place.write("c.json", "")
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    found = place.bring(path)
    assert (found.added, found.left_out_count, place.labels) == (1, 1, ["ü"])


def test_names_in_windows_code_are_read_and_said(place: Place) -> None:
    (place.ann / "classes.txt").write_bytes("Blöd".encode("cp1252"))
    place.write("a.txt", LINE)
    found = place.bring()
    assert (found.added, found.left_out_count, place.labels) == (1, 0, ["Blöd"])
    assert "read as Windows-1252" in found.left_out[0].why
