"""`ObjectTable`: the objects of a project. Every change is an event, and none is silently lost."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from samadapt.data.rle import Rle
from samadapt.store.database import Database
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import (
    ObjectAdded,
    ObjectChanged,
    ObjectDeleted,
    ObjectMeasured,
    ObjectRestored,
    Source,
)
from samadapt.store.journal import Journal
from samadapt.store.label_rows import check_label
from samadapt.store.labels import LabelTable
from samadapt.store.object_rows import check_expected, is_done, stored_object
from samadapt.store.records import StoredObject
from samadapt.store.review_rows import follow_change
from samadapt.store.tables import images, objects


@dataclass(frozen=True, slots=True)
class NewMask:
    """An object to add.

    Attributes:
        image_id: number of the image.
        rle: its mask, at the image's size.
        label_id: its label, if any.
        source: origin of the object.
        key: idempotency key, so that adding it again adds nothing; a new one by default.
        prompts: number of its clicks and boxes.
        adapted: whether an adapted model was used for it.
        content_hash: of the pixels that it was drawn on.
    """

    image_id: int
    rle: Rle
    label_id: int | None = None
    source: Source = "clicks"
    key: str | None = None
    prompts: int | None = None
    adapted: bool = False
    content_hash: str | None = None


class ObjectTable:
    """The objects of one project.

    Attributes:
        labels: those that they have.
    """

    def __init__(
        self, database: Database, project_id: int, journal: Journal, labels: LabelTable
    ) -> None:
        self._database, self._project, self._journal = database, project_id, journal
        self.labels = labels

    def of_image(self, image_id: int, *, deleted: bool = False) -> list[StoredObject]:
        """The objects of an image, oldest first, optionally with deleted ones."""
        wanted = self._mine().where(objects.c.image_id == image_id)
        if not deleted:
            wanted = wanted.where(~objects.c.deleted)
        with self._database.read() as tx:
            return [stored_object(row) for row in tx.execute(wanted.order_by(objects.c.id))]

    def of_images(self, image_ids: Sequence[int]) -> list[StoredObject]:
        """The objects of some images, oldest first; masks left out."""
        columns = [c for c in objects.c if c.name != "counts"]
        found: list[StoredObject] = []
        with self._database.read() as tx:
            for start in range(0, len(image_ids), 500):
                wanted = select(*columns).where(
                    objects.c.project_id == self._project,
                    objects.c.image_id.in_(image_ids[start : start + 500]),
                    ~objects.c.deleted,
                )
                found += [stored_object(row) for row in tx.execute(wanted)]
        return sorted(found, key=lambda one: one.id)

    def all(self, *, deleted: bool = False) -> list[StoredObject]:
        """Return all objects, oldest first, optionally with deleted ones."""
        wanted = self._mine() if deleted else self._mine().where(~objects.c.deleted)
        with self._database.read() as tx:
            return [stored_object(row) for row in tx.execute(wanted.order_by(objects.c.id))]

    def measured(self) -> list[StoredObject]:
        """Objects with prompts, in the order in which they were accepted, without masks."""
        columns = [c for c in objects.c if c.name != "counts"]
        wanted = select(*columns).where(
            objects.c.project_id == self._project,
            objects.c.prompts.is_not(None),
            ~objects.c.deleted,
        )
        with self._database.read() as tx:
            return [stored_object(row) for row in tx.execute(wanted.order_by(objects.c.id))]

    def count_proposed(self) -> int:
        """Number of proposals that were accepted unchanged."""
        wanted = select(func.count()).where(
            objects.c.project_id == self._project,
            objects.c.source == "similar",
            objects.c.prompts.is_(None),
            ~objects.c.deleted,
        )
        with self._database.read() as tx:
            return int(tx.execute(wanted).scalar_one())

    def label_counts(self) -> dict[int | None, int]:
        """Number of objects of each label; None is the key for objects without one."""
        wanted = (
            select(objects.c.label_id, func.count().label("objects"))
            .where(objects.c.project_id == self._project, ~objects.c.deleted)
            .group_by(objects.c.label_id)
        )
        with self._database.read() as tx:
            return {row.label_id: int(row.objects) for row in tx.execute(wanted)}

    def get(self, object_id: int) -> StoredObject:
        """One object, deleted or not.

        Raises:
            MissingError: there is none of this number.
        """
        with self._database.read() as tx:
            return self._get(tx, object_id)

    def find_key(self, key: str, image_id: int | None = None) -> StoredObject | None:
        """The object that was added under `key`, to an image if one is named.

        Raises:
            ConflictError: the key belongs to an object of another image.
        """
        with self._database.read() as tx:
            return self._find_key(tx, key, image_id)

    # -- changes ----------------------------------------------------------------------------

    def add(self, new: NewMask, person: str) -> StoredObject:
        """Add an object; return the existing one if its key was used before.

        Raises:
            ConflictError: the key belongs to an object of another image.
            MissingError: there is no such label (any more).
        """
        with self._database.write() as tx:
            return self.add_in(tx, new, person)

    def add_in(self, tx: Connection, new: NewMask, person: str) -> StoredObject:
        """Add an object as `add` does, in the caller's transaction."""
        self._journal.lock(tx)
        key = new.key or uuid.uuid4().hex
        known = self._find_key(tx, key, new.image_id)
        if known is not None:
            return known
        check_label(tx, self._project, new.label_id)
        values: dict[str, Any] = {
            "project_id": self._project,
            "image_id": new.image_id,
            "key": key,
            "revision": 1,
            "deleted": False,
            "label_id": new.label_id,
            "height": new.rle.size[0],
            "width": new.rle.size[1],
            "counts": new.rle.counts.decode("ascii"),
            "source": new.source,
            "person": person,
            "time": 0.0,
            "prompts": new.prompts,
            "adapted": new.adapted,
        }
        (object_id,) = tx.execute(insert(objects).values(values)).inserted_primary_key or (0,)
        event = ObjectAdded(
            object=object_id,
            key=key,
            image=new.image_id,
            label=new.label_id,
            height=new.rle.size[0],
            width=new.rle.size[1],
            counts=values["counts"],
            source=new.source,
            content_hash=new.content_hash,
            prompts=new.prompts,
            adapted=new.adapted,
        )
        now = self._journal.add(tx, event, person=person, image_id=new.image_id)
        follow_change(tx, self._project, self._journal, new.image_id, person)
        tx.execute(update(objects).where(objects.c.id == object_id).values(time=now))
        if new.content_hash is not None:
            here = images.c.id == new.image_id, images.c.annotated_hash.is_(None)
            tx.execute(update(images).where(*here).values(annotated_hash=new.content_hash))
        return self._get(tx, object_id)

    def change(
        self, object_id: int, revision: int, person: str, label_id: int | None, rle: Rle | None
    ) -> StoredObject:
        """Give an object another mask (None keeps it) and a label.

        Repeating a change whose response was lost returns the object after the change; the same
        holds for `delete` and `restore`.

        Raises:
            ConflictError: `revision` is not the object's any more, or it was deleted.
            MissingError: there is none of this number, or no such label (any more).
        """
        with self._database.write() as tx:
            return self.change_in(tx, object_id, revision, person, label_id, rle)

    def change_in(
        self,
        tx: Connection,
        object_id: int,
        revision: int,
        person: str,
        label_id: int | None,
        rle: Rle | None,
        more_prompts: int = 0,
    ) -> StoredObject:
        """Change an object as `change` does, in the caller's transaction, with new prompts."""
        self._journal.lock(tx)
        now = self._get(tx, object_id)
        counts = now.counts if rle is None else rle.counts.decode("ascii")
        if is_done(now, revision, person, deleted=False) and (now.label_id, now.counts) == (
            label_id,
            counts,
        ):
            return now
        check_expected(now, revision, deleted=False)
        if rle is not None and rle.size != (now.height, now.width):
            raise ConflictError(
                f"object {object_id} has a mask of {now.width} x {now.height} pixels, the new one "
                f"has {rle.size[1]} x {rle.size[0]}: was the image replaced?"
            )
        check_label(tx, self._project, label_id)
        prompts = (now.prompts or 0) + more_prompts if more_prompts else None
        values: dict[str, Any] = {"label_id": label_id, "counts": counts}
        if prompts is not None:
            values["prompts"] = prompts
        event = ObjectChanged(
            object=object_id,
            revision=revision + 1,
            label=label_id,
            counts=counts,
            prompts=prompts,
        )
        self._set(tx, now, event, person, values)
        return self._get(tx, object_id)

    def delete(self, object_id: int, revision: int, person: str) -> StoredObject:
        """Delete an object; `restore` brings it back.

        Raises:
            ConflictError: `revision` is not the object's any more, or it was deleted already.
            MissingError: there is none of this number.
        """
        with self._database.write() as tx:
            return self.delete_in(tx, object_id, revision, person)

    def delete_in(self, tx: Connection, object_id: int, revision: int, person: str) -> StoredObject:
        """As `delete`, in the caller's transaction."""
        event = ObjectDeleted(object=object_id, revision=revision + 1)
        return self._set_deleted(tx, event, revision, person, deleted=True)

    def restore(self, object_id: int, revision: int, person: str) -> StoredObject:
        """Restore a deleted object, and its label if that was removed meanwhile.

        Raises:
            ConflictError: `revision` is not the object's any more, or it is not deleted.
            MissingError: there is none of this number.
        """
        with self._database.write() as tx:
            return self.restore_in(tx, object_id, revision, person)

    def bring_back_label(self, tx: Connection, label_id: int | None, person: str) -> None:
        """Restore a label if it was removed, in the caller's transaction."""
        self.labels.bring_back(tx, label_id, person)

    def restore_in(
        self, tx: Connection, object_id: int, revision: int, person: str
    ) -> StoredObject:
        """As `restore`, in the caller's transaction."""
        event = ObjectRestored(object=object_id, revision=revision + 1)
        return self._set_deleted(tx, event, revision, person, deleted=False)

    def _set_deleted(
        self,
        tx: Connection,
        event: ObjectDeleted | ObjectRestored,
        revision: int,
        person: str,
        *,
        deleted: bool,
    ) -> StoredObject:
        self._journal.lock(tx)
        now = self._get(tx, event.object)
        if is_done(now, revision, person, deleted=deleted):
            return now
        check_expected(now, revision, deleted=not deleted)
        if not deleted:
            self.labels.bring_back(tx, now.label_id, person)
        self._set(tx, now, event, person, {"deleted": deleted})
        return self._get(tx, event.object)

    def set_frozen_prompts(self, object_id: int, frozen_prompts: int, person: str) -> None:
        """Store the frozen model's number of prompts, without a new revision of the object."""
        with self._database.write() as tx:
            now = self._get(tx, object_id)
            event = ObjectMeasured(object=object_id, frozen_prompts=frozen_prompts)
            self._journal.add(tx, event, person=person)
            here = objects.c.id == now.id
            tx.execute(update(objects).where(here).values(frozen_prompts=frozen_prompts))

    def with_label_in(self, tx: Connection, label_id: int) -> list[StoredObject]:
        """The objects that have a label, oldest first, in a transaction."""
        wanted = self._mine().where(objects.c.label_id == label_id, ~objects.c.deleted)
        return [stored_object(row) for row in tx.execute(wanted.order_by(objects.c.id))]

    def some_in(self, tx: Connection, numbers: Sequence[int]) -> list[StoredObject]:
        """The existing objects of these numbers, deleted or not, in a transaction."""
        found: list[StoredObject] = []
        for start in range(0, len(numbers), 500):
            here = objects.c.id.in_(numbers[start : start + 500])
            found += [stored_object(row) for row in tx.execute(self._mine().where(here))]
        return found

    # -- private ----------------------------------------------------------------------------

    def _mine(self) -> Any:
        return select(objects).where(objects.c.project_id == self._project)

    def _find_key(self, tx: Connection, key: str, image_id: int | None) -> StoredObject | None:
        row = tx.execute(self._mine().where(objects.c.key == key)).first()
        if row is not None and image_id not in (None, row.image_id):
            raise ConflictError(
                f"the key {key!r} belongs to an object of another image (nothing was saved): use "
                "a new key for every object"
            )
        return None if row is None else stored_object(row)

    def _get(self, tx: Connection, object_id: int) -> StoredObject:
        row = tx.execute(self._mine().where(objects.c.id == object_id)).first()
        if row is None:
            raise MissingError(f"there is no object {object_id} in this project")
        return stored_object(row)

    def _set(
        self,
        tx: Connection,
        now: StoredObject,
        event: ObjectChanged | ObjectDeleted | ObjectRestored,
        person: str,
        values: dict[str, Any],
    ) -> None:
        self._journal.add(tx, event, person=person, image_id=now.image_id)
        follow_change(tx, self._project, self._journal, now.image_id, person)
        statement = (
            update(objects)
            .where(objects.c.id == now.id, objects.c.revision == now.revision)
            .values(**values, revision=event.revision, person=person)
        )
        if tx.execute(statement).rowcount != 1:
            raise ConflictError(
                f"object {now.id} was changed by somebody else at this moment (nothing was "
                "overwritten): look at it and do it again"
            )
