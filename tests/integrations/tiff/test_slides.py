from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from samadapt.data.tiled import TiledImage

ABOUT = "Aperio Image Library v11\n640x480 [0,0 640x480] (256x256) JPEG/RGB|AppMag = 20|MPP = 0.5"


@pytest.mark.parametrize("codec", ["jpeg", "lzw", "jpeg2000", "zstd"])
def test_a_slide_of_an_aperio_scanner_is_read_in_windows(tmp_path: Path, codec: str) -> None:
    """Pages as in SVS files: the slide, a thumbnail in strips, a coarser level."""
    rows, columns = np.mgrid[:480, :640]
    image = np.stack([rows // 2, columns // 3, (rows + columns) // 5], axis=-1).astype(np.uint8)
    path = tmp_path / "a.svs"
    options = {"photometric": "rgb", "metadata": None, "compression": codec}
    with tifffile.TiffWriter(path) as writer:
        writer.write(image, tile=(256, 256), description=ABOUT, **options)
        writer.write(image[::8, ::8], description=ABOUT, photometric="rgb", metadata=None)
        writer.write(image[::4, ::4], tile=(256, 256), description=ABOUT, **options)
    with TiledImage.open(path, cache=tmp_path / "cache") as slide:
        assert slide.size == (480, 640)
        assert (120, 160) in slide.sizes
        found = slide.read(0, 200, 100, 500, 400).astype(int)
        assert np.abs(found - image[100:400, 200:500]).mean() < 3
