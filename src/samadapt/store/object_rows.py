"""Rows of the table of objects, and the checks of their versions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from samadapt.store.errors import ConflictError
from samadapt.store.records import StoredObject


def is_done(now: StoredObject, revision: int, person: str, *, deleted: bool) -> bool:
    """Return True if the last change of the object is this change by this person."""
    return (now.revision, now.person, now.deleted) == (revision + 1, person, deleted)


def check_expected(now: StoredObject, revision: int, *, deleted: bool) -> None:
    """Check that an object still has the version on which a change is based.

    Raises:
        ConflictError: somebody changed, deleted or restored it meanwhile.
    """
    # Nobody else writes to this project until the transaction ends; see `next_number`.
    if now.revision != revision or now.deleted != deleted:
        what = "deleted" if now.deleted else "changed"
        raise ConflictError(
            f"object {now.id} was {what} by {now.person or 'somebody else'} meanwhile "
            "(nothing was overwritten): look at it and do it again"
        )


def stored_object(row: Row[Any]) -> StoredObject:
    """Return the object of a row of the table; without run lengths if they were not selected."""
    known = row._mapping
    return StoredObject(
        id=row.id,
        image_id=row.image_id,
        key=row.key,
        revision=row.revision,
        deleted=bool(row.deleted),
        label_id=row.label_id,
        height=row.height,
        width=row.width,
        counts=known.get("counts", ""),
        source=row.source,
        person=row.person,
        time=row.time,
        prompts=row.prompts,
        frozen_prompts=row.frozen_prompts,
        adapted=bool(row.adapted),
    )
