from __future__ import annotations

import logging
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from samadapt.data.tiled import TiledImage
from samadapt.data.tiled.image import is_huge
from samadapt.errors import ImageError


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


def write_pyramid(path: Path, image: NDArray[np.uint8], levels: int) -> None:
    """An OME-TIFF with coarser levels as SubIFDs, as bioformats writes them."""
    with tifffile.TiffWriter(path, ome=True) as writer:
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
        writer.write(image, subifds=levels, metadata={"PhysicalSizeX": 0.25}, **options)
        for level in range(1, levels + 1):
            writer.write(image[:: 2**level, :: 2**level], subfiletype=1, **options)


def test_windows_are_the_pixels_of_the_level(tmp_path: Path) -> None:
    image = noise(300, 210)
    write_pyramid(tmp_path / "a.ome.tif", image, 2)
    with TiledImage.open(tmp_path / "a.ome.tif", cache=tmp_path) as tiled:
        assert tiled.sizes == ((300, 210), (150, 105), (75, 53))
        assert tiled.voxel.x == 0.25
        for level, (x0, y0, x1, y1) in [(0, (60, 5, 200, 140)), (1, (0, 60, 105, 150))]:
            expected = image[:: 2**level, :: 2**level][y0:y1, x0:x1]
            np.testing.assert_array_equal(tiled.read(level, x0, y0, x1, y1), expected)
        assert tiled.view((0, 0, 210, 300), 75).shape == (75, 52, 3)
        np.testing.assert_array_equal(tiled.view((10, 20, 40, 60), 500), image[20:60, 10:40])
    assert not list(tmp_path.glob("*/level*"))


@pytest.mark.parametrize("name", ["flat.png", "strips.tif", "planar.tif", "white.tif"])
def test_files_of_other_layouts_read_alike(tmp_path: Path, name: str) -> None:
    image = noise(90, 120)
    path, expected = tmp_path / name, image
    if name == "flat.png":
        Image.fromarray(image).save(path)
    elif name == "strips.tif":
        tifffile.imwrite(path, image, rowsperstrip=7, photometric="rgb")
    elif name == "planar.tif":
        planes = np.moveaxis(image, 2, 0)
        tifffile.imwrite(path, planes, tile=(32, 48), photometric="rgb", planarconfig="separate")
    else:
        tifffile.imwrite(path, image[..., 0], tile=(32, 32), photometric="miniswhite")
        expected = np.repeat(255 - image[..., :1], 3, axis=2)
    with TiledImage.open(path, cache=tmp_path / "cache") as tiled:
        np.testing.assert_array_equal(tiled.read(0, 15, 30, 110, 85), expected[30:85, 15:110])


def test_a_flat_file_is_tiled_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    for grey in (10, 200):
        Image.new("L", (30, 20 + grey), grey).save(path)
        for _ in range(2):
            with TiledImage.open(path, cache=cache) as tiled:
                assert tiled.read(0, 0, 0, 30, 20).mean() == grey
    assert len(list(cache.iterdir())) == 2


def test_missing_levels_are_made_of_means(tmp_path: Path) -> None:
    image = np.zeros((3001, 2200), np.uint16)
    image[:, 1::2] = 400
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(256, 256))
    with TiledImage.open(tmp_path / "a.tif", cache=tmp_path / "cache") as tiled:
        assert tiled.sizes == ((3001, 2200), (1501, 1100))
        source, level = tiled._sources[1]
        np.testing.assert_array_equal(source.read(level, 0, 0, 1100, 1501), 200)
        assert set(np.unique(tiled.read(0, 0, 0, 8, 8))) == {0, 255}


def test_a_damaged_tile_costs_only_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(200, 200), tile=(64, 64), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages.first.dataoffsets[5]
    data = bytearray(path.read_bytes())
    data[offset : offset + 20] = bytes(20)
    path.write_bytes(data)
    with TiledImage.open(path, cache=tmp_path / "cache") as tiled:
        assert tiled.read(0, 0, 0, 64, 64).any()
        with pytest.raises(ImageError, match=r"level 0, tile 5 cannot be decoded"):
            tiled.read(0, 64, 64, 128, 128)


def test_a_file_that_ends_early_is_named_and_tifffile_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest listens at the root, where otherwise nobody does.
    monkeypatch.setattr(logging.getLogger("tifffile"), "propagate", False)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2, 4):
            image = noise(400, 400)[::step, ::step]
            kind = {"photometric": "rgb", "subfiletype": int(step > 1), "metadata": None}
            writer.write(image, tile=(64, 64), **kind)
    whole = path.read_bytes()
    for size in range(len(whole) // 4, len(whole), len(whole) // 9):
        path.write_bytes(whole[:size])
        with TiledImage.open(path, cache=tmp_path / "cache") as tiled:
            assert tiled.read(0, 0, 0, 64, 64).any()
            said = [str(finding) for finding in tiled.findings]
            assert any("truncated" in text or "level" in text for text in said), size
            with suppress(ImageError):
                tiled.read(0, 0, 0, 400, 400)
    assert capfd.readouterr().err == ""


def test_a_damaged_level_is_left_out_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write_pyramid(path, noise(200, 200), 1)
    path.write_bytes(path.read_bytes()[:-2000])
    with tifffile.TiffFile(path) as file:
        assert len(file.series[0].levels) == 2
    with TiledImage.open(path, cache=tmp_path / "cache") as tiled:
        (finding,) = tiled.findings
        assert str(finding) == f"{path}, level 1: damaged, it is left out"
        assert tiled.view((0, 0, 200, 200), 100).shape == (100, 100, 3)


@pytest.mark.parametrize("window", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 31, 5)])
def test_a_window_must_lie_inside(tmp_path: Path, window: tuple[int, int, int, int]) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    with TiledImage.open(tmp_path / "a.png", cache=tmp_path) as tiled:
        with pytest.raises(ImageError, match="window"):
            tiled.read(0, *window)
        with pytest.raises(ImageError, match="window"):
            tiled.view(window, 10)


_FLAT = """
import resource, sys
from samadapt.data.tiled import TiledImage
from samadapt.data.tiled.image import is_huge
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert is_huge(sys.argv[1])
with TiledImage.open(sys.argv[1], cache=sys.argv[2]) as tiled:
    assert tiled.size == (20000, 20000)
    assert tiled.view((0, 0, 20000, 20000), 800).shape == (800, 800, 3)
    assert tiled.read(0, 9900, 9900, 10900, 10900).any()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) // 1024)
"""


def test_memory_stays_flat_on_400_million_pixels(tmp_path: Path) -> None:
    """A sparse file: of 400 megapixels only one tile has bytes."""
    path, side = tmp_path / "huge.tif", 20_000
    white = np.full((1024, 1024), 255, np.uint8)
    count = -(-side // 1024)
    middle = (count // 2) * count + count // 2 - 1

    def tiles() -> Iterator[bytes]:
        for index in range(count * count):
            yield zlib.compress(white.tobytes()) if index == middle else b""

    options = {"shape": (side, side), "dtype": np.uint8, "tile": (1024, 1024)}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(tiles(), compression="zlib", subifds=1, **options)
        small = {**options, "shape": (1250, 1250)}
        writer.write((b"" for _ in range(4)), compression="zlib", subfiletype=1, **small)
    arguments = [sys.executable, "-c", _FLAT, str(path), str(tmp_path / "cache")]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    assert int(out.stdout) < 300  # MiB; as RGB the image has 1144


def test_what_is_huge(tmp_path: Path) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    assert not is_huge(tmp_path / "a.png")
