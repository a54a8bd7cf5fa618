"""Slices of image layers as files: every number kept, the right slice, a name that tells which."""

from __future__ import annotations

import io
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from napari_samadapt.errors import SamadaptError
from napari_samadapt.planes import Plane, plane_file, shown_plane, spatial_shape
from PIL import Image as PillowImage


def read(name: str, content: bytes) -> np.ndarray:
    if name.endswith(".tif"):
        return tifffile.imread(io.BytesIO(content))
    return np.asarray(PillowImage.open(io.BytesIO(content)))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "float32"])
def test_every_number_is_kept(kind: str) -> None:
    values = (np.arange(4 * 6 * 7).reshape(4, 6, 7) % 120).astype(kind)
    name, content = plane_file(Image(values, name="a b/c"), Plane("a b/c", (2,)))
    assert name == "a_b_c_0002" + (".png" if kind == "uint8" else ".tif")
    found = read(name, content)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, values[2])


def test_bool_colours_dask_and_pyramids() -> None:
    mask = np.eye(5, dtype=bool)
    np.testing.assert_array_equal(read(*plane_file(Image(mask), Plane("m", ()))), mask * 255)
    colours = np.random.default_rng(0).integers(0, 255, (3, 5, 6, 3), dtype=np.uint8)
    layer = Image(colours, rgb=True)
    assert spatial_shape(layer) == (3, 5, 6)
    np.testing.assert_array_equal(read(*plane_file(layer, Plane("c", (1,)))), colours[1])
    lazy = Image(dask.array.from_array(colours[..., 0]))
    np.testing.assert_array_equal(read(*plane_file(lazy, Plane("d", (2,)))), colours[2, ..., 0])
    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    pyramid = Image([grey, grey[::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(read(*plane_file(pyramid, Plane("p", ()))), grey)


def test_complex_numbers_are_refused() -> None:
    layer: Any = type(
        "Layer", (), {"data": np.zeros((3, 3), complex), "multiscale": False, "name": "phase"}
    )
    with pytest.raises(SamadaptError, match="phase has type complex128"):
        plane_file(layer, Plane("phase", ()))


def test_the_shown_slice_of_a_scaled_and_moved_stack() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((5, 8, 9)), name="s", scale=(2, 1, 1), translate=(10, 0, 0))
    viewer.dims.set_point(0, 16)
    assert shown_plane(viewer, layer) == Plane("s", (3,))


def test_a_flat_image_among_stacks() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 8, 9)))
    flat = viewer.add_image(np.zeros((8, 9)), name="flat")
    viewer.dims.set_current_step(0, 4)
    assert shown_plane(viewer, flat) == Plane("flat", ())
