"""Stacks of a project out: tracks in COCO files, label volumes, Cell Tracking Challenge folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.ctc import save_ctc
from samadapt.data.files import new_folder
from samadapt.data.label_volumes import save_label_volume
from samadapt.data.records import CocoAnnotation, CocoImage, Id
from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack
from samadapt.data.stacks.address import split_name
from samadapt.data.stacks.finding import FoundStack
from samadapt.data.tracks import Track, Tracks
from samadapt.data.tracks_coco import video_record
from samadapt.errors import DataError, ImageError
from samadapt.store.projects import Project

VOLUME_FORMATS = ("label-volume", "ctc")
"""Formats of stacks: a file or folder for each, in a new folder."""


@dataclass(frozen=True, slots=True)
class ProjectStacks:
    """The stacks of a project, and which objects are the same thing.

    Attributes:
        stacks: as they are in the folder now.
        tracks: the track of every object that is not one by itself.
        parents: tracks that others were split from.
    """

    stacks: tuple[FoundStack, ...]
    tracks: Mapping[int, int]
    parents: Mapping[int, int]

    @classmethod
    def of(cls, project: Project, folder: Path | None) -> ProjectStacks:
        """Look at a project and its folder, if that is there."""
        stacks: tuple[FoundStack, ...] = ()
        if folder is not None and folder.is_dir():
            names = [image.name for image in project.images.all().values()]
            try:
                stacks = project.stacks.look(folder, names).stacks
            except DataError:
                stacks = ()  # no image in it any more
        facts = project.tracks.facts()
        parents = {track: said.parent for track, said in facts.items() if said.parent is not None}
        return cls(stacks, project.tracks.numbers(), parents)

    def track(self, object_id: Id) -> int:
        """The track of an object."""
        return self.tracks.get(int(object_id), int(object_id))


def with_tracks(dataset: CocoDataset, known: ProjectStacks) -> CocoDataset:
    """Return a dataset whose slices and objects have the fields that readers of videos look for.

    Every stack is a video; its images have its number and their place in it, its objects their
    track. Without stacks the dataset stays as it is.
    """
    if not known.stacks:
        return dataset
    places = {
        name: (number, index)
        for number, stack in enumerate(known.stacks, 1)
        for index, name in enumerate(stack.slices)
    }
    images: list[CocoImage] = []
    videos_of: dict[Id, int] = {}
    for image in dataset.images:
        if image.file_name in places:
            video, index = places[image.file_name]
            videos_of[image.id] = video
            more = {"video_id": video, "frame_id": index, "frame_index": index}
            image = replace(image, extra={**image.extra, **more})
        images.append(image)
    annotations: list[CocoAnnotation] = []
    seen: dict[int, dict[str, Any]] = {}
    for one in dataset.annotations:
        if one.image_id in videos_of:
            track, video = known.track(one.id), videos_of[one.image_id]
            said = {**one.extra.get("attributes", {}), "track_id": track}
            numbers = {"track_id": track, "instance_id": track, "video_id": video}
            one = replace(one, extra={**one.extra, **numbers, "attributes": said})
            seen[track] = {"id": track, "category_id": one.category_id, "video_id": video}
        annotations.append(one)
    for track, record in seen.items():
        parent = known.parents.get(track)
        record["parent_id"] = parent if parent in seen else None
    records = [
        _video(number, stack)
        for number, stack in enumerate(known.stacks, 1)
        if number in videos_of.values()
    ]
    tracks = [seen[track] for track in sorted(seen)]
    extra = {**dataset.extra, "videos": records, "tracks": tracks}
    return replace(dataset, images=tuple(images), annotations=tuple(annotations), extra=extra)


def save_stacks(
    dataset: CocoDataset, known: ProjectStacks, format: str, out: Path, left_out: list[str]
) -> CocoDataset:
    """Write the stacks of a project, each as a label volume or a folder; returns what was written.

    Slices without objects keep their places; stacks without any image in the dataset are not
    written. Where objects overlap the smaller lies on top, as in
    label maps.

    Args:
        dataset: the project's objects.
        known: its stacks.
        format: one of `VOLUME_FORMATS`.
        out: a new folder.
        left_out: takes a line about each thing that no stack has a place for.

    Raises:
        DataError: there is no stack, or the folder cannot be written.
    """
    if not known.stacks:
        raise DataError(f"{format} is for stacks, and this project has none: choose another format")
    by_name = {image.file_name: image for image in dataset.images}
    written: list[Id] = []
    with new_folder(out) as folder:
        for target, stack in _targets(known.stacks):
            if by_name.keys().isdisjoint(stack.slices):
                continue
            try:
                with _opened(stack) as opened:
                    tracks = _tracks(dataset, known, stack, opened, by_name)
                    _WRITERS[format](folder / target, tracks, opened)
            except (ImageError, DataError) as error:
                left_out.append(str(error).replace(str(stack.path), stack.name))
                continue
            written += [by_name[name].id for name in stack.slices if name in by_name]
    kept = set(written)
    count = sum(a.image_id not in kept for a in dataset.annotations)
    single = [i for i in dataset.images if i.id not in kept and not _is_in(i, known.stacks)]
    left_out += [f"{image.file_name}: it is no slice of a stack" for image in single]
    images = tuple(image for image in dataset.images if image.id in kept)
    annotations = tuple(a for a in dataset.annotations if a.image_id in kept)
    if count and not annotations and left_out:
        raise DataError(left_out[0])
    return replace(dataset, images=images, annotations=annotations)


def with_file_names(dataset: CocoDataset) -> CocoDataset:
    """Return a dataset whose slices are called as files of their own: `volume_z0012.png`."""
    images = []
    for image in dataset.images:
        file, index = split_name(image.file_name)
        if index is not None:
            axis = image.file_name[len(file) + 1]
            path = PurePosixPath(file)
            name = path.with_name(f"{_stem(path)}_{axis}{index:04d}.png").as_posix()
            image = replace(image, file_name=name)
        images.append(image)
    return replace(dataset, images=tuple(images))


# -- private --------------------------------------------------------------------------------


def _write_volume(path: Path, tracks: Tracks, stack: Stack) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_label_volume(path.with_name(f"{path.name}_labels.tif"), tracks, stack, "smaller-on-top")


def _write_ctc(path: Path, tracks: Tracks, stack: Stack) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_ctc(path, tracks, overlap="smaller-on-top")


_WRITERS: Mapping[str, Callable[[Path, Tracks, Stack], None]] = {
    "label-volume": _write_volume,
    "ctc": _write_ctc,
}


def _tracks(
    dataset: CocoDataset,
    known: ProjectStacks,
    stack: FoundStack,
    opened: Stack,
    by_name: Mapping[str, CocoImage],
) -> Tracks:
    masks: dict[int, dict[int, list[Rle]]] = {}
    labels: dict[int, str] = {}
    of_image: dict[Id, list[CocoAnnotation]] = {}
    for one in dataset.annotations:
        of_image.setdefault(one.image_id, []).append(one)
    for index, name in enumerate(stack.slices):
        image = by_name.get(name)
        for one in of_image.get(image.id, ()) if image else ():
            track = known.track(one.id)
            masks.setdefault(track, {}).setdefault(index, []).append(dataset.rle(one.id))
            labels[track] = dataset.category(one.category_id).name
    found = tuple(
        Track(
            track,
            {index: Rle.union(some) for index, some in by_slice.items()},
            labels[track],
            known.parents.get(track) if known.parents.get(track) in masks else None,
        )
        for track, by_slice in sorted(masks.items())
    )
    return Tracks(opened.size, len(opened), found)


def _video(number: int, stack: FoundStack) -> dict[str, Any]:
    try:
        with _opened(stack) as opened:
            return video_record(number, stack.name, opened)
    except ImageError:
        return {"id": number, "name": stack.name, "length": len(stack.slices), "axis": stack.axis}


@contextmanager
def _opened(stack: FoundStack) -> Iterator[Stack]:
    with Stack.open(stack.path) as found:
        if found.axis == stack.axis:
            yield found
            return
    with Stack.open(stack.path, axis=stack.axis) as found:
        yield found


def _targets(stacks: Iterable[FoundStack]) -> Iterator[tuple[PurePosixPath, FoundStack]]:
    """A name for each stack without its ending; those that would be alike keep theirs."""
    plain: dict[PurePosixPath, int] = {}
    for stack in stacks:
        path = PurePosixPath(stack.name)
        plain[path.with_name(_stem(path))] = plain.get(path.with_name(_stem(path)), 0) + 1
    for stack in stacks:
        path = PurePosixPath(stack.name)
        short = path.with_name(_stem(path))
        yield (path if plain[short] > 1 or not short.name else short), stack


def _stem(path: PurePosixPath) -> str:
    """A name without its ending, of which "ome.tif" and "nii.gz" are one."""
    name = path.name
    for ending in (".ome.tif", ".ome.tiff", ".nii.gz"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem


def _is_in(image: CocoImage, stacks: Iterable[FoundStack]) -> bool:
    return any(image.file_name in stack.slices for stack in stacks)
