"""Which image a record means: by path, in any notation, never by chance."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from samadapt.data.matching import ImageNames, relative_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.png", "a.png"),
        ("sub\\a.png", "sub/a.png"),
        ("C:\\data\\a.png", "data/a.png"),
        ("\\\\server\\share\\a.png", "server/share/a.png"),
        ("/home/me/a.png", "home/me/a.png"),
        ("../img/./a.png", "img/a.png"),
        ("..", ""),
    ],
)
def test_a_path_of_any_system_becomes_one_below_the_folder(given: str, expected: str) -> None:
    assert relative_name(given) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("train/1.png", "train/1.png"),
        ("data\\train\\1.png", "train/1.png"),  # of the folder above
        ("D:\\data\\train\\1.png", "train/1.png"),
        ("2.png", "train/2.png"),  # a bare name, and one image has it
        ("1.png", None),  # two images have it
        ("test/1.png", None),  # a folder that is not here
        ("test/2.png", None),
        ("train/3.jpg", None),
        ("train/2", "train/2.png"),  # without suffix
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("", None),
        ("/", None),
    ],
)
def test_one_record(record: str, expected: str | None) -> None:
    names = ImageNames(["train/1.png", "train/2.png", "val/1.png", "cafe\u0301.png"], Path("/data"))
    assert names.find(record) == expected


def test_names_that_differ_only_in_normalisation_are_both_found() -> None:
    one, other = "é.png", unicodedata.normalize("NFD", "é.png")
    assert one != other
    assert ImageNames([one, other]).match([one, other]) == [one, other]


def test_the_folders_own_name_decides_between_records() -> None:
    records = ["train/1.png", "val/1.png"]
    assert ImageNames(["1.png"], Path("/data/train")).match(records) == ["1.png", None]
    assert ImageNames(["1.png"], Path("/data/val")).match(records) == [None, "1.png"]


def test_otherwise_the_folder_with_most_images_here_decides_then_the_first() -> None:
    records = ["val/1.png", "train/1.png", "train/2.png"]
    names = ImageNames(["1.png", "2.png"], Path("/img"))
    assert names.match(records) == [None, "1.png", "2.png"]
    assert "not used for 1.png" in names.why_not("val/1.png")
    assert names.match(["val/1.png", "train/1.png"]) == ["1.png", None]


def test_records_of_one_path_are_of_one_image() -> None:
    assert ImageNames(["a.png"]).match(["a.png", "x/../a.png", "./a.png"])[::2] == ["a.png"] * 2


def test_places_of_labels_tell_images_of_one_name_apart() -> None:
    names = ImageNames(["train/1.png", "val/1.png"], Path("/d/images"), ("images", "labels"))
    assert names.find("1", "/d/labels/train") == "train/1.png"
    assert names.find("val/1", "/d/labels") == "val/1.png"
    assert names.find("1", "/elsewhere") is None
    assert "train/1.png and val/1.png both match" in names.why_not("1", "/elsewhere")


def test_many_names_are_matched_quickly() -> None:
    names = [f"{n}.png" for n in range(20_000)]
    assert ImageNames(names).match([f"x/{name}" for name in names]) == names
