"""`Plane`: the slice of an image layer that is shown, and its pixels as a file to upload."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_samadapt.errors import SamadaptError

_LONGEST_NAME = 120


@dataclass(frozen=True)
class Plane:
    """One slice of an image layer.

    Attributes:
        layer: name of the image layer.
        index: index on each axis before rows and columns; empty for a 2D image.
    """

    layer: str
    index: tuple[int, ...]

    def file_name(self, suffix: str) -> str:
        """Return the plane's file name at the server: "cells_0012.png" for slice 12 of "cells"."""
        name = re.sub(r"[^\w.-]+", "_", self.layer).strip("._")[:_LONGEST_NAME] or "image"
        return "_".join([name, *(f"{place:04d}" for place in self.index)]) + suffix


def shown_plane(viewer: Any, layer: Any) -> Plane:
    """Return the plane of an image layer that a viewer shows.

    Raises:
        SamadaptError: the viewer shows 3D, or other axes than the last two in their order.
    """
    if viewer.dims.ndisplay != 2:
        raise SamadaptError("samadapt segments slices: leave the 3D view (Ctrl-Y)")
    displayed = [int(axis) for axis in viewer.dims.displayed]
    if displayed != [viewer.dims.ndim - 2, viewer.dims.ndim - 1]:
        raise SamadaptError("samadapt segments the last two axes: roll the axes back (Ctrl-E)")
    shape = spatial_shape(layer)
    place = layer.world_to_data(viewer.dims.point)[-len(shape) :]
    leading = [round(float(at)) for at in place[:-2]]
    index = tuple(min(max(at, 0), size - 1) for at, size in zip(leading, shape[:-2], strict=True))
    return Plane(layer.name, index)


def spatial_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape of an image layer at its finest scale, without the axis of colours."""
    shape = tuple(int(side) for side in _finest(layer).shape)
    return shape[:-1] if layer.rgb else shape


def plane_file(layer: Any, plane: Plane) -> tuple[str, bytes]:
    """Return the file name and the content of an image file with the pixels of a plane.

    The file is a PNG for 8 bits and a TIFF for more. Pixels are stored without loss, except that
    those of 64 bits become 32-bit floats.

    Raises:
        SamadaptError: the pixels are neither whole numbers nor floats.
    """
    pixels: NDArray[Any] = np.asarray(_finest(layer)[plane.index])
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind not in "uif":
        raise SamadaptError(f"{layer.name} has type {pixels.dtype}: give whole numbers or floats")
    out = io.BytesIO()
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(out, "PNG")
        return plane.file_name(".png"), out.getvalue()
    if pixels.dtype.itemsize == 8:  # more than the eye, or the server, tells apart
        pixels = pixels.astype(np.float32)
    kind = "rgb" if layer.rgb else "minisblack"
    tifffile.imwrite(out, pixels, photometric=kind, compression="zlib")
    return plane.file_name(".tif"), out.getvalue()


def _finest(layer: Any) -> Any:
    return layer.data[0] if layer.multiscale else layer.data
