"""A project as a `CocoDataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samadapt.data.coco import CocoDataset
from samadapt.data.images import image_size
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.errors import ImageError
from samadapt.store.projects import Project

UNLABELLED = "object"
"""Category of objects that have no label."""


def to_dataset(
    project: Project, folder: Path | None = None, *, done_only: bool = False
) -> CocoDataset:
    """All objects of a project, in COCO form.

    The numbers of images, objects and categories are the project's own: they stay the same from
    export to export. Objects without a label get a category "object" after the others (or the
    label of that name, if there is one). Images that were opened or annotated are listed, all
    others too if `folder` has them.

    Args:
        project: what to take.
        folder: where the images are.
        done_only: leave out images that are not marked as done.
    """
    entries = [e for e in project.images.entries() if e.mark == "done" or not done_only]
    listed = {entry.id for entry in entries}
    things = [thing for thing in project.objects.all() if thing.image_id in listed]
    annotated: dict[int, tuple[int, int]] = {o.image_id: (o.height, o.width) for o in things}
    records = []
    known = project.images.all()
    for entry in entries:
        image = known[entry.id]
        size = annotated.get(image.id)
        if size is None and image.facts is not None:
            size = image.facts.height, image.facts.width
        if size is None and folder is not None and image.present:
            size = _size(folder / image.name)
        if size is not None:
            extra: dict[str, Any] = {"samadapt_mark": image.mark} if image.mark else {}
            records.append(CocoImage(image.id, image.name, size[1], size[0], extra))
    labels, _ = project.labels.all()
    categories = [CocoCategory(label.id, label.name) for label in labels]
    spare = next((c.id for c in categories if c.name == UNLABELLED), None)
    if spare is None and any(o.label_id is None for o in things):
        spare = max((label.id for label in labels), default=0) + 1
        categories.append(CocoCategory(spare, UNLABELLED))
    annotations = []
    for thing in things:
        category = thing.label_id if thing.label_id is not None else spare
        if category is not None:
            source = {"samadapt_source": thing.source}
            annotations.append(
                CocoAnnotation(thing.id, thing.image_id, category, thing.rle, extra=source)
            )
    return CocoDataset(
        tuple(records),
        tuple(annotations),
        tuple(categories),
        folder,
        f"project {project.name!r}",
        {"info": {"description": f"samadapt project {project.name}"}},
    )


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path)
    except ImageError:
        return None
