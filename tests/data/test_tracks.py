from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from samadapt.data.ctc import load_ctc, save_ctc
from samadapt.data.frames_out import save_frames
from samadapt.data.import_issues import ImportIssues
from samadapt.data.label_volumes import load_label_volume, save_label_volume
from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack, VoxelSize
from samadapt.data.tracks import Track, Tracks
from samadapt.data.tracks_coco import load_tracks_coco, save_tracks_coco, voxel_size_of
from samadapt.errors import DataError

SIZE = (12, 16)


def square(x: int, y: int, side: int = 3) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.fixture
def stack() -> Stack:
    voxel = VoxelSize(2.5, 0.5, 0.25)
    return Stack.from_array(np.zeros((6, *SIZE), np.uint8), voxel=voxel, name="cells.tif")


@pytest.fixture
def tracks() -> Tracks:
    """A cell that splits in two, and one with a gap."""
    empty = Tracks(SIZE, 6)
    mother = empty.add({0: square(1, 1), 1: square(2, 1), 2: square(3, 1)}, "cell")
    daughters = mother.add({3: square(1, 1)}, "cell", 1).add({3: square(5, 1)}, "cell", 1)
    return daughters.add({0: square(10, 7), 1: square(10, 7), 4: square(11, 7)})


def pixels(tracks: Tracks) -> dict[int, dict[int, bytes]]:
    return {t.id: {i: m.counts for i, m in t.masks.items()} for t in tracks}


# -- operations ---------------------------------------------------------------------------


def test_split_merge_and_end() -> None:
    one = Tracks(SIZE, 4).add({i: square(i, 0) for i in range(4)}, "cell")
    split = one.split(1, 2)
    assert [(t.id, t.slices, t.parent, t.label) for t in split] == [
        (1, (0, 1), None, "cell"),
        (2, (2, 3), 1, "cell"),
    ]
    assert pixels(split.merge(1, 2)) == pixels(one)
    assert split.end(2, 2)[2].slices == (2,)
    assert [t.parent for t in split.remove(1)] == [None]
    both = Tracks(SIZE, 2).add({0: square(0, 0)}).add({0: square(2, 2), 1: square(0, 0)})
    merged = both.merge(2, 1)
    np.testing.assert_array_equal(merged[2].masks[0].mask(), square(0, 0) | square(2, 2))
    assert len(both) == 2  # unchanged


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.split(1, 0), "cannot be split"),
        (lambda t: t.split(1, 5), "cannot be split"),
        (lambda t: t.merge(1, 1), "itself"),
        (lambda t: t[9], "no track 9"),
        (lambda t: t.end(2, 1), "begins after"),
        (lambda t: t.put(1, {9: square(0, 0)}), "the stack has 6"),
        (lambda t: t.put(1, {1: np.zeros((3, 3), np.bool_)}), "3 x 3 pixels"),
        (lambda t: Tracks(SIZE, 6, (*t.tracks, Track(1, {}))), "same id"),
        (lambda t: Tracks(SIZE, 6, (Track(1, {}, None, 7),)), "parent 7"),
    ],
)
def test_changes_that_make_no_sense(tracks: Tracks, change, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=text):
        change(tracks)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=10, unique=True), st.integers(0, 10))
def test_split_then_merge_is_the_same_object(slices: list[int], at: int) -> None:
    one = Tracks(SIZE, 10).add({index: square(index, 0) for index in slices})
    if min(slices) < at <= max(slices):
        split = one.split(1, at)
        assert {i for t in split for i in t.slices} == set(slices)
        assert pixels(split.merge(1, 2)) == pixels(one)


# -- COCO ---------------------------------------------------------------------------------


def test_coco_and_back(tmp_path: Path, tracks: Tracks, stack: Stack) -> None:
    save_tracks_coco(tmp_path / "a.json", tracks, stack)
    found = load_tracks_coco(tmp_path / "a.json", stack)
    assert found == tracks
    assert voxel_size_of(tmp_path / "a.json") == stack.voxel
    document = json.loads((tmp_path / "a.json").read_text())
    first = document["annotations"][0]
    assert (first["track_id"], first["attributes"]["track_id"]) == (1, 1)
    assert document["images"][3]["file_name"] == "cells_0003.png"
    assert document["images"][3]["frame_id"] == 3
    left_out = save_frames(stack, tmp_path / "frames")
    assert left_out == ()
    names = {path.name for path in (tmp_path / "frames").iterdir()}
    assert names == {image["file_name"] for image in document["images"]}


@pytest.mark.parametrize("where", ["track_id", "instance_id", "attributes"])
def test_coco_of_other_tools(tmp_path: Path, where: str) -> None:
    box = [1, 1, 4, 1, 4, 4, 1, 4]
    document = {
        "images": [
            {"id": k, "file_name": f"f{n}.png", "width": 16, "height": 12}
            for k, n in ((7, 10), (8, 9))
        ],
        "annotations": [
            {"id": k, "image_id": image, "category_id": 1, "segmentation": [box]}
            | ({where: 5} if where != "attributes" else {"attributes": {"track_id": 5}})
            for k, image in ((1, 7), (2, 8))
        ],
        "categories": [{"id": 1, "name": "cell"}],
    }
    del document["annotations"][1][where]  # type: ignore[index]
    (tmp_path / "a.json").write_text(json.dumps(document))
    found = load_tracks_coco(tmp_path / "a.json")
    assert [(t.id, t.slices, t.label) for t in found] == [(5, (1,), "cell"), (6, (0,), "cell")]


