"""Taking an import back as one step, and doing it again."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.store.projects import Project


def take_back(
    project: Project, numbers: Sequence[int], person: str, revision: int = 1
) -> list[int]:
    """Delete objects that an import added, all or none; those that were changed since stay.

    Args:
        project: where they are.
        numbers: of the objects.
        person: who does it.
        revision: of the objects that were not changed: 1 after the import, and one more each
            time that they are taken back or brought again.

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
