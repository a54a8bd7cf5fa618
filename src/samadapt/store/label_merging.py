"""Merging a label into another one as one step, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.store.errors import ConflictError
from samadapt.store.label_rows import check_label
from samadapt.store.projects import Project
from samadapt.store.records import StoredObject


def merge_label(
    project: Project, label_id: int, into: int | None, revision: int, person: str
) -> list[StoredObject]:
    """Give all objects of a label another one (None: none), and remove the label.

    Args:
        project: where.
        label_id: the label to remove.
        into: the label that its objects get.
        revision: of the list of labels.
        person: who does it.

    Returns:
        The objects that got the other label, as they are now.

    Raises:
        ConflictError: somebody else changed the list of labels meanwhile.
        MissingError: there is no such label.
    """
    with project.database.write() as tx:
        project.journal.lock(tx)
        if into == label_id:
            raise ConflictError("a label cannot be merged with itself: choose another one")
        check_label(tx, project.id, into)
        changed = [
            project.objects.change_in(tx, thing.id, thing.revision, person, into, None)
            for thing in project.objects.with_label_in(tx, label_id)
        ]
        project.labels.take_out(tx, label_id, revision, person)
    return changed


def unmerge_label(
    project: Project, label_id: int, merged: Sequence[tuple[int, int]], person: str
) -> list[StoredObject]:
    """Put a label onto the list again, and give it back to the objects that it was taken from.

    Args:
        project: where.
        label_id: the label that was removed.
        merged: number and revision of each object as `merge_label` left it; those that were
            changed or deleted since stay as they are.
        person: who does it.

    Returns:
        The objects that have the label again.
    """
    with project.database.write() as tx:
        project.journal.lock(tx)
        project.labels.bring_back(tx, label_id, person)
        known = {thing.id: thing for thing in project.objects.some_in(tx, [n for n, _ in merged])}
        return [
            project.objects.change_in(tx, number, revision, person, label_id, None)
            for number, revision in merged
            if number in known and known[number].revision == revision and not known[number].deleted
        ]
