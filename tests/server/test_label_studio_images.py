from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import blobs
from samadapt.errors import DataError, ImageError
from samadapt.server.label_studio_images import ImageFinder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    Image.fromarray(blobs()).save(place / "a.png")
    Image.fromarray(blobs()).save(tmp_path / "outside.png")
    return place


@pytest.mark.parametrize(
    "address",
    [
        "a.png",
        "/a.png",
        "/data/upload/3/1f2e3d4c-a.png",
        "/data/local-files/?d=a.png",
    ],
)
def test_images_are_found_under_label_studios_names(folder: Path, address: str) -> None:
    finder = ImageFinder(folder, None, None)
    with finder.pixels(finder.find(address)) as pixels:
        assert np.array_equal(pixels, blobs())


@pytest.mark.parametrize(
    "way", ["../{}", "/data/local-files/?d=../{}", "{folder}/../{}", "link-{}"]
)
def test_nothing_outside_the_folder_can_be_told_from_nothing(folder: Path, way: str) -> None:
    (folder / "link-outside.png").symlink_to(folder.parent / "outside.png")
    (folder / "link-nowhere.png").symlink_to(folder.parent / "nowhere.png")
    finder = ImageFinder(folder, None, None)
    told = []
    for name in ("outside.png", "nowhere.png"):
        with pytest.raises(DataError) as caught:
            finder.find(way.format(name, folder=folder))
        told.append(str(caught.value).replace(name, "NAME"))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "address",
    [
        "data:image/png;base64,AAAA",
        "x" * 300,
        "x" * 5000,
        "http://[::1",
        "http://[fe80::1%25eth0]/b.png",
        "//[",
        "a\0.png",
        "a\n.png",
        "\ud800.png",
        "",
        ".",
        "/",
        "?d=",
        "?d=%00",
        "%ed%a0%80",
        "file:///etc/passwd",
    ],
)
def test_odd_addresses_are_refused_in_one_line(folder: Path, address: str) -> None:
    for finder in (
        ImageFinder(folder, None, None),
        ImageFinder(folder, "http://127.0.0.1:1", None),
    ):
        with pytest.raises(DataError) as caught:
            finder.find(address)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 700


def test_a_replaced_file_is_noticed(folder: Path) -> None:
    finder = ImageFinder(folder, None, None)
    before = finder.find("a.png")
    assert finder.find("a.png") == before
    Image.fromarray(255 - blobs()).save(folder / "a.png")
    os.utime(folder / "a.png", ns=(1, 1))
    after = finder.find("a.png")
    assert after.stamp != before.stamp
    with finder.pixels(after) as pixels:
        assert np.array_equal(pixels, 255 - blobs())


class Studio(BaseHTTPRequestHandler):
    """Serves one picture, with an entity tag unless told otherwise."""

    picture, tag, sent = b"", "", 0

    def do_GET(self) -> None:
        kind = type(self)
        if kind.tag and self.headers["if-none-match"] == kind.tag:
            self.send_response(304)
            self.end_headers()
            return
        kind.sent += 1
        self.send_response(200)
        if kind.tag:
            self.send_header("etag", kind.tag)
        self.send_header("content-length", str(len(kind.picture)))
        self.end_headers()
        self.wfile.write(kind.picture)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Studio) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("tag", ['"one"', ""])
def test_a_picture_replaced_at_label_studio_is_noticed(url: str, tag: str) -> None:
    Studio.picture, Studio.tag, Studio.sent = png(blobs()), tag, 0
    finder = ImageFinder(None, url, None)
    before = finder.find("/a.png")
    again = finder.find("/a.png")
    assert again.stamp == before.stamp
    assert Studio.sent == (1 if tag else 2)
    with finder.pixels(again) as pixels:  # its bytes have to be fetched again
        assert np.array_equal(pixels, blobs())
    Studio.picture, Studio.tag = png(255 - blobs()), tag and '"two"'
    after = finder.find("/a.png")
    assert after.stamp != before.stamp
    with finder.pixels(after) as pixels:
        assert np.array_equal(pixels, 255 - blobs())


def test_what_is_no_picture_is_named(url: str) -> None:
    Studio.picture, Studio.tag = b"<html>", ""
    finder = ImageFinder(None, url, None)
    refused = pytest.raises(ImageError, match=r"^/a\.png is not an image")
    with refused, finder.pixels(finder.find("/a.png")):
        pass


def test_an_image_of_the_same_name_in_another_folder_is_another_image(tmp_path: Path) -> None:
    train = tmp_path / "data" / "train"
    train.mkdir(parents=True)
    for name in ("1.png", "copy-1.png"):
        Image.new("RGB", (56, 40)).save(train / name)
    finder = ImageFinder(train, None, None)
    for right in ("/data/local-files/?d=train/1.png", "/data/local-files/?d=data/train/1.png"):
        assert finder.find(right).path == train / "1.png"
    for wrong in (
        "/data/local-files/?d=val/1.png",
        "/data/local-files/?d=other/train/1.png",
        "/data/local-files/?d=other-1.png",
        "/data/upload/3/other-1.png",
        "http://example.com/val/1.png",
    ):
        with pytest.raises(DataError, match="not in the folder of images"):
            finder.find(wrong)