def test_coco_of_another_stack_is_refused(tmp_path: Path, tracks: Tracks, stack: Stack) -> None:
    save_tracks_coco(tmp_path / "a.json", tracks, stack)
    short = Stack.from_array(np.zeros((2, *SIZE), np.uint8))
    with pytest.raises(DataError, match="give the stack that it belongs to"):
        load_tracks_coco(tmp_path / "a.json", short)
    other = Stack.from_array(np.zeros((6, 5, 5), np.uint8))
    with pytest.raises(DataError, match="other sizes"):
        load_tracks_coco(tmp_path / "a.json", other)


# -- labels -------------------------------------------------------------------------------


def test_a_label_tiff_is_what_tifffile_reads(tmp_path: Path, tracks: Tracks, stack: Stack) -> None:
    save_label_volume(tmp_path / "a.tif", tracks, stack)
    values = tifffile.imread(tmp_path / "a.tif")
    expected = np.zeros((6, *SIZE), np.uint16)
    for track in tracks:
        for index, rle in track.masks.items():
            expected[index][rle.mask()] = track.id
    np.testing.assert_array_equal(values, expected)
    with Stack.open(tmp_path / "a.tif") as again:
        assert again.voxel == stack.voxel
    assert pixels(load_label_volume(tmp_path / "a.tif")) == pixels(tracks)


def test_overlaps_are_refused_before_anything_is_written(tmp_path: Path, stack: Stack) -> None:
    both = Tracks(SIZE, 6).add({2: square(1, 1, 5)}).add({2: square(2, 2, 2)})
    with pytest.raises(DataError, match="slice 2: the objects 1 and 2 overlap"):
        save_label_volume(tmp_path / "a.tif", both, stack)
    with pytest.raises(DataError, match="overlap"):
        save_ctc(tmp_path / "ctc", both)
    assert not list(tmp_path.iterdir())
    save_label_volume(tmp_path / "a.tif", both, stack, "smaller-on-top")
    assert tifffile.imread(tmp_path / "a.tif")[2][2, 2] == 2


def test_labels_that_are_none(tmp_path: Path, tracks: Tracks, stack: Stack) -> None:
    half, less = np.full((2, 4, 4), 0.5, np.float32), np.full((2, 4, 4), -1, np.int16)
    tifffile.imwrite(tmp_path / "half.tif", half, photometric="minisblack")
    tifffile.imwrite(tmp_path / "less.tif", less, photometric="minisblack")
    for name, text in {"half.tif": "fractions", "less.tif": "negative"}.items():
        with pytest.raises(DataError, match=text):
            load_label_volume(tmp_path / name)
    with pytest.raises(DataError, match="ends in"):
        save_label_volume(tmp_path / "a.png", tracks, stack)


# -- Cell Tracking Challenge ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "table", "image"),
    [
        ("reference", "man_track.txt", "man_track000.tif"),
        ("result", "res_track.txt", "mask000.tif"),
    ],
)
def test_ctc_follows_the_rules_of_the_format(
    tmp_path: Path, tracks: Tracks, kind: str, table: str, image: str
) -> None:
    save_ctc(tmp_path / "TRA", tracks, kind)  # type: ignore[arg-type]
    rows = [line.split() for line in (tmp_path / "TRA" / table).read_text().splitlines()]
    by_label = {int(r[0]): tuple(map(int, r[1:])) for r in rows}
    # The gap of object 4 makes a new label that comes from it.
    assert by_label == {1: (0, 2, 0), 2: (3, 3, 1), 3: (3, 3, 1), 4: (0, 1, 0), 5: (4, 4, 4)}
    assert tifffile.imread(tmp_path / "TRA" / image).dtype == np.uint16
    for label, (first, last, _) in by_label.items():
        seen = [
            index
            for index, path in enumerate(sorted((tmp_path / "TRA").glob("*.tif")))
            if (tifffile.imread(path) == label).any()
        ]
        assert seen == list(range(first, last + 1))
    found = load_ctc(tmp_path / "TRA")
    assert found.length == 6
    assert {t.id: t.parent for t in found} == {1: None, 2: 1, 3: 1, 4: None, 5: 4}
    assert found[3].masks[3] == tracks[3].masks[3]


def test_ctc_names_what_does_not_agree(tmp_path: Path, tracks: Tracks) -> None:
    folder = tmp_path / "TRA"
    save_ctc(folder, tracks)
    (folder / "man_track.txt").write_text("1 0 5 0\n2 3 3 1\nx\n9 0 1 0\n4 0 1 0\n4 0 1 0\n5 4 4 4")
    (folder / "man_track002.tif").unlink()
    (folder / "man_track004.tif").write_bytes(b"no")
    findings = ImportIssues()
    load_ctc(folder, findings)
    text = "\n".join(str(one) for one in findings.left_out)
    for part in (
        "give four whole numbers",
        "label 4 has a line already",
        "frame 2 is missing",
        "man_track004.tif",
        "label 9 is in no image",
        "label 3 of the images has no line",
        "label 1 is said to be in frames 0 to 5, the images have it in 0 to 1",
    ):
        assert part in text
    with pytest.raises(DataError, match="neither"):
        load_ctc(tmp_path)


def test_huge_masks_go_out_as_parts(tmp_path: Path) -> None:
    """No dense mask of 400 megapixels: their boxes alone are decoded."""
    size = (20_000, 20_000)
    rle = Rle.from_crops([(np.ones((50, 60), np.bool_), 19_000, 15_000)], size)
    tracks = Tracks(size, 1).add({0: rle})
    stack = Stack.from_array(np.broadcast_to(np.zeros(1, np.uint8), (1, *size)))
    save_tracks_coco(tmp_path / "a.json", tracks, stack)
    assert load_tracks_coco(tmp_path / "a.json", stack) == tracks
