"""Folders of mask images: what they hold is what comes out, and back."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.datasets import ObjectRef, open_dataset
from samadapt.data.masks import load_mask_folder, save_label_maps, save_object_masks
from samadapt.data.records import CocoCategory, CocoImage, NewObject
from samadapt.data.rle import Rle
from samadapt.errors import DataError

LABELS = np.array([[0, 1, 1, 0, 3], [2, 0, 0, 0, 3], [2, 2, 0, 3, 3]], np.uint8)
H, W = LABELS.shape


@pytest.fixture
def folders(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for name in ("img10.jpg", "img2.png"):
        Image.fromarray(np.full((H, W, 3), 90, np.uint8)).save(images / name)
    return images, masks


def put(path: Path, values: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def masks_of(dataset: CocoDataset, image_id: int) -> list[np.ndarray]:
    return [dataset.mask(annotation.id) for annotation in dataset.annotations_of(image_id)]


# -- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_label_map(folders, suffix):
    images, masks = folders
    put(masks / f"img2{suffix}", LABELS)
    dataset = load_mask_folder(images, masks, category="cell")
    assert [image.file_name for image in dataset.images] == ["img2.png", "img10.jpg"]
    assert dataset.annotations_of(2) == ()
    found = masks_of(dataset, 1)
    assert len(found) == 3
    for value, mask in enumerate(found, 1):
        np.testing.assert_array_equal(mask, value == LABELS)
    assert dataset.objects()[0] == ObjectRef(1, 1, "cell")
    assert dataset.image_path(1) == images / "img2.png"
    assert dataset.read_image(1).shape == (H, W, 3)


def test_16_bit_label_map_keeps_values_apart(folders):
    images, masks = folders
    values = LABELS.astype(np.uint16) * 20000
    values[values == 40000] = 20001
    put(masks / "img2.png", values)
    found = masks_of(load_mask_folder(images, masks), 1)
    np.testing.assert_array_equal(found[0], LABELS == 1)
    np.testing.assert_array_equal(found[1], LABELS == 2)


def test_palette_mask_counts_indices_not_colours(folders):
    images, masks = folders
    image = Image.fromarray(LABELS)
    image.putpalette([0, 0, 0] + [200, 10, 10] * 3)
    image.save(masks / "img2.png")
    assert len(masks_of(load_mask_folder(images, masks), 1)) == 3


def test_coloured_mask_has_one_object_per_colour(folders):
    images, masks = folders
    palette = np.array([[0, 0, 0], [0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)
    put(masks / "img2.png", palette[LABELS])
    found = masks_of(load_mask_folder(images, masks), 1)
    assert len(found) == 3
    for value, mask in enumerate(found, 1):
        np.testing.assert_array_equal(mask, value == LABELS)


@pytest.mark.parametrize(
    "values",
    [
        (LABELS > 0).astype(np.uint8) * 255,
        (LABELS > 0).astype(np.uint8),
        LABELS > 0,
        (LABELS > 0).astype(np.float32),
        np.repeat((LABELS > 0).astype(np.uint8)[:, :, None] * 255, 3, axis=2),
        np.dstack([(LABELS > 0).astype(np.uint8) * 255] * 3 + [np.full((H, W), 255, np.uint8)]),
    ],
    ids=["255", "1", "bool", "float", "rgb", "rgba"],
)
def test_binary_mask_is_one_object_in_whatever_form(folders, values):
    images, masks = folders
    put(masks / ("img2.tif" if values.dtype == np.float32 else "img2.png"), values)
    (found,) = masks_of(load_mask_folder(images, masks), 1)
    np.testing.assert_array_equal(found, LABELS > 0)


def test_binary_mask_may_be_split_into_its_parts(folders):
    images, masks = folders
    put(masks / "img2.png", (LABELS > 0).astype(np.uint8) * 255)
    put(masks / "img10.png", LABELS)
    dataset = load_mask_folder(images, masks, split=True)
    # 1 and 2 touch at a corner, so they are one part.
    found = sorted(masks_of(dataset, 1), key=np.sum)
    np.testing.assert_array_equal(found[0], LABELS == 3)
    np.testing.assert_array_equal(found[1], (LABELS == 1) | (LABELS == 2))
    assert len(masks_of(dataset, 2)) == 3


def test_one_file_per_object_keeps_overlaps(folders):
    images, masks = folders
    first, second = np.zeros((2, H, W), np.uint8)
    first[:2], second[1:] = 255, 1
    put(masks / "img2" / "b 10.png", second)
    put(masks / "img2" / "b 9.png", first)
    (masks / "img2" / "notes.txt").touch()
    found = masks_of(load_mask_folder(images, masks), 1)
    np.testing.assert_array_equal(found[0], first > 0)
    np.testing.assert_array_equal(found[1], second > 0)


def test_void_may_be_ignored(folders):
    images, masks = folders
    put(masks / "img2.png", np.where(LABELS == 3, 255, LABELS).astype(np.uint8))
    assert len(masks_of(load_mask_folder(images, masks, ignore=[255]), 1)) == 2


def test_empty_mask_is_an_image_without_objects(folders):
    images, masks = folders
    put(masks / "img2.png", np.zeros((H, W), np.uint8))
    dataset = load_mask_folder(images, masks)
    assert len(dataset.images) == 2
    assert dataset.annotations == ()


def test_subfolders_and_turned_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / "images" / "set" / "t.jpg", np.zeros((W, H, 3), np.uint8), exif=exif)
    put(tmp_path / "masks" / "set" / "t.png", LABELS)
    dataset = load_mask_folder(tmp_path / "images", tmp_path / "masks")
    assert dataset.images[0].file_name == "set/t.jpg"
    np.testing.assert_array_equal(dataset.mask(1), LABELS == 1)
    dataset.check_images()


@given(
    arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))
)
@settings(max_examples=50, deadline=None)
def test_any_label_map_round_trip(tmp_path_factory, labels):
    root = tmp_path_factory.mktemp("any")
    put(root / "images" / "a.png", np.zeros((*labels.shape, 3), np.uint8))
    put(root / "masks" / "a.png", labels)
    dataset = load_mask_folder(root / "images", root / "masks")
    values = [value for value in np.unique(labels) if value]
    assert len(dataset.annotations) == len(values)
    for annotation, value in zip(dataset.annotations, values, strict=True):
        np.testing.assert_array_equal(dataset.mask(annotation.id), labels == value)
    save_label_maps(dataset, root / "out")
    again = load_mask_folder(root / "images", root / "out")
    assert [again.rle(a.id) for a in again.annotations] == [
        dataset.rle(a.id) for a in dataset.annotations
    ]


# -- bad input ----------------------------------------------------------------------------


def soft() -> np.ndarray:
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(y - 30, x - 30)
    return np.clip((20 - distance) * 120, 0, 255).astype(np.uint8)


def test_smoothed_binary_mask_is_not_taken_for_many_objects(tmp_path):
    put(tmp_path / "images" / "a.png", np.zeros((60, 60, 3), np.uint8))
    put(tmp_path / "masks" / "a.png", soft())
    with pytest.raises(DataError, match=r"a\.png has .* smoothed binary mask"):
        load_mask_folder(tmp_path / "images", tmp_path / "masks")
    shutil.rmtree(tmp_path / "masks")
    put(tmp_path / "masks" / "a" / "1.png", soft())
    with pytest.raises(DataError, match=r"1\.png has .* stands for one object"):
        load_mask_folder(tmp_path / "images", tmp_path / "masks")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (LABELS.T, r"3 x 5 pixels but its image 5 x 3"),
        (LABELS / np.float32(2), "fractions"),
        (-LABELS.astype(np.float32), "negative"),
        (np.full((H, W), np.nan, np.float32), "NaN"),
    ],
)
def test_masks_that_cannot_be_used(folders, values, message):
    images, masks = folders
    put(masks / "img2.tif", np.ascontiguousarray(values))
    with pytest.raises(DataError, match=message) as caught:
        load_mask_folder(images, masks)
    assert "img2.tif" in str(caught.value)


def test_truncated_mask(folders):
    images, masks = folders
    put(masks / "img2.png", np.random.default_rng(0).integers(0, 9, (H, W), dtype=np.uint8))
    data = (masks / "img2.png").read_bytes()
    (masks / "img2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"the mask .*img2\.png"):
        load_mask_folder(images, masks)


def test_folders_that_do_not_fit(folders):
    images, masks = folders
    put(masks / "img3.png", LABELS)
    with pytest.raises(DataError, match=r"name the mask of img2\.png img2\.png"):
        load_mask_folder(images, masks)
    with pytest.raises(DataError, match="their own folder"):
        load_mask_folder(images, images)
    with pytest.raises(DataError, match="not a folder"):
        load_mask_folder(images, masks / "no")
    with pytest.raises(DataError, match="not a folder"):
        load_mask_folder(images / "no", masks)


def test_two_claims_on_one_mask(folders):
    images, masks = folders
    put(masks / "img2.png", LABELS)
    put(masks / "img2.tif", LABELS)
    with pytest.raises(DataError, match="masks of the same image"):
        load_mask_folder(images, masks)
    (masks / "img2.tif").unlink()
    put(masks / "img2" / "1.png", LABELS)
    with pytest.raises(DataError, match="masks of the same image"):
        load_mask_folder(images, masks)
    shutil.copy(images / "img2.png", images / "img2.bmp")
    with pytest.raises(DataError, match="share one mask"):
        load_mask_folder(images, masks)


# -- writing ------------------------------------------------------------------------------


def dataset_of(*masks: np.ndarray, crowd: bool = False) -> CocoDataset:
    dataset = CocoDataset(
        (CocoImage("i", "sub/a.b.jpg", W, H), CocoImage("j", "empty.jpg", W, H)),
        categories=(CocoCategory(4, "nucleus"),),
    )
    return dataset.with_objects(NewObject("i", "nucleus", mask, crowd) for mask in masks)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "objects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_label_maps_are_16_bit_and_explained(tmp_path):
    save_label_maps(dataset_of(LABELS == 3, LABELS == 1), tmp_path / "out")
    with Image.open(tmp_path / "out" / "sub" / "a.b.png") as image:
        assert image.mode.startswith("I;16")
        values = np.array(image)
    np.testing.assert_array_equal(values, 1 * (LABELS == 3) + 2 * (LABELS == 1))
    with Image.open(tmp_path / "out" / "empty.png") as image:
        assert not np.array(image).any()
    assert rows(tmp_path / "out")[1] == {
        "mask": "sub/a.b.png",
        "value": "2",
        "image": "sub/a.b.jpg",
        "annotation_id": "2",
        "category": "nucleus",
    }


def test_overlaps_are_an_error_or_decided_by_size(tmp_path):
    small, large = np.zeros((2, H, W), bool)
    large[:, :4] = small[1, 3:5] = True
    for masks in ((small, large), (large, small)):
        dataset = dataset_of(*masks)
        with pytest.raises(DataError, match=r"sub/a\.b\.jpg: the annotations . and . overlap"):
            save_label_maps(dataset, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
        save_label_maps(dataset, tmp_path / "out", overlap="smaller-on-top")
        with Image.open(tmp_path / "out" / "sub" / "a.b.png") as image:
            values = np.array(image)
        order = [m is small for m in masks]
        np.testing.assert_array_equal(values == 1 + order.index(True), small)
        np.testing.assert_array_equal(values == 1 + order.index(False), large & ~small)
        shutil.rmtree(tmp_path / "out")
    with pytest.raises(DataError, match="'error' or 'smaller-on-top'"):
        save_label_maps(dataset_of(small), tmp_path / "out", overlap="later")


def test_object_masks_keep_overlaps(tmp_path):
    full = np.ones((H, W), bool)
    dataset = dataset_of(full, LABELS == 2)
    save_object_masks(dataset, tmp_path / "out")
    for row, annotation in zip(rows(tmp_path / "out"), dataset.annotations, strict=True):
        with Image.open(tmp_path / "out" / row["mask"]) as image:
            values = np.array(image)
        np.testing.assert_array_equal(values, np.where(dataset.mask(annotation.id), 255, 0))
    put(tmp_path / "images" / "sub" / "a.b.jpg", np.zeros((H, W, 3), np.uint8))
    again = load_mask_folder(tmp_path / "images", tmp_path / "out")
    assert [again.rle(a.id) for a in again.annotations] == [
        dataset.rle(a.id) for a in dataset.annotations
    ]


def test_crowds_are_no_objects(tmp_path):
    save_object_masks(dataset_of(LABELS == 1, crowd=True), tmp_path / "out")
    assert rows(tmp_path / "out") == []


def test_nothing_is_written_over_or_left_half_done(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    save_label_maps(dataset_of(LABELS == 1), out)
    with pytest.raises(DataError, match="not an empty folder"):
        save_label_maps(dataset_of(LABELS == 1), out)
    with pytest.raises(DataError, match="not an empty folder"):
        save_object_masks(dataset_of(LABELS == 1), out / "objects.csv")
    with pytest.raises(DataError, match="cannot be written"):
        save_object_masks(dataset_of(LABELS == 1), tmp_path / "no" / "where")
    broken = CocoDataset(
        (CocoImage(1, "a.jpg", W, H), CocoImage(2, "a.png", W, H)),
    )
    with pytest.raises(DataError, match="share one mask"):
        save_label_maps(broken, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# -- one way to open any dataset ----------------------------------------------------------


def test_open_dataset_takes_json_and_folders(folders, tmp_path):
    images, masks = folders
    put(masks / "img2.png", LABELS)
    from_masks = open_dataset(images, masks)
    from_masks.save(tmp_path / "all.json")
    from_json = open_dataset(str(images), str(tmp_path / "all.json"))
    assert from_masks.objects() == from_json.objects()
    for ref in from_json.objects():
        np.testing.assert_array_equal(
            from_json.mask(ref.annotation_id), from_masks.mask(ref.annotation_id)
        )
        assert from_json.image_path(ref.image_id) == images / "img2.png"
    assert isinstance(from_json.rle(1), Rle)


def test_open_dataset_with_nothing_there(folders):
    images, masks = folders
    with pytest.raises(DataError, match="COCO JSON file or a folder of masks"):
        open_dataset(images, masks / "no.json")
