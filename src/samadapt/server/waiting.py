"""`WaitingQueue`: the queue of proposals that wait for a decision."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from samadapt.data.rle import Rle
from samadapt.store.projects import Project
from samadapt.store.proposals import WaitingProposal

COVERED = 0.5
"""Share of a proposal's area inside an accepted object from which it counts as known."""


class WaitingQueue:
    """The proposals that wait for a decision, without those that are known or outdated.

    A proposal is known if an accepted object covers it; it waits again once that object is deleted.
    It is outdated if its image has another size now. The result is cached per image until the image
    changes, as pages ask every second.

    Args:
        project: the project that stores the proposals.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._looked: tuple[int, tuple[int, int]] = (0, (0, 0))
        self._listed: dict[int, list[int]] = {}
        self._open: dict[int, list[int]] = {}

    def numbers(self) -> dict[int, list[int]]:
        """Return the proposals' numbers by image; images without any are left out."""
        journal, proposals = self._project.journal, self._project.proposals
        with self._lock:
            before, last = self._looked[0], journal.last_number()
            now = last, proposals.standing()
            if now != self._looked:
                changed = journal.changed_since(before) if last != before else set()
                listed = proposals.numbers()
                self._open = {
                    image: self._open[image]
                    if image not in changed and self._listed.get(image) == numbers
                    else [one.id for one in self.of_image(image)]
                    for image, numbers in listed.items()
                }
                self._looked, self._listed = now, listed
            return {image: numbers for image, numbers in self._open.items() if numbers}

    def counts(self) -> dict[int, int]:
        """Return the number of proposals by image; images without any are left out."""
        return {image: len(numbers) for image, numbers in self.numbers().items()}

    def count(self) -> int:
        """Return the number of all proposals."""
        return sum(self.counts().values())

    def by_doubt(self) -> list[tuple[int, int]]:
        """Return (image, number) of all proposals, the most uncertain first."""
        open_ones = {number for numbers in self.numbers().values() for number in numbers}
        return [pair for pair in self._project.proposals.by_doubt() if pair[1] in open_ones]

    def of_image(self, image_id: int) -> list[WaitingProposal]:
        """Return the proposals of an image, the best first."""
        found = self._project.proposals.waiting(image_id)
        if not found:
            return []
        facts = self._project.images.get(image_id).facts
        size = None if facts is None else (facts.height, facts.width)
        known = [thing.rle for thing in self._project.objects.of_image(image_id)]
        return [
            one
            for one in found
            if size in (None, one.proposal.rle.size) and not is_known(one.proposal.rle, known)
        ]


def is_known(rle: Rle, objects: Sequence[Rle]) -> bool:
    """Return True if at least half of a proposal's area is inside one accepted object."""
    return any(rle.share_in(other) >= COVERED for other in objects)
