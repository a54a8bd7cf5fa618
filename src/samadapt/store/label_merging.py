"""Merging a label into another one as one step, and its undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.label_rows import present_labels
from samadapt.store.projects import Project
from samadapt.store.proposals import name_proposals, rename_proposals
from samadapt.store.records import StoredObject


@dataclass(frozen=True, slots=True)
class Merged:
    """Objects and proposals that got another label.

    Attributes:
        objects: with their new label.
        proposals: numbers of the proposals.
    """

    objects: Sequence[StoredObject]
    proposals: Sequence[int] = ()


def merge_label(
    project: Project, label_id: int, into: int | None, revision: int, person: str
) -> Merged:
    """Give all objects and proposals of a label another one (None: none), and remove the label.

    Args:
        project: where.
        label_id: the label to remove.
        into: the label that its objects get.
        revision: of the list of labels.
        person: who does it.

    Raises:
        ConflictError: somebody else changed the list of labels meanwhile.
        MissingError: there is no such label.
    """
    with project.database.write() as tx:
        project.journal.lock(tx)
        if into == label_id:
            raise ConflictError("a label cannot be merged with itself: choose another one")
        names = {label.id: label.name for label in present_labels(tx, project.id)}
        for number in (label_id, into):
            if number is not None and number not in names:
                raise MissingError(f"there is no label {number} in this project: choose another")
        changed = [
            project.objects.change_in(tx, thing.id, thing.revision, person, into, None)
            for thing in project.objects.with_label_in(tx, label_id)
        ]
        name = None if into is None else names[into]
        renamed = rename_proposals(tx, project.id, {names[label_id]: name})
        project.labels.take_out(tx, label_id, revision, person)
    return Merged(changed, renamed)


def unmerge_label(
    project: Project,
    label_id: int,
    merged: Sequence[tuple[int, int]],
    person: str,
    proposals: Sequence[int] = (),
) -> Merged:
    """Restore a removed label, and give it to its earlier objects and proposals again.

    Args:
        project: where.
        label_id: the label that was removed.
        merged: number and revision of each object as `merge_label` left it; those that were
            changed or deleted since stay as they are.
        person: who does it.
        proposals: their numbers, as `merge_label` told them.
    """
    with project.database.write() as tx:
        project.journal.lock(tx)
        project.labels.bring_back(tx, label_id, person)
        known = {thing.id: thing for thing in project.objects.some_in(tx, [n for n, _ in merged])}
        changed = [
            project.objects.change_in(tx, number, revision, person, label_id, None)
            for number, revision in merged
            if number in known and known[number].revision == revision and not known[number].deleted
        ]
        (name,) = (one.name for one in present_labels(tx, project.id) if one.id == label_id)
        name_proposals(tx, project.id, proposals, name)
    return Merged(changed, proposals)
