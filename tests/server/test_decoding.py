"""Memory for decoding is promised before anything is decoded, and links lead nowhere."""

from __future__ import annotations

import os
import resource
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from annotator import Annotator
from PIL import Image

from fakes import blobs
from samadapt.data.images import decoding_bytes, read_image
from samadapt.errors import BusyError, ImageError
from samadapt.server import client_sessions
from samadapt.server.decoding import Decoder, decoding_budget


def claims(path: Path, width: int, height: int) -> None:
    """A small PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def saved(folder: Path, side: int) -> list[Path]:
    """An image of every kind that is read in a way of its own."""
    ramp = np.arange(side, dtype=np.uint16)[:, None, None]
    colour = np.broadcast_to((ramp // 8 + np.arange(3)) % 256, (side, side, 3)).astype(np.uint8)
    deep = colour.astype(np.uint16) * 257
    for name in ("a.png", "a.jpg", "a.bmp", "a.gif", "a.webp", "a.tif", "a.ppm"):
        Image.fromarray(colour).save(folder / name)
    Image.fromarray(colour).convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(colour[..., 0]).save(folder / "grey.png")
    Image.fromarray(colour).convert("P").save(folder / "palette.png", transparency=0)
    Image.fromarray(colour).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(deep[..., 0]).save(folder / "deep-grey.png")
    Image.fromarray(colour[..., 0].astype(np.float32)).save(folder / "float.tif")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(colour).save(folder / "turned.jpg", exif=turned)
    tifffile.imwrite(folder / "deep.tif", deep, photometric="rgb")
    tifffile.imwrite(folder / "double.tif", colour.astype(np.float64), photometric="rgb")
    import cv2

    cv2.imwrite(str(folder / "deep.png"), deep)
    return sorted(folder.iterdir())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures as Linux does")
def test_no_format_takes_more_than_its_header_promises(tmp_path: Path) -> None:
    side = 1000
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    for path in saved(tmp_path / "small", 8):
        read_image(path)  # loads the libraries, such as imagecodecs, which are no part of an image
    for path in saved(tmp_path / "large", side):
        promised = decoding_bytes(path)
        assert 12 * side * side <= promised <= 160 * side * side
        Path("/proc/self/clear_refs").write_text("5")
        before = _kilobytes("VmRSS")
        read_image(path)
        taken = (_kilobytes("VmHWM") - before) * 1024
        assert taken <= promised + (4 << 20), path.name


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


@pytest.mark.parametrize("suffix", ["png", "ppm", "bmp", "tif"])
def test_a_small_file_that_claims_to_be_large_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb.{suffix}"
    if suffix == "png":
        claims(path, 32_000, 32_000)
    elif suffix == "ppm":
        path.write_bytes(b"P6 32000 32000 255\n" + b"\0" * 100)
    elif suffix == "bmp":
        Image.new("RGB", (4, 4)).save(path)
        data = bytearray(path.read_bytes())
        data[18:26] = struct.pack("<ii", 32_000, 32_000)
        path.write_bytes(data)
    else:
        values = np.zeros((4, 4, 3), np.float64)
        tifffile.imwrite(path, values, photometric="rgb")
        data = bytearray(path.read_bytes())
        for tag in (256, 257):  # width and length
            at = data.index(struct.pack("<HH", tag, 4))
            data[at + 8 : at + 12] = struct.pack("<I", 32_000)
        path.write_bytes(data)
    decoder = Decoder(limit=1 << 30)
    refused = pytest.raises(ImageError, match=r"bomb\.\w+ takes \d+ MB .* cut it into tiles")
    with refused, decoder.reading(path):
        pass
    assert decoder.peak == 0


def test_images_wait_until_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(blobs()).save(path)
    needed = decoding_bytes(path)
    decoder = Decoder(limit=2 * needed)
    now, most, lock = 0, 0, threading.Lock()

    def read() -> None:
        nonlocal now, most
        with decoder.reading(path):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (now, most) == (0, 2)
    assert decoder.peak == 2 * needed


def test_a_failed_image_gives_its_room_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    claims(path, 50, 50)
    decoder = Decoder(limit=decoding_bytes(path))
    for _ in range(3):
        with pytest.raises(ImageError, match="truncated"), decoder.reading(path):
            pass


def test_the_budget_is_a_share_of_the_memory() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 << 29 <= decoding_budget() <= max(1 << 29, total // 4)


def test_an_image_too_large_for_the_annotator_leaves_its_neighbours_alone(
    annotator: Annotator,
) -> None:
    claims(annotator.folder / "a 3.png", 32_000, 32_000)
    annotator.workspace.decoder.limit = 1 << 28
    person = annotator.person()
    rows = {row[1]: row[0] for row in person.get("/api/images")["images"]}
    status, text = person.refused(f"/api/images/{rows['a 3.png']}/click", x=1, y=1)
    assert status == 422
    assert "cut it into tiles" in text
    assert person.http.get(f"/api/images/{rows['a 3.png']}/thumbnail").status_code == 422
    for name in ("a 2.png", "a 10.png"):
        assert person.post(f"/api/images/{rows[name]}/open")["name"] == name
        assert person.click(rows[name], 14, 12)["mask"]
    states = {row[1]: row[2] for row in person.get("/api/images")["images"]}
    assert states["a 3.png"] == "problem"


def test_without_descriptors_no_file_is_blamed(annotator: Annotator) -> None:
    path = annotator.folder / "a 1.png"
    person = annotator.person()
    person.get("/api/project")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(BusyError, match="not the file's fault"):
            read_image(path)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read_image(path).shape == (40, 56, 3)


def test_sessions_are_bounded_by_their_bytes(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = annotator.person()
    first, second, third, _ = annotator.ids()
    person.click(first, 14, 12)
    one = next(iter(annotator.workspace.sessions._open.values())).session.embedding.nbytes
    monkeypatch.setattr(client_sessions, "MOST_BYTES", 2 * one)
    person.click(second, 14, 12)
    annotator.person("tab-two").click(second, 14, 12)  # shares the embedding
    assert len(annotator.workspace.sessions._open) == 3
    person.click(third, 14, 12)
    assert len(annotator.workspace.sessions._open) == 3
    again = person.post(f"/api/images/{first}/open")["current"]
    assert len(again["clicks"]) == 1


@pytest.mark.parametrize("kind", ["out", "loop", "nowhere"])
def test_a_link_that_leads_away_leaves_its_neighbours_alone(
    annotator: Annotator, kind: str
) -> None:
    link = annotator.folder / "a 3.png"
    outside = annotator.folder.parent / "outside.png"
    Image.fromarray(blobs()).save(outside)
    link.symlink_to({"out": outside, "loop": link, "nowhere": annotator.folder / "gone.png"}[kind])
    person = annotator.person()
    rows = {row[1]: row[0] for row in person.get("/api/images")["images"]}
    for name in ("a 1.png", "a 2.png", "a 10.png"):
        assert person.post(f"/api/images/{rows[name]}/open")["name"] == name
        assert person.click(rows[name], 14, 12)["mask"]
    status, text = person.refused(f"/api/images/{rows['a 3.png']}/open")
    assert status in (404, 422)
    assert "a 3.png" in text
    if kind != "nowhere":  # the file may come back
        states = {row[1]: row[2] for row in person.get("/api/images")["images"]}
        assert states["a 3.png"] == "problem"
        after = person.get("/api/next", after=rows["a 2.png"], unfinished=True)
        assert after["image"] == rows["a 10.png"]
    link.unlink()
    Image.fromarray(blobs()).save(link)
    assert person.post(f"/api/images/{rows['a 3.png']}/open")["name"] == "a 3.png"
