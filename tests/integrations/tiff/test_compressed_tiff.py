"""TIFF files with compressions that tifffile leaves to imagecodecs."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from samadapt.data.images import image_size, read_image
from samadapt.data.tiff import read_deep_tiff
from samadapt.errors import ImageError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 65536, (24, 36, 3), dtype=np.uint16)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:240:24j, 0:250:36j], 90), axis=2)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits", "lerc", "lzma"])
@pytest.mark.parametrize("predictor", [False, True])
def test_numbers_survive_every_lossless_compression(
    tmp_path: Path, compression: str, predictor: bool
) -> None:
    if predictor and compression in ("lerc", "packbits"):
        pytest.skip("no predictor with this compression")
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "compression": compression, "predictor": predictor}
    tifffile.imwrite(path, COLOUR, **options)
    np.testing.assert_array_equal(read_deep_tiff(path), COLOUR)
    assert image_size(path) == (24, 36)
    shown = read_image(path)
    tifffile.imwrite(path, COLOUR, photometric="rgb")
    np.testing.assert_array_equal(shown, read_image(path))


@pytest.mark.parametrize("compression", ["jpeg", "webp", "jpeg2000", "lzw"])
@pytest.mark.parametrize("tiled", [False, True])
def test_pictures_of_eight_bits(tmp_path: Path, compression: str, tiled: bool) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"tile": (16, 16)} if tiled else {}
    picture = SMOOTH.astype(np.uint8)
    tifffile.imwrite(path, picture, photometric="rgb", compression=compression, **options)
    found = read_image(path).astype(int)
    assert found.shape == picture.shape
    assert abs(found - picture).mean() < 4, "what little a lossy compression changes"


@pytest.fixture
def without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra."""
    original = builtins.__import__

    def refusing(name: str, *rest: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "imagecodecs":
            raise ImportError("No module named 'imagecodecs'")
        return original(name, *rest, **options)

    for name in [n for n in sys.modules if n.split(".")[0] in ("imagecodecs", "tifffile")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refusing)


@pytest.mark.parametrize(
    ("picture", "compression"),
    [(COLOUR, "lzw"), (SMOOTH.astype(np.uint8), "webp"), (SMOOTH.astype(np.uint8), "jpeg2000")],
)
def test_without_the_extra_its_name_is_said(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    picture: NDArray[Any],
    compression: str,
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", compression=compression)
    request.getfixturevalue("without_imagecodecs")
    with pytest.raises(ImageError, match=r"samadapt\[tiff\]") as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
