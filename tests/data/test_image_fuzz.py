"""Damaged image files and brush masks: refused with a reason, or read; nothing else."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samadapt.data import pixels
from samadapt.data.images import image_size, read_image, read_values
from samadapt.data.label_studio import brush_to_mask, mask_to_brush
from samadapt.errors import DataError, ImageError

EXAMPLES = int(os.environ.get("SAMADAPT_FUZZ_EXAMPLES", "12"))
PHOTO = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)


def pillow(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, kind, **options)
    return file.getvalue()


def tiff(values: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "png": lambda: pillow("PNG"),
    "jpg": lambda: pillow("JPEG"),
    "gif": lambda: pillow("GIF"),
    "bmp": lambda: pillow("BMP"),
    "webp": lambda: pillow("WEBP"),
    "tif": lambda: pillow("TIFF", compression="tiff_lzw"),
    "deep.tif": lambda: tiff(PHOTO.astype(np.uint16), photometric="rgb"),
    "float.tif": lambda: tiff(PHOTO[..., 0].astype(np.float64), compression="zlib"),
    "bands.tif": lambda: tiff(np.dstack([PHOTO, PHOTO]), photometric="rgb", planarconfig="contig"),
}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_damaged_images(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(FILES[name]())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = Path(tmp_path_factory.getbasetemp(), f"damaged.{name}")
    path.write_bytes(content if data.draw(st.booleans()) else content[:cut])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "MAX_PIXELS", 1 << 20)  # so that no example takes gigabytes
        for read in (image_size, read_image, read_values):
            try:
                found = read(path)
            except ImageError:
                continue
            assert isinstance(found, tuple) or found.size


@settings(max_examples=4 * EXAMPLES)
@given(data=st.data())
def test_damaged_brush_masks(data: st.DataObject) -> None:
    mask = PHOTO[..., 0] > data.draw(st.integers(0, 255))
    rle = mask_to_brush(mask)
    assert np.array_equal(brush_to_mask(rle, mask.shape), mask)
    at = data.draw(st.integers(0, len(rle)))
    damaged = [*rle[:at], *data.draw(st.lists(st.integers(-1, 256), max_size=4)), *rle[at + 2 :]]
    try:
        assert brush_to_mask(damaged, mask.shape).shape == mask.shape
    except DataError:
        return
