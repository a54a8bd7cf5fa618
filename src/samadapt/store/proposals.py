"""`ProposalTable`: objects that were found without a person, and wait for a person's review."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.engine import Row

from samadapt.data.rle import Rle
from samadapt.store.database import Database
from samadapt.store.errors import MissingError
from samadapt.store.tables import proposals, rejected

_SAME = 0.5
"""Two masks are of the same object when they overlap (intersection over union) by so much."""


@dataclass(frozen=True, slots=True)
class NewProposal:
    """A proposal to put into a project.

    Attributes:
        label: what it should be called.
        rle: its mask, at the image's size.
        score: 0..1, the higher the likelier.
        point: (x, y) that it was found from.
    """

    label: str
    rle: Rle
    score: float
    point: tuple[float, float]


@dataclass(frozen=True, slots=True)
class WaitingProposal:
    """A proposal of a project.

    Attributes:
        id: its number, never given twice.
        image_id: where it is.
        source: what proposed it, such as the model's and the adapters' names.
        proposal: what was proposed.
    """

    id: int
    image_id: int
    source: str
    proposal: NewProposal


class ProposalTable:
    """Proposals that wait in one project.

    They are no part of its log: a machine made them, and can make them again. What a person
    accepts becomes an object, and is taken out here.
    """

    def __init__(self, database: Database, project_id: int) -> None:
        self._database, self._project = database, project_id

    def put(self, source: str, found: Mapping[int, Sequence[NewProposal]]) -> int:
        """Put in what a source found on images (by number), instead of what it found before.

        Images that are not named keep their proposals, and so do other sources. What is like
        something that a person rejected there is left out. Returns how many were put in.
        """
        count = 0
        with self._database.write() as tx:
            for image_id, some in found.items():
                here = proposals.c.image_id == image_id, proposals.c.source == source
                tx.execute(delete(proposals).where(proposals.c.project_id == self._project, *here))
                fresh = self._without_rejected(tx, image_id, some)
                rows = [_values(self._project, image_id, source, one) for one in fresh]
                if rows:
                    tx.execute(insert(proposals), rows)
                count += len(rows)
        return count

    def waiting(self, image_id: int) -> list[WaitingProposal]:
        """The proposals of an image, the best first."""
        here = proposals.c.project_id == self._project, proposals.c.image_id == image_id
        order = proposals.c.score.desc(), proposals.c.id
        with self._database.read() as tx:
            return [
                _waiting(r) for r in tx.execute(select(proposals).where(*here).order_by(*order))
            ]

    def get(self, number: int) -> WaitingProposal:
        """One proposal.

        Raises:
            MissingError: it does not wait any more.
        """
        with self._database.read() as tx:
            return self._get(tx, number)

    def by_doubt(self) -> list[int]:
        """The numbers of all proposals, the most doubtful (whose score is nearest to 0.5) first."""
        doubt = func.abs(proposals.c.score - 0.5)
        wanted = select(proposals.c.id).where(proposals.c.project_id == self._project)
        with self._database.read() as tx:
            return list(tx.execute(wanted.order_by(doubt, proposals.c.id)).scalars())

    def reject(self, number: int) -> None:
        """Take a proposal out, and let nothing like it in again.

        Raises:
            MissingError: it does not wait any more.
        """
        with self._database.write() as tx:
            values = _values_of(self._get(tx, number))
            tx.execute(insert(rejected).values(project_id=self._project, **values))
            self.remove_in(tx, [number])

    def rejected(self, image_id: int) -> list[NewProposal]:
        """What was rejected on an image; score and point are not known any more."""
        with self._database.read() as tx:
            return self._rejected(tx, image_id)

    def count(self) -> int:
        """How many proposals wait."""
        mine = proposals.c.project_id == self._project
        wanted = select(func.count()).select_from(proposals).where(mine)
        with self._database.read() as tx:
            return int(tx.execute(wanted).scalar_one())

    def counts(self) -> dict[int, int]:
        """How many proposals wait, by image; images without any are left out."""
        wanted = (
            select(proposals.c.image_id, func.count())
            .where(proposals.c.project_id == self._project)
            .group_by(proposals.c.image_id)
        )
        with self._database.read() as tx:
            return {int(image): int(count) for image, count in tx.execute(wanted)}

    def remove(self, ids: Iterable[int]) -> int:
        """Take out proposals that were accepted or refused; returns how many were there."""
        with self._database.write() as tx:
            return self.remove_in(tx, ids)

    def remove_in(self, tx: Connection, ids: Iterable[int]) -> int:
        """As `remove`, in the caller's transaction."""
        gone = 0
        for number in ids:
            here = proposals.c.project_id == self._project, proposals.c.id == number
            gone += tx.execute(delete(proposals).where(*here)).rowcount
        return gone

    def take_in(self, tx: Connection, number: int) -> None:
        """Take out a proposal that becomes an object in the same transaction.

        Raises:
            MissingError: it does not wait any more.
        """
        self._get(tx, number)
        self.remove_in(tx, [number])

    # -- private ----------------------------------------------------------------------------

    def _get(self, tx: Connection, number: int) -> WaitingProposal:
        here = proposals.c.project_id == self._project, proposals.c.id == number
        row = tx.execute(select(proposals).where(*here)).first()
        if row is None:
            raise MissingError(f"proposal {number} was dealt with meanwhile: go on to the next one")
        return _waiting(row)

    def _rejected(self, tx: Connection, image_id: int) -> list[NewProposal]:
        here = rejected.c.project_id == self._project, rejected.c.image_id == image_id
        return [
            NewProposal(row.label, Rle((row.height, row.width), row.counts.encode()), 0, (0, 0))
            for row in tx.execute(select(rejected).where(*here))
        ]

    def _without_rejected(
        self, tx: Connection, image_id: int, found: Sequence[NewProposal]
    ) -> list[NewProposal]:
        refused = self._rejected(tx, image_id) if found else []
        return [
            one
            for one in found
            if all(one.label != other.label or one.rle.iou(other.rle) < _SAME for other in refused)
        ]


def _values(project: int, image: int, source: str, one: NewProposal) -> dict[str, Any]:
    height, width = one.rle.size
    return {
        "project_id": project,
        "image_id": image,
        "source": source,
        "label": one.label,
        "height": height,
        "width": width,
        "counts": one.rle.to_coco()["counts"],
        "score": one.score,
        "x": one.point[0],
        "y": one.point[1],
    }


def _values_of(waiting: WaitingProposal) -> dict[str, Any]:
    """The columns of what is rejected."""
    one = waiting.proposal
    height, width = one.rle.size
    counts = one.rle.counts.decode("ascii")
    where = {"image_id": waiting.image_id, "label": one.label}
    return {**where, "height": height, "width": width, "counts": counts}


def _waiting(row: Row[Any]) -> WaitingProposal:
    size = row.height, row.width
    rle = Rle.from_coco({"size": list(size), "counts": row.counts}, size)
    one = NewProposal(row.label, rle, row.score, (row.x, row.y))
    return WaitingProposal(row.id, row.image_id, row.source, one)
