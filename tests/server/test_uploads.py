"""Images handed over by other programs: whole, under a name that is free, or not at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from annotator import Annotator
from PIL import Image

from fakes import blobs

PATH = "/api/images"


def png(pixels: np.ndarray, level: int = 6) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=level)
    return out.getvalue()


def names(annotator: Annotator) -> list[str]:
    return sorted(path.name for path in annotator.folder.iterdir() if path.suffix != ".sqlite")


def test_an_uploaded_image_is_opened_and_clicked(annotator: Annotator) -> None:
    person = annotator.person()
    content = png(blobs(40, 56)[::-1])
    found = person.http.post(PATH, params={"name": "stack z3.png"}, content=content).json()
    assert (annotator.folder / "stack z3.png").read_bytes() == content
    assert person.post(f"/api/images/{found['id']}/open")["name"] == "stack z3.png"
    assert person.click(found["id"], 14, 12)["clicks"] == [[14, 12, 1]]


def test_the_same_picture_again_is_the_same_image(annotator: Annotator) -> None:
    http = annotator.person().http
    pixels = blobs(40, 56)[::-1]
    answers = [
        http.post(PATH, params={"name": "s.png"}, content=png(pixels, level)).json()
        for level in (1, 9)
    ]
    assert answers[0] == answers[1]


def test_another_picture_of_that_name_is_refused(annotator: Annotator) -> None:
    before = (annotator.folder / "a 1.png").read_bytes()
    http = annotator.person().http
    answer = http.post(PATH, params={"name": "a 1.png"}, content=png(blobs(40, 56)[::-1]))
    assert answer.status_code == 409
    assert "another picture called a 1.png" in answer.json()["error"]
    assert (annotator.folder / "a 1.png").read_bytes() == before


def test_sixteen_bits_are_kept(annotator: Annotator) -> None:
    out = io.BytesIO()
    values = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56) * 29
    tifffile.imwrite(out, values, compression="zlib")
    answer = annotator.person().http.post(PATH, params={"name": "z.tif"}, content=out.getvalue())
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(tifffile.imread(annotator.folder / "z.tif"), values)


@pytest.mark.parametrize("name", ["../out.png", "sub/x.png", ".hidden.png", "a\\b.png", "x.exe"])
def test_odd_names_are_refused(annotator: Annotator, name: str) -> None:
    before = names(annotator)
    answer = annotator.person().http.post(PATH, params={"name": name}, content=png(blobs()))
    assert answer.status_code == 422
    assert "is no name for an image" in answer.json()["error"]
    assert names(annotator) == before


@pytest.mark.parametrize("content", [b"", b"no image", png(blobs())[:-300]])
def test_what_is_no_whole_image_leaves_nothing_behind(annotator: Annotator, content: bytes) -> None:
    before = names(annotator)
    answer = annotator.person().http.post(PATH, params={"name": "x.png"}, content=content)
    assert answer.status_code == 422
    (line,) = answer.json()["error"].splitlines()
    assert "x.png" in line
    assert ".part" not in line
    assert names(annotator) == before
