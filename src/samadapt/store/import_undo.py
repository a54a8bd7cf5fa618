"""Undo and redo of an import as one step."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.store.projects import Project


def take_back(
    project: Project, numbers: Sequence[int], person: str, revision: int = 1
) -> list[int]:
    """Delete the objects of an import in one transaction, except objects changed since.

    Args:
        project: their project.
        numbers: of the objects.
        person: the person who acts.
        revision: of unchanged objects: 1 after the import, and one more for each undo or redo.

    Returns:
        The numbers of the objects that were deleted.
    """
    with project.database.write() as tx:
        project.journal.lock(tx)
        things = project.objects.some_in(tx, numbers)
        fresh = [one for one in things if not one.deleted and one.revision == revision]
        for one in fresh:
            project.objects.delete_in(tx, one.id, one.revision, person)
    return [one.id for one in fresh]


def do_again(project: Project, numbers: Sequence[int], person: str, revision: int = 2) -> list[int]:
    """Restore objects that `take_back` deleted and left at a revision; returns their numbers."""
    with project.database.write() as tx:
        project.journal.lock(tx)
        things = project.objects.some_in(tx, numbers)
        back = [one for one in things if one.deleted and one.revision == revision]
        for one in back:
            project.objects.restore_in(tx, one.id, one.revision, person)
    return [one.id for one in back]
