"""A project as a `CocoDataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.data.stacks.address import file_of
from samadapt.data.tiled.image import shown_size
from samadapt.errors import DataError, ImageError
from samadapt.store.label_names import UNLABELLED
from samadapt.store.projects import UNNAMED, Project
from samadapt.store.records import StoredImage, StoredObject


def to_dataset(
    project: Project,
    folder: Path | None = None,
    *,
    done_only: bool = False,
    approved_only: bool = False,
    untouched: bool = False,
    left_out: list[str] | None = None,
) -> CocoDataset:
    """Return the objects of a project in COCO form.

    The numbers of images, objects and categories are the project's own: they stay the same from
    export to export. Objects without a label get a category "object" after the others (or the
    label of that name, if there is one). Images that have objects or are marked as done are listed.
    Objects that were drawn on another size than their image's present one, damaged objects, and
    images with an invalid name are left out. Values of attributes are in the extra field
    "attributes" of objects, their definitions in that of categories, tags of images in "tags".

    Args:
        project: the project.
        folder: of the images.
        done_only: leave out images that are not marked as done.
        approved_only: leave out images that no review approved.
        untouched: list images without objects that are not marked as done, too.
        left_out: receives a line about everything left out.
    """
    missing: list[str] = [] if left_out is None else left_out
    entries = [
        entry
        for entry in project.images.entries()
        if entry.mark == "done" or (not done_only and (untouched or entry.objects))
    ]
    if approved_only:
        reviews = project.reviews.all()
        approved = {number for number, review in reviews.items() if review.state == "approved"}
        entries = [entry for entry in entries if entry.id in approved]
    attributes, tags = project.details.attributes(), project.details.tags()
    of_image: dict[int, list[StoredObject]] = {entry.id: [] for entry in entries}
    for thing in project.objects.all():
        if thing.image_id in of_image:
            of_image[thing.image_id].append(thing)
    known = project.images.all()
    records: list[CocoImage] = []
    things: list[tuple[StoredObject, Rle]] = []
    for entry in entries:
        image, drawn = known[entry.id], of_image[entry.id]
        size = _size_now(image, folder) or ((drawn[-1].height, drawn[-1].width) if drawn else None)
        if size is None:
            continue
        extra: dict[str, Any] = {"samadapt_mark": image.mark} if image.mark else {}
        if image.id in tags:
            extra["tags"] = tags[image.id]
        try:
            records.append(CocoImage(image.id, image.name, size[1], size[0], extra))
        except DataError as error:
            missing.append(f"{image.name} ({len(drawn)} objects): {error}")
            continue
        things += _that_fit(drawn, image, size, missing)
    labels, _ = project.labels.all()
    categories = [
        CocoCategory(
            label.id,
            label.name,
            {"attributes": [one.model_dump(mode="json") for one in label.attributes]}
            if label.attributes
            else {},
        )
        for label in labels
    ]
    spare = next((c.id for c in categories if c.name == UNLABELLED), None)
    if spare is None and any(o.label_id is None for o, _ in things):
        spare = max((label.id for label in labels), default=0) + 1
        categories.append(CocoCategory(spare, UNLABELLED))
    annotations = []
    for thing, rle in sorted(things, key=lambda pair: pair[0].id):
        category = thing.label_id if thing.label_id is not None else spare
        if category is not None:
            source: dict[str, Any] = {"samadapt_source": thing.source}
            if thing.id in attributes:
                source["attributes"] = attributes[thing.id]
            annotations.append(
                CocoAnnotation(thing.id, thing.image_id, category, rle, extra=source)
            )
    return CocoDataset(
        tuple(records),
        tuple(annotations),
        tuple(categories),
        folder,
        f"project {project.name!r}",
        {"info": {"description": f"{_title(project, folder)}, annotated with samadapt"}},
    )


def _title(project: Project, folder: Path | None) -> str:
    """A project's name, or its folder's if it has none."""
    if folder is None or project.name != UNNAMED:
        return project.name
    return folder.absolute().name


def _size_now(image: StoredImage, folder: Path | None) -> tuple[int, int] | None:
    """(height, width) of an image's present file, or else as last recorded."""
    facts = image.facts
    if folder is not None and image.present:
        path = folder / image.name
        try:
            state = file_of(path).stat()
            is_known = facts is not None and (facts.file_size, facts.modified) == (
                state.st_size,
                state.st_mtime_ns,
            )
            if not is_known:
                return shown_size(path)
        except (OSError, ImageError):
            pass  # use the recorded size
    return None if facts is None else (facts.height, facts.width)


def _that_fit(
    drawn: list[StoredObject], image: StoredImage, size: tuple[int, int], left_out: list[str]
) -> list[tuple[StoredObject, Rle]]:
    """The objects of an image with an undamaged mask of its size."""
    found = []
    for thing in drawn:
        try:
            if (thing.height, thing.width) != size:
                raise DataError(
                    f"drawn on {thing.width} x {thing.height} pixels, but the image now has "
                    f"{size[1]} x {size[0]}: put the old file back, or delete the object"
                )
            found.append((thing, thing.rle))
        except DataError as error:
            left_out.append(f"{image.name}, object {thing.id}: {error}")
    return found


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return shown_size(path)
    except ImageError:
        return None
