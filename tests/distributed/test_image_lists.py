"""Folders, lists and patterns of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import make_images
from moving import moving_disc, save_stack
from samadapt.distributed.images import ImageList
from samadapt.errors import DataError


def test_a_folder_a_list_and_a_pattern(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "all", 11)
    make_images(folder / "more", 1)
    found = ImageList.find(str(folder))
    assert found.root == folder
    assert found.names[:3] == ("img0.png", "img1.png", "img2.png")
    assert found.names[-2:] == ("img10.png", "more/img0.png")
    some = ImageList.find(str(folder / "img1*.png"))
    assert (some.root, some.names) == (folder, ("img1.png", "img10.png"))
    listed = tmp_path / "list.txt"
    listed.write_text("# these\n\nall/img3.png\nall/img2.png\nall/../all/img3.png\nall/gone.png\n")
    named = ImageList.find(str(listed))
    assert (named.root, named.names) == (folder, ("gone.png", "img2.png", "img3.png"))
    assert ImageList.find(str(folder / "img4.png")).names == ("img4.png",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "does not exist"),
        ("*.tif", "no file fits"),
        ("empty.txt", "names no image"),
        ("binary.txt", "no list of images"),
        (".", "no image in"),
    ],
)
def test_what_names_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=said):
        ImageList.find(given)


def test_patterns_leave_links_in_circles_and_hidden_files_alone(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "all", 2)
    make_images(folder / "more" / "deep", 1)
    for name in "abcdef":
        (folder / "more" / name).symlink_to(folder, target_is_directory=True)
    (folder / ".hidden.png").write_bytes(b"")
    names = ("img0.png", "img1.png", "more/deep/img0.png")
    for pattern in ("**/*.png", "**", "**/img*"):
        assert ImageList.find(str(folder / pattern)).names == names
    assert ImageList.find(str(folder / ".h*.png")).names == (".hidden.png",)
    with pytest.raises(DataError, match="is no pattern of files"):
        ImageList.find(str(folder / "a**.png"))


def test_slices_stand_in_the_place_of_a_file_with_several(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "all", 1)
    save_stack(folder / "volume.tif", moving_disc(2))
    save_stack(folder / "single.tif", moving_disc(1))
    listed = tmp_path / "list.txt"
    listed.write_text("all/volume.tif#z=1\nall/single.tif\nall/gone.tif\n")
    assert ImageList.find(str(folder)).with_slices().names == (
        *("img0.png", "single.tif", "volume.tif#z=0", "volume.tif#z=1"),
    )
    named = ImageList.find(str(listed))
    assert named.with_slices() == named
