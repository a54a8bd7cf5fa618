"""Zarr stores, OME-zarr above all: levels, axes and voxel sizes (needs the extra `volumes`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samadapt.data.import_issues import ImportIssues, LeftOut
from samadapt.data.pixels import damaged
from samadapt.data.stacks.source import missing_package
from samadapt.data.stacks.voxels import VoxelSize, micrometres, seconds
from samadapt.errors import ImageError

_PLAIN_AXES = "tczyx"


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """A multiscale image.

    Attributes:
        levels: arrays, the finest first.
        axes: one lower-case letter for each axis; the last two are y and x.
        voxel: distances on the finest level.
        left_out: levels that cannot be used.
    """

    levels: tuple[Any, ...] = field(repr=False)
    axes: str
    voxel: VoxelSize
    left_out: tuple[LeftOut, ...] = ()


def open_zarr(path: Path) -> ZarrImage:
    """Open a zarr store: an OME-zarr image (0.4 or 0.5), or a plain array of 2 to 5 axes.

    Raises:
        ImageError: damaged, no image, or zarr is not installed.
    """
    try:
        import zarr
    except ImportError:
        raise missing_package(str(path), "a zarr store", "zarr", "volumes") from None
    try:
        node: Any = zarr.open(str(path), mode="r")
        attributes = dict(node.attrs)
    except Exception as error:  # zarr raises whatever the broken files provoke
        raise damaged(str(path), error) from None
    if hasattr(node, "shape"):
        axes = _PLAIN_AXES[-len(node.shape) :]
        if not 2 <= len(node.shape) <= len(_PLAIN_AXES):
            raise ImageError(f"{path} is an array of shape {node.shape}: give 2 to 5 axes")
        if len(node.shape) == 3:
            axes = "zyx"
        return ZarrImage((node,), axes, VoxelSize())
    scales = (attributes.get("ome") or attributes).get("multiscales")
    if not scales:
        raise ImageError(
            f"{path} is a zarr group without a multiscale image: give the OME-zarr folder itself"
        )
    try:
        return _multiscale(path, node, scales[0])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise damaged(str(path), error) from None


def _multiscale(path: Path, node: Any, scale: Any) -> ZarrImage:
    named = [axis if isinstance(axis, dict) else {"name": axis} for axis in scale["axes"]]
    axes = "".join(str(axis["name"])[0].lower() for axis in named)
    if axes[-2:] != "yx":
        raise ImageError(f"{path} has the axes {axes}: the last two must be y and x")
    findings = ImportIssues()
    levels: list[Any] = []
    for dataset in scale["datasets"]:
        try:
            level: Any = node[dataset["path"]]
            if len(level.shape) != len(axes):
                raise ImageError(f"it has {len(level.shape)} axes, not {len(axes)}")
        except Exception as error:  # as above
            if not levels:
                raise damaged(f"{path}, level {dataset['path']}", error) from None
            findings.leave_out(f"{path}, level {dataset['path']}", f"cannot be read ({error})", 0)
            continue
        levels.append(level)
    steps = [1.0] * len(axes)
    for transform in scale["datasets"][0].get("coordinateTransformations", ()):
        if transform.get("type") == "scale":
            steps = [float(value) for value in transform["scale"]]
    found: dict[str, float | None] = {}
    for axis, letter, step in zip(named, axes, steps, strict=True):
        unit = axis.get("unit")
        found[letter] = (seconds if letter == "t" else micrometres)(step, unit)
    voxel = VoxelSize(found.get("z"), found.get("y"), found.get("x"), found.get("t"))
    return ZarrImage(tuple(levels), axes, voxel, findings.left_out)
