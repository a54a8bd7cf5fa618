"""Routes about labels, tags of images, and attributes of objects."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from samadapt.server.who import Here, ImageId, Me, ObjectId
from samadapt.server.wire import (
    AttributesRequest,
    LabelsRequest,
    MergeRequest,
    TagsRequest,
    UnmergeRequest,
)
from samadapt.store.events import Label
from samadapt.store.label_merging import Merged, merge_label, unmerge_label

router = APIRouter(prefix="/api")

Json = dict[str, Any]


@router.put("/labels")
def set_labels(wanted: LabelsRequest, here: Here, me: Me) -> Json:
    """Replace the list of labels."""
    known = {label.id: label.attributes for label in here.project.labels.all()[0]}
    given = [
        Label(
            id=one.id,
            name=one.name,
            colour=one.colour,
            attributes=known.get(one.id, ()) if one.attributes is None else tuple(one.attributes),
        )
        for one in wanted.labels
    ]
    here.project.labels.set(given, wanted.revision, me.person)
    return _labels(here)


@router.get("/labels/counts")
def counts(here: Here) -> Json:
    """Return the number of objects of each label, in all images; "none" counts the unlabelled."""
    found = here.project.objects.label_counts()
    return {"counts": {"none" if k is None else str(k): count for k, count in found.items()}}


@router.post("/labels/{label_id}/merge")
def merge(label_id: ObjectId, wanted: MergeRequest, here: Here, me: Me) -> Json:
    """Remove a label; its objects get another label, or none."""
    merged = merge_label(here.project, label_id, wanted.into, wanted.revision, me.person)
    return _merged(here, merged)


@router.post("/labels/{label_id}/unmerge")
def unmerge(label_id: ObjectId, wanted: UnmergeRequest, here: Here, me: Me) -> Json:
    """Restore a merged label, with those of its objects that nobody changed since."""
    objects = [(one.id, one.revision) for one in wanted.objects]
    merged = unmerge_label(here.project, label_id, objects, me.person, wanted.proposals)
    return _merged(here, merged)


@router.get("/images/{image_id}/details")
def details(image_id: ImageId, here: Here) -> Json:
    """Return the tags of an image, the attributes of its objects, and all tags of the project."""
    tags = here.project.details.tags()
    return {
        "tags": tags.get(image_id, []),
        "attributes": here.project.details.attributes(image_id),
        "known": sorted({tag for some in tags.values() for tag in some}),
    }


@router.patch("/images/{image_id}/tags")
def tag(image_id: ImageId, wanted: TagsRequest, here: Here, me: Me) -> Json:
    """Add tags to an image, and remove others."""
    details = here.project.details
    return {"tags": details.tag(image_id, wanted.add, me.person, remove=wanted.remove)}


@router.patch("/objects/{object_id}/attributes")
def describe(object_id: ObjectId, wanted: AttributesRequest, here: Here, me: Me) -> Json:
    """Change attributes of an object."""
    return {"attributes": here.project.details.describe(object_id, wanted.attributes, me.person)}


def _merged(here: Here, merged: Merged) -> Json:
    versions = [{"id": thing.id, "revision": thing.revision} for thing in merged.objects]
    found = {"changed": len(versions), "objects": versions, "proposals": list(merged.proposals)}
    return {**_labels(here), **found}


def _labels(here: Here) -> Json:
    labels, revision = here.project.labels.all()
    return {"labels": [label.model_dump() for label in labels], "labels_revision": revision}
