"""Proposals of a run, stored in a project for review."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from samadapt.data.stacks.address import file_of, slice_name
from samadapt.data.text import is_text
from samadapt.distributed.annotate import FoundImage
from samadapt.distributed.images import ImageList
from samadapt.errors import DataError
from samadapt.store.projects import Project
from samadapt.store.proposals import NewProposal

_IMAGES = 100
"""Images per transaction."""


def with_slices(project: Project, folder: Path, images: ImageList) -> ImageList:
    """Return the images with the slices of the project's stacks in the place of their files.

    Args:
        project: takes up the images of its folder first.
        folder: of the project.
        images: files; frames stay as they are.
    """
    project.images.scan(folder)
    stacks = {
        os.path.abspath(stack.path): stack  # noqa: PTH100
        for stack in project.images.stacks
        if not stack.is_frames
    }
    return images.with_slices(lambda path: stacks.get(os.path.abspath(path)))  # noqa: PTH100


def project_images(project: Project, folder: Path, images: ImageList) -> dict[str, int]:
    """The ids of images in a project, by their names in the list.

    Args:
        project: it scans its folder for new images first.
        folder: of the project.
        images: all of them in that folder.

    Raises:
        DataError: an image that is not in the project's folder, or not in the project.
    """
    project.images.scan(folder)
    numbers = {image.name: image.id for image in project.images.all().values()}
    for stack in project.images.stacks:
        if not stack.is_frames:
            for index, slice_in_project in enumerate(stack.slices):
                address = slice_name(stack.name, stack.axis, index)
                numbers.setdefault(address, numbers[slice_in_project])
    found = {}
    for name in images.names:
        path = images.path(name)
        if not is_text(name) or not file_of(path).exists():
            continue  # reported when it is read
        inside = Path(os.path.relpath(path, os.path.abspath(folder))).as_posix()  # noqa: PTH100
        if inside not in numbers:
            raise DataError(
                f"{path} is not one of the images of the project of {folder}: give images of that "
                "folder, or another --project"
            )
        found[name] = numbers[inside]
    return found


def put_proposals(
    project: Project,
    source: str,
    numbers: Mapping[str, int],
    results: Iterator[tuple[str, FoundImage]],
    labels: Mapping[str, int] | None = None,
) -> int:
    """Store found objects as proposals, replacing earlier ones of the source on these images.

    Args:
        project: where.
        source: what found them.
        numbers: of the images, by their names.
        results: what was found, by the names of the images.
        labels: numbers of the labels, by the names that they had when the run began.

    Returns:
        The number of proposals.
    """
    count = 0
    known = ((name, found) for name, found in results if name in numbers)
    while some := list(islice(known, _IMAGES)):
        rows = {
            numbers[name]: [
                NewProposal(one.label, one.rle, one.score, one.point, found.content_hash)
                for one in found.objects
            ]
            for name, found in some
        }
        project.proposals.put(source, rows, labels)
        count += sum(map(len, rows.values()))
    return count
