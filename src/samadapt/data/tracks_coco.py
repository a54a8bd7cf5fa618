"""Tracks in COCO files: every slice is an image, every mask an annotation with its track's id.

The writer adds the fields for readers of TAO, COCO-VID and CVAT; the reader uses `track_id`,
`instance_id` or `attributes.track_id`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.images import natural_key
from samadapt.data.import_issues import ImportIssues
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage, Id
from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack, VoxelSize
from samadapt.data.tracks import Track, Tracks
from samadapt.errors import DataError

UNNAMED = "object"
"""Category of objects without a label."""
_VOXELS = ("z", "y", "x", "t")


def save_tracks_coco(
    path: str | os.PathLike[str], tracks: Tracks, stack: Stack, images: str = ""
) -> None:
    """Write tracks as one COCO file.

    Args:
        path: the file.
        tracks: of the stack.
        stack: names its slices: the files of a folder of frames, otherwise NAME_0000.png and so
            on, as `save_frames` writes them.
        images: folder of the frames, used as a prefix of their names.

    Raises:
        DataError: it cannot be written.
    """
    names = sorted({track.label or UNNAMED for track in tracks})
    categories = tuple(CocoCategory(k, name) for k, name in enumerate(names, 1))
    numbers = {name: k for k, name in enumerate(names, 1)}
    height, width = tracks.size
    records = tuple(
        CocoImage(
            index + 1,
            f"{images}/{stack.file_name(index)}" if images else stack.file_name(index),
            width,
            height,
            {"video_id": 1, "frame_id": index, "frame_index": index},
        )
        for index in range(tracks.length)
    )
    annotations: list[CocoAnnotation] = []
    for index in range(tracks.length):
        for identity, rle in tracks.at(index).items():
            category = numbers[tracks[identity].label or UNNAMED]
            extra = {
                "track_id": identity,
                "instance_id": identity,
                "video_id": 1,
                "attributes": {"track_id": identity},
            }
            annotations.append(
                CocoAnnotation(len(annotations) + 1, index + 1, category, rle, extra=extra)
            )
    video = video_record(1, Path(stack.name).name, stack)
    described = [
        {
            "id": track.id,
            "category_id": numbers[track.label or UNNAMED],
            "video_id": 1,
            "parent_id": track.parent,
        }
        for track in tracks
    ]
    CocoDataset(
        records, tuple(annotations), categories, extra={"videos": [video], "tracks": described}
    ).save(path)


def video_record(number: int, name: str, stack: Stack) -> dict[str, Any]:
    """The record of a stack in the "videos" of a COCO file."""
    voxel = {axis: getattr(stack.voxel, axis) for axis in _VOXELS}
    return {
        "id": number,
        "name": name,
        "width": stack.size[1],
        "height": stack.size[0],
        "length": len(stack),
        "axis": stack.axis,
        "voxel_size": {axis: value for axis, value in voxel.items() if value is not None},
    }


def load_tracks_coco(
    path: str | os.PathLike[str],
    stack: Stack | None = None,
    *,
    findings: ImportIssues | None = None,
) -> Tracks:
    """Read tracks from a COCO file that holds one stack.

    An annotation without a track's id is a separate object. Two masks of one object in the same
    slice are united.

    Args:
        path: the file.
        stack: has the length, the size and the file names of the slices; without it they are
            read from the file.
        findings: receives unusable annotations; without it the first one is raised.

    Raises:
        DataError: not COCO, several stacks in one file, images of different sizes or of another
            stack, broken masks.
    """
    findings = findings or ImportIssues(strict=True)
    dataset = CocoDataset.load(path)
    videos = {image.extra.get("video_id") for image in dataset.images}
    if len(videos) > 1:
        raise DataError(f"{path} holds {len(videos)} videos: export one at a time")
    places = _places(dataset, stack)
    sizes = {dataset.size(image.id) for image in dataset.images} or {(1, 1)}
    size = sizes.pop() if stack is None else stack.size
    if sizes - {size}:
        raise DataError(f"{path} has images of other sizes than {size[1]} x {size[0]}")
    length = len(stack) if stack is not None else max(places.values(), default=0) + 1
    masks: dict[Any, dict[int, list[Rle]]] = {}
    labels: dict[Any, str] = {}
    for annotation in dataset.annotations:
        stated = _track_id(annotation)
        key: Any = ("alone", annotation.id) if stated is None else stated
        with findings.leaving_out(f"annotation {annotation.id!r}"):
            rle = dataset.rle(annotation.id)
            masks.setdefault(key, {}).setdefault(places[annotation.image_id], []).append(rle)
            labels.setdefault(key, dataset.category(annotation.category_id).name)
    numbers = _numbers(list(masks))
    parents = _parents(dataset.extra.get("tracks"), numbers)
    tracks = tuple(
        Track(
            numbers[key],
            {index: Rle.union(parts) for index, parts in found.items()},
            None if labels[key] == UNNAMED else labels[key],
            parents.get(numbers[key]),
        )
        for key, found in masks.items()
    )
    return Tracks(size, length, tracks)


def voxel_size_of(path: str | os.PathLike[str]) -> VoxelSize:
    """The voxel size that `save_tracks_coco` wrote into a file; unknown in any other."""
    videos = CocoDataset.load(path).extra.get("videos")
    first = videos[0] if isinstance(videos, list) and videos else {}
    stated = first.get("voxel_size") if isinstance(first, Mapping) else None
    values = stated if isinstance(stated, Mapping) else {}
    known = {k: float(v) for k, v in values.items() if k in _VOXELS and isinstance(v, int | float)}
    return VoxelSize(**known)


def _places(dataset: CocoDataset, stack: Stack | None) -> dict[Id, int]:
    """The slice of each image."""
    stated = {image.id: _frame(image) for image in dataset.images}
    if stack is not None:
        names = {stack.file_name(index): index for index in range(len(stack))}
        found = {image.id: names.get(Path(image.file_name).name) for image in dataset.images}
        if all(index is not None for index in found.values()):
            return {key: index for key, index in found.items() if index is not None}
    if None in stated.values() or len(set(stated.values())) != len(stated):
        ordered = sorted(dataset.images, key=lambda image: natural_key(image.file_name))
        stated = {image.id: index for index, image in enumerate(ordered)}
    places = {key: index for key, index in stated.items() if index is not None}
    most = max(places.values(), default=0)
    if stack is not None and most >= len(stack):
        raise DataError(
            f"{dataset.source} has {most + 1} slices or more, {stack.name} {len(stack)}: give the "
            "stack that it belongs to"
        )
    return places


def _frame(image: CocoImage) -> int | None:
    for name in ("frame_id", "frame_index"):
        value = image.extra.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _track_id(annotation: CocoAnnotation) -> int | str | None:
    attributes = annotation.extra.get("attributes")
    places: list[Any] = [annotation.extra.get("track_id"), annotation.extra.get("instance_id")]
    places.append(attributes.get("track_id") if isinstance(attributes, Mapping) else None)
    for value in places:
        if isinstance(value, int | str) and not isinstance(value, bool):
            return value
    return None


def _numbers(keys: list[Any]) -> dict[Any, int]:
    """A number from 1 for every object; numbers in the file are kept."""
    kept = {key: key for key in keys if isinstance(key, int) and key >= 1}
    after = max(kept.values(), default=0)
    for key in keys:
        if key not in kept:
            after += 1
            kept[key] = after
    return kept


def _parents(described: Any, numbers: Mapping[Any, int]) -> dict[int, int]:
    found = {}
    for record in described if isinstance(described, list) else ():
        if isinstance(record, Mapping):
            child, parent = (numbers.get(record.get(k)) for k in ("id", "parent_id"))
            if child is not None and parent is not None and child != parent:
                found[child] = parent
    return found
