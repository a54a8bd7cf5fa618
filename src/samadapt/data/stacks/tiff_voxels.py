"""Voxel sizes as OME, ImageJ and plain TIFF files state them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from samadapt.data.stacks.voxels import VoxelSize, micrometres, seconds

_X, _Y, _UNIT = 282, 283, 296
_UNITS = {2: "inch", 3: "cm"}


def tiff_voxels(file: Any) -> VoxelSize:
    """Distances between slices, rows and columns of an open `tifffile.TiffFile`."""
    if file.is_ome:
        return ome_voxels(file.ome_metadata or "")
    meta = file.imagej_metadata or {}
    tags = file.pages.first.tags
    unit = str(meta.get("unit", "")) or _UNITS.get(_value(tags, _UNIT, 1), "")
    if not meta and unit == "inch":
        unit = ""  # a printer's resolution, as paint programs write it
    y, x = (_per_unit(_value(tags, tag, None)) for tag in (_Y, _X))
    interval = seconds(meta.get("finterval"), "s")
    return VoxelSize(
        micrometres(meta.get("spacing"), unit), micrometres(y, unit), micrometres(x, unit), interval
    )


def ome_voxels(text: str) -> VoxelSize:
    """Distances that OME-XML states for its first image."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (expat expands no external entities)
    except ElementTree.ParseError:
        return VoxelSize()
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return VoxelSize()
    z, y, x = (
        micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    )
    interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return VoxelSize(z, y, x, interval)


def _value(tags: Any, code: int, default: Any) -> Any:
    tag = tags.get(code)
    return default if tag is None else tag.value


def _per_unit(ratio: Any) -> float | None:
    """The distance of pixels of which a TIFF tag says how many there are per unit."""
    try:
        count, units = ratio
        return float(units) / float(count)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
