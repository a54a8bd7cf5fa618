"""COCO files: ids, extras and masks survive; everything broken is named."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage, NewObject, ObjectRef
from samadapt.data.rle import Rle
from samadapt.errors import DataError, ImageError

H, W = 6, 8
RING = np.zeros((H, W), bool)
RING[0:3, 0:3] = True
RING[1, 1] = False
TWO = np.zeros((H, W), bool)
TWO[4, 1:4] = TWO[2:6, 6] = True
BAR = np.zeros((H, W), bool)
BAR[0, :] = True


def document():
    return {
        "info": {"year": 2031},
        "licenses": [{"id": 3}],
        "images": [
            {"id": 7, "file_name": "b.png", "width": W, "height": H, "license": 3},
            {"id": 4, "file_name": "sub/a.png", "width": W, "height": H},
            {"id": 9, "file_name": "none.png", "width": W, "height": H},
        ],
        "annotations": [
            {
                "id": 20,
                "image_id": 7,
                "category_id": 5,
                "segmentation": Rle.from_mask(RING).to_coco(),
                "area": 9,
                "bbox": [0, 0, 3, 3],
                "iscrowd": 0,
                "score": 0.5,
            },
            {
                "id": 11,
                "image_id": 4,
                "category_id": 2,
                "segmentation": [[1, 4, 4, 4, 4, 5, 1, 5], [6, 2, 7, 2, 7, 6, 6, 6]],
            },
            {
                "id": 12,
                "image_id": 4,
                "category_id": 5,
                "segmentation": {"size": [H, W], "counts": Rle.from_mask(BAR).runs().tolist()},
                "iscrowd": 1,
            },
            {"id": 13, "image_id": 7, "category_id": 2, "bbox": [1, 1, 2, 2], "area": 4},
        ],
        "categories": [
            {"id": 5, "name": "ring", "supercategory": "thing"},
            {"id": 2, "name": "pair"},
        ],
    }


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    for name in ("b.png", "sub/a.png", "none.png"):
        Image.fromarray(np.full((H, W, 3), 50, np.uint8)).save(images / name)
    return images


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def changed(path: tuple[object, ...], value: object) -> dict[str, object]:
    """The document with one entry replaced, or removed when `value` is `...`."""
    content = document()
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


# -- reading ------------------------------------------------------------------------------


def test_records_and_masks_are_read(tmp_path, folder):
    dataset = CocoDataset.load(write(tmp_path, document()), folder)
    assert [image.id for image in dataset.images] == [7, 4, 9]
    assert [annotation.id for annotation in dataset.annotations] == [20, 11, 12, 13]
    assert [category.name for category in dataset.categories] == ["ring", "pair"]
    assert [a.id for a in dataset.annotations_of(4)] == [11, 12]
    assert dataset.annotations_of(9) == ()
    np.testing.assert_array_equal(dataset.mask(20), RING)
    np.testing.assert_array_equal(dataset.mask(11), TWO)
    np.testing.assert_array_equal(dataset.mask(12), BAR)
    assert dataset.annotation(12).iscrowd
    assert dataset.category(5).name == "ring"
    assert dataset.image_path(4) == folder / "sub" / "a.png"
    assert dataset.read_image(4).shape == (H, W, 3)
    dataset.check_images()
    dataset.check_masks()
    assert "3 images, 4 annotations, 2 categories" in repr(dataset)


def test_object_with_only_a_box(tmp_path):
    dataset = CocoDataset.load(write(tmp_path, document()))
    with pytest.raises(DataError, match="annotation 13 has no mask"):
        dataset.mask(13)


def test_ids_may_be_texts_and_whole_floats(tmp_path):
    content = document()
    content["images"][0]["id"] = "left"
    content["annotations"][0]["image_id"] = content["annotations"][3]["image_id"] = "left"
    content["images"][1]["id"] = 4.0
    content["images"][1]["width"] = float(W)
    dataset = CocoDataset.load(write(tmp_path, content))
    assert [image.id for image in dataset.images] == ["left", 4, 9]
    assert all(type(image.width) is int for image in dataset.images)
    np.testing.assert_array_equal(dataset.mask(20), RING)


def test_file_without_annotations_and_with_byte_order_mark(tmp_path):
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"images": []}).encode())
    assert CocoDataset.load(path).objects() == ()


# -- round trip ---------------------------------------------------------------------------


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_round_trip(tmp_path, folder, segmentation):
    dataset = CocoDataset.load(write(tmp_path, document()), folder)
    out = tmp_path / "out.json"
    dataset.save(out, segmentation=segmentation)
    again = CocoDataset.load(out, folder)
    assert again.images == dataset.images
    assert again.categories == dataset.categories
    assert again.extra == {"info": {"year": 2031}, "licenses": [{"id": 3}]}
    assert again.images[0].extra == {"license": 3}
    assert again.annotation(20).extra == {"score": 0.5}
    for annotation in dataset.annotations:
        other = again.annotation(annotation.id)
        assert (other.image_id, other.category_id) == (annotation.image_id, annotation.category_id)
        assert other.iscrowd == annotation.iscrowd
        if annotation.segmentation is not None:
            assert again.rle(annotation.id) == dataset.rle(annotation.id)
    assert again.annotation(13).bbox == (1, 1, 2, 2)
    again.save(tmp_path / "twice.json", segmentation=segmentation)
    assert (tmp_path / "twice.json").read_bytes() == out.read_bytes()


def test_saved_areas_and_boxes_are_true(tmp_path):
    out = tmp_path / "out.json"
    CocoDataset.load(write(tmp_path, document())).save(out)
    entries = {entry["id"]: entry for entry in json.loads(out.read_text())["annotations"]}
    # The file's own area of 9 counts the hole.
    assert (entries[20]["area"], entries[20]["bbox"]) == (8, [0, 0, 3, 3])
    assert (entries[11]["area"], entries[11]["bbox"]) == (7, [1, 2, 6, 4])
    assert entries[12]["iscrowd"] == 1
    assert (entries[13]["area"], entries[13]["segmentation"]) == (4, [])


def test_other_tools_read_the_same_masks(tmp_path, capsys):
    for segmentation in ("rle", "polygons"):
        out = tmp_path / f"{segmentation}.json"
        CocoDataset.load(write(tmp_path, document())).save(out, segmentation=segmentation)
        other = COCO(str(out))
        for identity, mask in ((20, RING), (11, TWO), (12, BAR)):
            np.testing.assert_array_equal(other.annToMask(other.anns[identity]), mask)
    assert isinstance(json.loads(out.read_text())["annotations"][0]["segmentation"], list)
    # COCO wants crowds as run lengths, whatever the rest is.
    assert "counts" in json.loads(out.read_text())["annotations"][2]["segmentation"]


def test_empty_mask_survives_as_run_lengths(tmp_path):
    empty = np.zeros((H, W), bool)
    dataset = CocoDataset((CocoImage(1, "a.png", W, H),)).with_objects([NewObject(1, "x", empty)])
    dataset.save(tmp_path / "e.json", segmentation="polygons")
    again = CocoDataset.load(tmp_path / "e.json")
    assert not again.mask(1).any()
    assert again.objects() == ()
    assert len(again.objects(min_area=0)) == 1


def test_failed_save_leaves_the_old_file(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    broken = CocoDataset.load(
        write(tmp_path, changed(("annotations", 0, "segmentation", "counts"), "zzz"))
    )
    with pytest.raises(DataError, match="annotation 20"):
        broken.save(out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.json", "out.json"]
    good = CocoDataset.load(write(tmp_path, document()))
    with pytest.raises(DataError, match="cannot be written"):
        good.save(tmp_path / "no" / "where.json")
    with pytest.raises(DataError, match="'rle' or 'polygons'"):
        good.save(out, segmentation="boxes")


def test_saved_file_has_ordinary_permissions(tmp_path):
    CocoDataset(()).save(tmp_path / "a.json")
    (tmp_path / "b.json").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


# -- adding -------------------------------------------------------------------------------


def test_added_objects_get_new_ids_and_keep_the_old(tmp_path):
    dataset = CocoDataset.load(write(tmp_path, document()))
    more = dataset.with_objects(
        [NewObject(9, "pair", TWO), NewObject(9, "new", RING, iscrowd=True, extra={"by": "me"})]
    )
    assert [a.id for a in more.annotations] == [20, 11, 12, 13, 21, 22]
    assert [c.id for c in more.categories] == [5, 2, 6]
    assert more.annotation(21).category_id == 2
    assert more.annotation(22).category_id == 6
    assert more.annotation(22).extra == {"by": "me"}
    assert more.annotation(22).iscrowd
    np.testing.assert_array_equal(more.mask(22), RING)
    assert [a.id for a in more.annotations_of(9)] == [21, 22]
    assert len(dataset.annotations) == 4


def test_object_of_the_wrong_size_or_image(tmp_path):
    dataset = CocoDataset.load(write(tmp_path, document()))
    with pytest.raises(DataError, match=r"shape \(8, 6\) for image 9"):
        dataset.with_objects([NewObject(9, "pair", TWO.T)])
    with pytest.raises(DataError, match="no image with the id 99"):
        dataset.with_objects([NewObject(99, "pair", TWO)])


# -- objects ------------------------------------------------------------------------------


def test_objects_and_their_filters(tmp_path):
    dataset = CocoDataset.load(write(tmp_path, document()))
    assert dataset.objects() == (ObjectRef(7, 20, "ring"), ObjectRef(4, 11, "pair"))
    assert [r.annotation_id for r in dataset.objects(crowd=True)] == [20, 11, 12]
    assert [r.annotation_id for r in dataset.objects(categories=["pair"])] == [11]
    assert [r.annotation_id for r in dataset.objects(min_area=8)] == [20]
    assert [r.annotation_id for r in dataset.objects(max_objects=1)] == [20]
    with pytest.raises(DataError, match="no category 'rings': it has pair, ring"):
        dataset.objects(categories=["rings"])
    with pytest.raises(DataError, match="list of names"):
        dataset.objects(categories="ring")
    with pytest.raises(DataError, match="at least one"):
        dataset.objects(max_objects=0)


def many(count: int) -> CocoDataset:
    images = tuple(CocoImage(i, f"{i}.png", W, H) for i in range(count))
    category = (CocoCategory(1, "x"),)
    broken = {"size": [H, W], "counts": "zzz"}
    annotations = tuple(
        CocoAnnotation(i, i, 1, Rle.from_mask(RING).to_coco() if i % 2 else broken)
        for i in range(count)
    )
    return CocoDataset(images, annotations, category)


def test_seeded_order():
    dataset = replace(many(50), annotations=tuple(a for a in many(50).annotations if a.id % 2))
    orders = [[r.image_id for r in dataset.objects(seed=seed)] for seed in (None, 0, 0, 1)]
    assert orders[1] == orders[2] != orders[3]
    assert orders[0] == sorted(orders[0]) != orders[1]
    assert sorted(orders[1]) == sorted(orders[3]) == orders[0]
    few = dataset.objects(seed=0, max_objects=5)
    assert few == dataset.objects(seed=0)[:5]


def test_masks_are_only_looked_at_when_needed():
    dataset = many(10)
    with pytest.raises(DataError, match="annotation 0 of"):
        dataset.objects()
    assert len(dataset.objects(min_area=0)) == 10
    assert dataset.mask(1).sum() == 8


# -- orientation and sizes ----------------------------------------------------------------


def turned_image(path: Path) -> None:
    """Stored (H, W), shown (W, H): EXIF orientation 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(path, exif=exif)


