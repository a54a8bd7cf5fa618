"""OME-zarr (version 0.4) with an image and its labels; the extra `volumes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samadapt.data.label_slices import Overlap, label_slice, smallest_kind
from samadapt.data.stacks import Stack
from samadapt.data.stacks.opening import is_zarr
from samadapt.data.stacks.source import missing_package
from samadapt.data.tracks import Tracks
from samadapt.errors import ImageError

LABELS = "objects"
"""Name of the group of labels."""
_CHUNK = 1024
_VERSION = "0.4"


def write_label_zarr(folder: Path, tracks: Tracks, stack: Stack, overlap: Overlap) -> None:
    """Write the stack's slices and the objects' numbers into an empty folder.

    A slice that cannot be read is black.

    Raises:
        ImageError: zarr is not installed.
    """
    try:
        import zarr
    except ImportError:
        raise missing_package(str(folder), "an OME-zarr", "zarr", "volumes") from None
    root: Any = zarr.open_group(str(folder), mode="w", zarr_format=2)
    first = next((stack.values(i) for i in stack.usable[:1]), np.zeros(tracks.size, np.uint8))
    channels = first.shape[2] if first.ndim == 3 else 0
    shape = (tracks.length, *((channels,) if channels else ()), *tracks.size)
    image = _array(root, "0", shape, first.dtype)
    for index in stack.usable:
        try:
            values = stack.values(index)
        except ImageError:
            continue
        image[index] = np.moveaxis(values, 2, 0) if channels else values
    root.attrs["multiscales"] = [_scales(stack, Path(stack.name).stem, bool(channels))]
    labels: Any = root.create_group("labels")
    labels.attrs["labels"] = [LABELS]
    objects: Any = labels.create_group(LABELS)
    kind = smallest_kind(tracks)
    numbers = _array(objects, "0", (tracks.length, *tracks.size), np.dtype(kind))
    for index in range(tracks.length):
        numbers[index] = label_slice(tracks, index, overlap, kind)
    objects.attrs["multiscales"] = [_scales(stack, LABELS, False)]
    objects.attrs["image-label"] = {"version": _VERSION, "source": {"image": "../../"}}


def open_labels(path: Path) -> Stack:
    """The labels in an OME-zarr image, or else the file's own values."""
    inner = path / "labels" / LABELS
    if is_zarr(path) and not inner.is_dir():
        found = sorted(p for p in (path / "labels").glob("*") if is_zarr(p))
        inner = found[0] if found else path
    return Stack.open(inner if is_zarr(path) else path)


def _array(group: Any, name: str, shape: tuple[int, ...], kind: np.dtype[Any]) -> Any:
    chunks = (*(1,) * (len(shape) - 2), *(min(_CHUNK, side) for side in shape[-2:]))
    return group.create_array(
        name, shape=shape, dtype=kind, chunks=chunks, chunk_key_encoding=_slashes()
    )


def _slashes() -> dict[str, str]:
    return {"name": "v2", "separator": "/"}


def _scales(stack: Stack, name: str, channels: bool) -> dict[str, Any]:
    voxel = stack.voxel
    along: dict[str, Any] = {"name": stack.axis, "type": "space" if stack.axis == "z" else "time"}
    step = voxel.z if stack.axis == "z" else voxel.t
    if step is not None:
        along["unit"] = "micrometer" if stack.axis == "z" else "second"
    axes, scale = [along], [step or 1.0]
    if channels:
        axes.append({"name": "c", "type": "channel"})
        scale.append(1.0)
    for letter in ("y", "x"):
        value = getattr(voxel, letter)
        unit = {} if value is None else {"unit": "micrometer"}
        axes.append({"name": letter, "type": "space", **unit})
        scale.append(value or 1.0)
    transform = [{"type": "scale", "scale": scale}]
    return {
        "version": _VERSION,
        "name": name,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": transform}],
    }
