"""Choice of the reader for a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from samadapt.data.images import list_images
from samadapt.data.stacks.source import Axis, SliceSource
from samadapt.errors import DataError, ImageError

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".gif")
VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz")
_TIFF_SUFFIXES = (".tif", ".tiff", ".lsm", ".stk", ".btf", ".tf8")


def open_source(
    path: Path, axis: Axis | None, at: Mapping[str, int], channels: Sequence[int] | None
) -> SliceSource:
    """Open the slices of a path.

    Raises:
        ImageError: nothing there, no stack, or a reader that is not installed.
    """
    name = path.name.lower()
    if not path.exists():
        raise ImageError(f"{path} does not exist: check the path of the stack")
    if is_zarr(path):
        from samadapt.data.stacks.zarr_slices import ZarrSlices

        return ZarrSlices(path, axis, at, channels)
    if path.is_dir():
        from samadapt.data.stacks.frames import FrameFiles

        try:
            files = list_images(path)
        except DataError as error:
            raise ImageError(str(error)) from None
        return FrameFiles(path, files, axis or "t")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is an empty file (0 bytes): copy or export the stack again")
    if name.endswith(VIDEO_SUFFIXES):
        from samadapt.data.stacks.video import VideoFrames

        return VideoFrames(path)
    if name.endswith(VOLUME_SUFFIXES):
        from samadapt.data.stacks.volumes import VolumeSlices

        return VolumeSlices(path, at)
    if name.endswith(_TIFF_SUFFIXES):
        from samadapt.data.stacks.tiff_slices import TiffSlices

        return TiffSlices(path, axis, at, channels)
    raise ImageError(
        f"{path} is no stack: give a TIFF with several pages, a folder of frames, a video, or an "
        "OME-zarr, NRRD or NIfTI volume"
    )


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    names = (".zgroup", ".zarray", "zarr.json", ".zattrs")
    return path.is_dir() and any((path / name).is_file() for name in names)