def single(width: int, height: int, segmentation: object) -> dict[str, object]:
    return {
        "images": [{"id": 1, "file_name": "t.jpg", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
        "categories": [{"id": 1, "name": "x"}],
    }


@pytest.mark.parametrize(("width", "height"), [(W, H), (H, W)])
def test_size_may_be_recorded_before_or_after_the_turn(tmp_path, width, height):
    turned_image(tmp_path / "t.jpg")
    upright = np.zeros((W, H), bool)
    upright[0:5, 1] = True
    path = write(tmp_path, single(width, height, Rle.from_mask(upright).to_coco()))
    dataset = CocoDataset.load(path, tmp_path)
    assert dataset.size(1) == (W, H)
    assert dataset.read_image(1).shape == (W, H, 3)
    dataset.check_images()
    np.testing.assert_array_equal(dataset.mask(1), upright)
    dataset.save(tmp_path / "again.json")
    record = json.loads((tmp_path / "again.json").read_text())["images"][0]
    assert (record["width"], record["height"]) == (H, W)


@pytest.mark.parametrize(
    "segmentation", [Rle.from_mask(RING).to_coco(), [[0, 0, 4, 0, 4, 4, 0, 4]]], ids=["rle", "poly"]
)
def test_masks_of_the_unturned_picture_are_refused_with_the_remedy(tmp_path, segmentation):
    turned_image(tmp_path / "t.jpg")
    dataset = CocoDataset.load(write(tmp_path, single(W, H, segmentation)), tmp_path)
    for check in (lambda: dataset.read_image(1), dataset.check_images):
        with pytest.raises(DataError, match=r"6 x 8 pixels as displayed.*remove the EXIF"):
            check()


def test_image_of_another_size(tmp_path, folder):
    content = document()
    for image in content["images"]:
        image["width"], image["height"] = 2 * W, 2 * H
    content["annotations"] = []
    dataset = CocoDataset.load(write(tmp_path, content), folder)
    with pytest.raises(DataError, match=r"image 7.*8 x 6 pixels.*16 x 12.*annotated"):
        dataset.check_images()
    with pytest.raises(DataError, match="image 4"):
        dataset.read_image(4)


def test_mask_of_another_size(tmp_path):
    big = Rle.from_mask(np.ones((2 * H, W), bool)).to_coco()
    dataset = CocoDataset.load(write(tmp_path, changed(("annotations", 0, "segmentation"), big)))
    with pytest.raises(DataError, match=r"data\.json: annotation 20 of b\.png: the mask is 8 x 12"):
        dataset.mask(20)


# -- bad input ----------------------------------------------------------------------------


def test_missing_and_damaged_images(tmp_path, folder):
    dataset = CocoDataset.load(write(tmp_path, document()), folder)
    (folder / "none.png").unlink()
    (folder / "b.png").write_bytes(b"no")
    for check in (lambda: dataset.read_image(9), lambda: dataset.image_path(9)):
        with pytest.raises(DataError, match=r"image 9 \(none\.png\) is not in"):
            check()
    with pytest.raises(ImageError, match=r"b\.png"):
        dataset.check_images()
    with pytest.raises(DataError, match="folder of the images"):
        CocoDataset.load(write(tmp_path, document())).image_path(7)
    with pytest.raises(DataError, match="not a folder"):
        CocoDataset.load(write(tmp_path, document()), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images",), ..., "not a COCO file"),
        (("images",), {}, "not a COCO file"),
        (("annotations",), {"a": 1}, "'annotations' is not a list"),
        (("images", 1), "x", "number 2 of 'images' is not an object"),
        (("images", 1, "id"), ..., "number 2 of 'images' has no 'id'"),
        (("images", 1, "id"), None, "neither|no whole number"),
        (("images", 1, "id"), True, "no whole number"),
        (("images", 1, "id"), 1.5, "no whole number"),
        (("images", 1, "id"), 7, "two image records have the id 7"),
        (("annotations", 1, "id"), 20, "two annotation records have the id 20"),
        (("categories", 1, "id"), 5, "two category records have the id 5"),
        (("annotations", 1, "image_id"), 99, "annotation 11 belongs to image 99"),
        (("annotations", 1, "category_id"), 99, "annotation 11 belongs to category 99"),
        (("annotations", 1, "category_id"), ..., "id 11 of 'annotations' has no 'category_id'"),
        (("images", 0, "width"), ..., "id 7 of 'images' has no 'width'"),
        (("images", 0, "width"), 0, "size 0 x 6"),
        (("images", 0, "width"), "8", "not a whole number"),
        (("images", 0, "width"), 8.5, "not a whole number"),
        (("images", 0, "width"), float("inf"), "not a whole number"),
        (("images", 0, "width"), float("nan"), "not a whole number"),
        (("images", 0, "width"), 10**400, "size 10"),
        (("images", 0, "file_name"), ..., "no 'file_name'"),
        (("images", 0, "file_name"), "", "not a text"),
        (("images", 0, "file_name"), None, "not a text"),
        (("images", 0, "file_name"), "/etc/passwd", "inside the image folder"),
        (("images", 0, "file_name"), "../b.png", "inside the image folder"),
        (("images", 0, "file_name"), "sub/../../b.png", "inside the image folder"),
        (("images", 0, "file_name"), "..\\b.png", "inside the image folder"),
        (("images", 0, "file_name"), "C:\\b.png", "inside the image folder"),
        (("images", 0, "file_name"), "..", "inside the image folder"),
        (("images", 0, "file_name"), "a\0.png", "inside the image folder"),
        (("categories", 0, "name"), ..., "id 5 of 'categories' has no 'name'"),
    ],
)
def test_records_that_contradict_each_other(tmp_path, path, value, message):
    file = write(tmp_path, changed(path, value))
    with pytest.raises(DataError, match=message) as caught:
        CocoDataset.load(file)
    text = str(caught.value)
    assert str(file) in text
    assert text.count(str(file)) == 1
    assert "\n" not in text


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [H, W], "counts": "zzz"}, "broken"),
        ({"size": [H, W], "counts": [1, 2]}, "add up to 3 pixels"),
        ({"size": [W, H], "counts": [48]}, "6 x 8 pixels but its image 8 x 6"),
        ({"size": "big", "counts": [48]}, "size"),
        ([[1, 2, 3, 4]], "at least 3 points"),
        ("text", "neither"),
    ],
)
def test_broken_masks_name_file_and_annotation(tmp_path, segmentation, message):
    # A second mask of the right size, so that the broken one cannot redefine the image's size.
    content = changed(("annotations", 3, "segmentation"), Rle.from_mask(TWO).to_coco())
    content["annotations"][0]["segmentation"] = segmentation
    dataset = CocoDataset.load(write(tmp_path, content))
    calls = (lambda: dataset.mask(20), dataset.check_masks, dataset.objects)
    for call in calls:
        with pytest.raises(DataError, match=rf"data\.json: annotation 20 of b\.png: .*{message}"):
            call()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a JSON file"),
        (b'{"images": [', "not a JSON file"),
        (b"\xff\xfe\x00", "not a JSON file"),
        (b"[" * 100000, "too deep inside each other"),
        (b"[]", "not a COCO file"),
        (b"3", "not a COCO file"),
    ],
)
def test_files_that_are_not_coco(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        CocoDataset.load(path)
    assert "x.json" in str(caught.value)


def test_missing_file_and_folder_as_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        CocoDataset.load(tmp_path / "no.json")
    with pytest.raises(DataError, match="cannot be read"):
        CocoDataset.load(tmp_path)


def test_unknown_ids():
    dataset = CocoDataset((), source="toy")
    for call in (dataset.image, dataset.annotation, dataset.category, dataset.size, dataset.mask):
        with pytest.raises(DataError, match=r"toy has no .* with the id 5"):
            call(5)


def test_windows_separators_lead_to_subfolders(tmp_path, folder):
    file = write(tmp_path, changed(("images", 1, "file_name"), "sub\\a.png"))
    assert CocoDataset.load(file, folder).image_path(4) == folder / "sub" / "a.png"


def test_a_name_that_is_no_text_leaves_the_file_readable(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xe2\x82\xac.png")
    image = CocoImage(1, name, 8, 6)
    CocoDataset((image,), (), (CocoCategory(1, "thing"),)).save(tmp_path / "a.json")
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert read["images"][0]["file_name"] == name
    assert CocoDataset.load(tmp_path / "a.json").images[0].file_name == name
