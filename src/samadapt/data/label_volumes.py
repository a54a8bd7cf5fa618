"""Label volumes: TIFF, OME-zarr, NRRD and NIfTI, with the voxel sizes of their stack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.files import new_folder, replacing
from samadapt.data.images import image_size, read_values
from samadapt.data.label_slices import (
    Overlap,
    check_overlaps,
    label_slice,
    smallest_kind,
    tracks_of_labels,
)
from samadapt.data.outputs import check_output
from samadapt.data.stacks import Stack
from samadapt.data.stacks.source import missing_package
from samadapt.data.tracks import Tracks
from samadapt.errors import DataError

SUFFIXES = (".tif", ".tiff", ".zarr", ".nrrd", ".nii", ".nii.gz")
"""Endings of label volumes."""
_MM = 1e-3


def save_label_volume(
    path: str | os.PathLike[str], tracks: Tracks, stack: Stack, overlap: Overlap = "error"
) -> None:
    """Write tracks as a label volume: each voxel has the number of its object, 0 for none.

    TIFF is OME-TIFF (napari, Fiji and QuPath read it); OME-zarr (version 0.4) holds the image and
    its labels, as napari's plugin opens them; NRRD and NIfTI keep the stack's position in the
    scanner if it has one. Slices are written one by one, except for NRRD and NIfTI.

    Args:
        path: ends in one of `SUFFIXES`; an OME-zarr is a new folder.
        tracks: of the stack.
        stack: has the voxel size.
        overlap: treatment of overlapping objects, which labels cannot hold.

    Raises:
        DataError: another ending, overlapping objects, or it cannot be written.
        ImageError: a package that is not installed.
    """
    path = Path(path)
    name = path.name.lower()
    check_overlaps(tracks, overlap)
    if name.endswith(".zarr"):
        from samadapt.data.label_zarr import write_label_zarr

        with new_folder(path) as folder:
            write_label_zarr(folder, tracks, stack, overlap)
        return
    writers = {
        (".tif", ".tiff"): _write_tiff,
        (".nrrd",): _write_nrrd,
        (".nii", ".nii.gz"): _write_nifti,
    }
    write = next((found for ends, found in writers.items() if name.endswith(ends)), None)
    if write is None:
        raise DataError(f"{path}: a label volume ends in {', '.join(SUFFIXES)}")
    if not name.endswith((".tif", ".tiff")):
        check_output(path)
    write(path, tracks, stack, overlap)


def load_label_volume(path: str | os.PathLike[str]) -> Tracks:
    """Read a label volume, or one label image; every number is one object.

    Raises:
        DataError: no label volume: fractions, negative numbers, colours.
        ImageError: damaged, or a package that is not installed.
    """
    from samadapt.data.label_zarr import open_labels

    path = Path(path)
    if path.is_file() and path.suffix.lower() in (".png", ".bmp", ".pgm"):
        return tracks_of_labels([(0, partial(read_values, path))], image_size(path), 1, str(path))
    with open_labels(path) as stack:
        readers = ((index, partial(stack.values, index)) for index in range(len(stack)))
        return tracks_of_labels(readers, stack.size, len(stack), str(path))


def _slices(tracks: Tracks, overlap: Overlap) -> Iterator[NDArray[Any]]:
    kind = smallest_kind(tracks)
    return (label_slice(tracks, index, overlap, kind) for index in range(tracks.length))


def _write_tiff(path: Path, tracks: Tracks, stack: Stack, overlap: Overlap) -> None:
    from tifffile import TiffWriter

    voxel = stack.voxel
    axes = "TYX" if stack.axis == "t" else "ZYX"
    meta: dict[str, Any] = {"axes": axes}
    for axis in "zyx":
        if (value := getattr(voxel, axis)) is not None:
            meta |= {f"PhysicalSize{axis.upper()}": value, f"PhysicalSize{axis.upper()}Unit": "µm"}
    if voxel.t is not None:
        meta |= {"TimeIncrement": voxel.t, "TimeIncrementUnit": "s"}
    with replacing(path) as file, TiffWriter(file, ome=True, bigtiff=True) as writer:
        writer.write(
            _slices(tracks, overlap),
            shape=(tracks.length, *tracks.size),
            dtype=smallest_kind(tracks),
            metadata=meta,
            photometric="minisblack",
            compression="zlib",
            software="samadapt",
        )


def _write_nifti(path: Path, tracks: Tracks, stack: Stack, overlap: Overlap) -> None:
    try:
        import nibabel
    except ImportError:
        raise missing_package(str(path), "a NIfTI volume", "nibabel", "volumes") from None
    z, y, x = stack.voxel.zyx
    affine = np.diag([x * _MM, y * _MM, z * _MM, 1.0]) if stack.affine is None else stack.affine
    image: Any = nibabel.Nifti1Image(_volume(tracks, overlap), affine)
    image.header.set_xyzt_units("mm", "sec")
    _through_file(path, image.to_filename)


def _write_nrrd(path: Path, tracks: Tracks, stack: Stack, overlap: Overlap) -> None:
    try:
        import nrrd
    except ImportError:
        raise missing_package(str(path), "an NRRD volume", "pynrrd", "volumes") from None
    z, y, x = stack.voxel.zyx
    affine = np.diag([x * _MM, y * _MM, z * _MM, 1.0]) if stack.affine is None else stack.affine
    header = {
        "space dimension": 3,
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
        "space units": ["mm", "mm", "mm"],
        "kinds": ["domain", "domain", "domain"],
    }
    volume = _volume(tracks, overlap)
    _through_file(path, lambda name: nrrd.write(name, volume, header))


def _volume(tracks: Tracks, overlap: Overlap) -> NDArray[Any]:
    """Labels (x, y, z), as NRRD and NIfTI order them."""
    return np.stack(list(_slices(tracks, overlap)), axis=-1).transpose(1, 0, 2)


def _through_file(path: Path, write: Any) -> None:
    """Let a package write a file by its name, completely or not at all."""
    ending = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    part = path.with_name(f".{path.name}.part{ending}")
    try:
        write(str(part))
        with replacing(path) as file, part.open("rb") as source:
            shutil.copyfileobj(source, file)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error})") from None
    finally:
        part.unlink(missing_ok=True)
