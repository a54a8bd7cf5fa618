"""Accepting what was filled between two slices, on many images as one step."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.store.label_names import UNLABELLED
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project


def accept_filled(project: Project, numbers: Sequence[int], person: str) -> list[int]:
    """Make proposals that still wait objects of the tracks that they were carried from.

    `import_undo.take_back` deletes them again.

    Args:
        project: where they wait.
        numbers: of the proposals.
        person: who accepts them.

    Returns:
        The numbers of the objects, in the order of the proposals that were left.
    """
    labels = {label.name: label.id for label in project.labels.all()[0]}
    images = project.images.all()
    added = []
    with project.database.write() as tx:
        project.journal.lock(tx)
        for one in project.proposals.some_in(tx, numbers):
            facts, name = images[one.image_id].facts, one.proposal.label
            if facts is not None and (facts.height, facts.width) != one.proposal.rle.size:
                continue  # the stack was replaced meanwhile
            new = NewMask(
                one.image_id,
                one.proposal.rle,
                None if name == UNLABELLED else labels.get(name),
                "similar",
                content_hash=None if facts is None else facts.content_hash,
            )
            thing = project.objects.add_in(tx, new, person)
            origin = project.proposals.origin_in(tx, one.id)
            if origin is not None:
                project.tracks.follow_in(tx, thing.id, origin, person)
            project.proposals.decide_in(tx, one.id, one.image_id, True)
            added.append(thing.id)
    return added
