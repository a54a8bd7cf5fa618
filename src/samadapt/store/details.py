"""`DetailTable`: what is said of objects (attributes) and images (tags) beside masks and labels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select

from samadapt.errors import DataError
from samadapt.store.database import Database
from samadapt.store.errors import MissingError
from samadapt.store.events import Attribute, ImageTagged, Label, ObjectDescribed, Value
from samadapt.store.journal import Journal
from samadapt.store.label_names import clean_name
from samadapt.store.label_rows import present_labels
from samadapt.store.review_rows import follow_change
from samadapt.store.tables import details, images, objects
from samadapt.store.texts import has_control

Kind = Literal["object", "image", "tracked", "track", "frames"]
MOST_TAGS = 50
"""Tags of one image."""
LONGEST_TEXT = 1000
"""Characters of an attribute's value."""


class DetailTable:
    """The attributes of a project's objects, and the tags of its images."""

    def __init__(self, database: Database, project_id: int, journal: Journal) -> None:
        self._database, self._project, self._journal = database, project_id, journal

    def attributes(self, image_id: int | None = None) -> dict[int, dict[str, Value]]:
        """The attributes of all objects that have any, or of an image's, by the object's number.

        These are the ones that the object's label has.
        """
        wanted = select(objects.c.id, objects.c.label_id, details.c.body).join(
            details, (details.c.number == objects.c.id) & (details.c.kind == "object")
        )
        wanted = wanted.where(
            objects.c.project_id == self._project,
            details.c.project_id == self._project,
            ~objects.c.deleted,
        )
        if image_id is not None:
            wanted = wanted.where(objects.c.image_id == image_id)
        with self._database.read() as tx:
            labels = {label.id: label for label in present_labels(tx, self._project)}
            rows = tx.execute(wanted).all()
        found = {int(r.id): _shown(json.loads(r.body), labels.get(r.label_id)) for r in rows}
        return {number: said for number, said in found.items() if said}

    def all_attributes(self) -> dict[int, dict[str, Value]]:
        """As `attributes`, with what was said of objects while they had other labels."""
        with self._database.read() as tx:
            return all_details(tx, self._project, "object")

    def tags(self) -> dict[int, list[str]]:
        """The tags of all images that have any, by the image's number."""
        with self._database.read() as tx:
            return all_details(tx, self._project, "image")

    def describe(
        self, object_id: int, changes: Mapping[str, Value | None], person: str
    ) -> dict[str, Value]:
        """Change attributes of an object; None takes a value away, the others stay.

        Two people who change different attributes lose nothing by that. What was said of an object
        while it had another label is kept: it shows where the present label has the same
        attribute, and all of it once the object has that label again. Where nothing changes,
        nothing is written.

        Returns:
            All attributes of the object that its label has.

        Raises:
            DataError: no attribute of its label, or a value that it cannot have.
            MissingError: no such object.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            wanted = select(objects.c.image_id, objects.c.label_id).where(
                objects.c.project_id == self._project,
                objects.c.id == object_id,
                ~objects.c.deleted,
            )
            row = tx.execute(wanted).first()
            if row is None:
                raise MissingError(f"there is no object {object_id} in this project any more")
            labels = {label.id: label for label in present_labels(tx, self._project)}
            label = labels.get(row.label_id)
            _check(changes, label)
            before = self._one(tx, "object", object_id, {})
            kept = {k: v for k, v in {**before, **changes}.items() if v is not None}
            if json.dumps(kept) == json.dumps(before):  # for Python, True and 1 are the same
                return _shown(kept, label)
            event = ObjectDescribed(object=object_id, attributes=kept)
            self._journal.add(tx, event, person=person, image_id=int(row.image_id))
            follow_change(tx, self._project, self._journal, int(row.image_id), person)
            put_detail(tx, self._project, "object", object_id, kept)
        return _shown(kept, label)

    def tag(
        self, image_id: int, add: Iterable[str], person: str, *, remove: Iterable[str] = ()
    ) -> list[str]:
        """Give an image tags, and take others away; returns all that it has then.

        Raises:
            DataError: too many, or one that cannot be.
            MissingError: no such image.
        """
        fresh, gone = [clean_name(tag) for tag in add], set(remove)
        with self._database.write() as tx:
            self._journal.lock(tx)
            here = images.c.project_id == self._project, images.c.id == image_id
            if tx.execute(select(images.c.id).where(*here)).first() is None:
                raise MissingError(f"there is no image {image_id} in this project")
            before: list[str] = self._one(tx, "image", image_id, [])
            after = [tag for tag in dict.fromkeys((*before, *fresh)) if tag not in gone]
            if len(after) > max(MOST_TAGS, len(before)):
                raise DataError(f"{len(after)} tags: an image can have {MOST_TAGS}")
            if after == before:
                return after
            event = ImageTagged(image=image_id, tags=tuple(after))
            self._journal.add(tx, event, person=person, image_id=image_id)
            follow_change(tx, self._project, self._journal, image_id, person)
            put_detail(tx, self._project, "image", image_id, after)
        return after

    def _one(self, tx: Connection, kind: Kind, number: int, nothing: Any) -> Any:
        wanted = select(details.c.body).where(
            details.c.project_id == self._project,
            details.c.kind == kind,
            details.c.number == number,
        )
        body = tx.execute(wanted).scalar()
        return nothing if body is None else json.loads(body)


def all_details(tx: Connection, project_id: int, kind: Kind) -> dict[int, Any]:
    """Everything that is said of a kind of things, by their numbers."""
    wanted = select(details.c.number, details.c.body).where(
        details.c.project_id == project_id, details.c.kind == kind
    )
    return {int(row.number): json.loads(row.body) for row in tx.execute(wanted)}


def put_detail(tx: Connection, project_id: int, kind: Kind, number: int, value: Any) -> None:
    """Store what is said of an object or image; nothing for an empty value."""
    here = details.c.project_id == project_id, details.c.kind == kind, details.c.number == number
    tx.execute(delete(details).where(*here))
    if value:
        row = {"kind": kind, "number": number, "body": json.dumps(value)}
        tx.execute(insert(details).values(project_id=project_id, **row))


def fits(attribute: Attribute, value: Value) -> bool:
    """Whether an attribute can have a value."""
    match attribute.kind:
        case "flag":
            return isinstance(value, bool)
        case "number":
            if isinstance(value, bool | str):
                return False
            return math.isfinite(value)
        case "choice":
            return value in attribute.choices
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and not has_control(value)


def _shown(said: Mapping[str, Value], label: Label | None) -> dict[str, Value]:
    """Those of an object's attributes that its label has."""
    known = {attribute.name: attribute for attribute in (label.attributes if label else ())}
    return {k: v for k, v in said.items() if k in known and fits(known[k], v)}


def _check(changes: Mapping[str, Value | None], label: Label | None) -> None:
    known = {attribute.name: attribute for attribute in (label.attributes if label else ())}
    for name, value in changes.items():
        if value is None:
            continue
        if label is None or name not in known:
            of = f"the label {label.name!r}" if label else "an object without a label"
            raise DataError(f"{of} has no attribute {name!r}: look again which ones there are")
        attribute = known[name]
        if not fits(attribute, value):
            wanted = {
                "choice": f"one of {', '.join(attribute.choices)}",
                "text": f"up to {LONGEST_TEXT} characters, none of them a control character",
            }
            needed = wanted.get(attribute.kind, f"a {attribute.kind}")
            raise DataError(f"{name!r} cannot be {value!r}: give {needed}")
