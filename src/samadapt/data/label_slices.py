"""Tracks as label images: in every slice each pixel has the number of its object, 0 for none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samadapt.data.masks import label_rles
from samadapt.data.rle import Rle
from samadapt.data.tracks import Track, Tracks
from samadapt.errors import DataError

Overlap = Literal["error", "smaller-on-top"]


def label_slice(
    tracks: Tracks, index: int, overlap: Overlap, kind: type[np.unsignedinteger[Any]]
) -> NDArray[Any]:
    """Numbers (H, W) of the objects in a slice.

    Raises:
        DataError: objects that overlap, unless the smaller may cover the larger; a number that
            does not fit.
    """
    if overlap not in ("error", "smaller-on-top"):
        raise DataError(f"overlap {overlap!r}: choose 'error' or 'smaller-on-top'")
    labels = np.zeros(tracks.size, kind)
    found = tracks.at(index)
    most = np.iinfo(kind).max
    for identity, rle in sorted(found.items(), key=lambda item: -item[1].area):
        if identity > most:
            raise DataError(f"object {identity}: this format numbers objects up to {most} only")
        x, y, width, height = rle.box
        if not width:
            continue
        part = rle.crop(x, y, x + width, y + height)
        place = labels[y : y + height, x : x + width]
        hidden = place[part & (place > 0)]
        if overlap == "error" and hidden.size:
            raise DataError(
                f"slice {index}: the objects {int(hidden[0])} and {identity} overlap, which labels "
                "cannot hold: write COCO, or let the smaller one cover the larger"
            )
        place[part] = identity
    return labels


def check_overlaps(tracks: Tracks, overlap: Overlap) -> None:
    """Check all slices before anything is written.

    Raises:
        DataError: as `label_slice`.
    """
    for index in range(tracks.length) if overlap == "error" else ():
        label_slice(tracks, index, overlap, np.uint32)


def smallest_kind(tracks: Tracks) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds all numbers: 16 or 32 bits."""
    most = max((track.id for track in tracks), default=0)
    return np.uint16 if most <= np.iinfo(np.uint16).max else np.uint32


def tracks_of_labels(
    slices: Iterable[tuple[int, Callable[[], NDArray[Any]]]],
    size: tuple[int, int],
    length: int,
    name: str,
) -> Tracks:
    """Tracks from label images; every number is one object.

    Args:
        slices: their positions, and functions that read them.
        size: (height, width).
        length: number of slices.
        name: for messages.

    Raises:
        DataError: fractions or negative numbers, or another size.
    """
    masks: dict[int, dict[int, Rle]] = {}
    for index, read in slices:
        labels = whole_labels(read(), f"{name}, slice {index}")
        if labels.shape != size:
            raise DataError(
                f"{name}, slice {index} is {labels.shape[1]} x {labels.shape[0]} pixels, not "
                f"{size[1]} x {size[0]}"
            )
        for value, rle in label_rles(labels).items():
            masks.setdefault(value, {})[index] = rle
    return Tracks(size, length, tuple(Track(value, found) for value, found in masks.items()))


def whole_labels(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Label values as whole numbers.

    Raises:
        DataError: colours, fractions or negative numbers.
    """
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise DataError(f"{name} has shape {values.shape}: save labels as one grey channel")
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
            raise DataError(f"{name} holds fractions: save whole numbers, one per object")
        values = values.astype(np.int64)
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.size and values.min() < 0:
        raise DataError(f"{name} holds negative numbers: use 0 for background")
    return values
