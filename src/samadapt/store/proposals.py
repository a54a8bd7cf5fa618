"""`ProposalTable`: objects that a search found, and that wait for a person's decision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update
from sqlalchemy.engine import Row

from samadapt.data.rle import Rle
from samadapt.store.database import Database
from samadapt.store.errors import MissingError
from samadapt.store.label_names import UNLABELLED
from samadapt.store.label_rows import present_names
from samadapt.store.tables import images, proposals

State = Literal["waiting", "accepted", "rejected", "withdrawn"]
_SIMILAR = "similar to "
_NO_LABEL = "objects without a label"
_CARRIED_FROM = "carried from "
_CARRIED = re.compile(_CARRIED_FROM + r"(\d{1,10})")
_SAME = 0.5
"""Intersection over union from which two masks count as the same object."""


@dataclass(frozen=True, slots=True)
class NewProposal:
    """A proposal to put into a project.

    Attributes:
        label: name of the label that the object should get.
        rle: run-length encoded mask of the size of the image.
        score: likelihood that it is an object, from 0 to 1.
        point: point (x, y) that it was found from, in pixels of the image.
        content_hash: hash of the pixels that it was found on; None if it is not known.
    """

    label: str
    rle: Rle
    score: float
    point: tuple[float, float]
    content_hash: str | None = None


@dataclass(frozen=True, slots=True)
class WaitingProposal:
    """A proposal that is stored in a project.

    Attributes:
        id: number of the proposal; no other proposal ever gets it.
        image_id: number of its image.
        source: what proposed it, such as the names of the model and the adapters.
        proposal: the proposed object.
    """

    id: int
    image_id: int
    source: str
    proposal: NewProposal


class ProposalTable:
    """The proposals of one project.

    They are not part of the project's log, since a search can find them again. A proposal that a
    person accepted (it is an object then) or rejected no longer waits, until the decision is
    undone. Proposals that were found on other pixels than the image has now count as absent.
    """

    def __init__(self, database: Database, project_id: int) -> None:
        self._database, self._project = database, project_id

    def put(
        self,
        source: str,
        found: Mapping[int, Sequence[NewProposal]],
        labels: Mapping[str, int | None] | None = None,
        *,
        again: bool = False,
    ) -> int:
        """Replace the waiting proposals of a source on some images by what it found there now.

        The proposals of other sources, and those on images that are not named, stay. A label that
        was renamed since the search began has its new name in the proposals and in the source.

        Args:
            source: what found them.
            found: the proposals by the number of their image.
            labels: numbers of labels by the names that they had when the search began; None for a
                name that is no label's. Names that are not given are looked up.
            again: whether to add proposals that are like a rejected one of their image, which are
                left out otherwise.

        Returns:
            The number of proposals that were added.
        """
        count = 0
        with self._database.write() as tx:
            self._database.lock(tx, self._project)
            source = self._present_source(tx, source, labels)
            for image_id, some in found.items():
                here = (
                    self._in("waiting"),
                    proposals.c.image_id == image_id,
                    proposals.c.source == source,
                )
                tx.execute(delete(proposals).where(*here))
                now = present_names(tx, self._project, [one.label for one in some], labels)
                some = [replace(one, label=now.get(one.label, one.label)) for one in some]
                fresh = some if again else self._without_rejected(tx, image_id, some)
                rows = [_values(self._project, image_id, source, one) for one in fresh]
                if rows:
                    tx.execute(insert(proposals), rows)
                count += len(rows)
        return count

    def present_source(self, source: str, labels: Mapping[str, int | None] | None = None) -> str:
        """Return the name that a source has now if its label was renamed; `labels` as in `put`."""
        with self._database.read() as tx:
            return self._present_source(tx, source, labels)

    def waiting(self, image_id: int) -> list[WaitingProposal]:
        """Return the waiting proposals of an image, those with the highest scores first."""
        order = proposals.c.score.desc(), proposals.c.id
        here = self._here("waiting"), proposals.c.image_id == image_id
        with self._database.read() as tx:
            return [
                _waiting(r) for r in tx.execute(select(proposals).where(*here).order_by(*order))
            ]

    def get(self, number: int) -> WaitingProposal:
        """Return one waiting proposal.

        Raises:
            MissingError: it does not wait any more.
        """
        here = self._here("waiting"), proposals.c.id == number
        with self._database.read() as tx:
            row = tx.execute(select(proposals).where(*here)).first()
        if row is None:
            raise _dealt_with(number)
        return _waiting(row)

    def standing(self) -> tuple[int, int]:
        """Return how many proposals wait, and the highest number of a waiting one.

        The pair changes if proposals are added or decided, or if the pixels of an image change.
        """
        wanted = select(func.count(), func.coalesce(func.max(proposals.c.id), 0))
        with self._database.read() as tx:
            count, highest = tx.execute(wanted.where(self._here("waiting"))).one()
        return int(count), int(highest)

    def image_of(self, number: int) -> int:
        """Return the number of a proposal's image, whether the proposal still waits or not.

        Raises:
            MissingError: there is no proposal of this number any more.
        """
        here = proposals.c.project_id == self._project, proposals.c.id == number
        with self._database.read() as tx:
            found = tx.execute(select(proposals.c.image_id).where(*here)).scalar()
        if found is None:
            raise _dealt_with(number)
        return int(found)

    def numbers(self) -> dict[int, list[int]]:
        """Return the numbers of waiting proposals by image; images without any are left out."""
        wanted = select(proposals.c.image_id, proposals.c.id).where(self._here("waiting"))
        found: dict[int, list[int]] = {}
        with self._database.read() as tx:
            for image, number in tx.execute(wanted.order_by(proposals.c.id)):
                found.setdefault(int(image), []).append(int(number))
        return found

    def by_doubt(self) -> list[tuple[int, int]]:
        """Return (image, number) of the waiting proposals, with scores nearest to 0.5 first."""
        doubt = func.abs(proposals.c.score - 0.5)
        wanted = select(proposals.c.image_id, proposals.c.id).where(self._here("waiting"))
        with self._database.read() as tx:
            rows = tx.execute(wanted.order_by(doubt, proposals.c.id)).all()
        return [(int(image), int(number)) for image, number in rows]

    def rejected(self, image_id: int) -> list[NewProposal]:
        """Return the proposals that were rejected on an image."""
        with self._database.read() as tx:
            return self._rejected(tx, image_id)

    def decide_in(self, tx: Connection, number: int, image_id: int, is_accepted: bool) -> None:
        """Accept or reject a waiting proposal of an image, in the caller's transaction.

        Raises:
            MissingError: it does not wait any more, or belongs to another image.
        """
        after: State = "accepted" if is_accepted else "rejected"
        here = self._here("waiting"), proposals.c.id == number, proposals.c.image_id == image_id
        if tx.execute(update(proposals).where(*here).values(state=after)).rowcount != 1:
            raise _dealt_with(number)

    def bring_back_in(self, tx: Connection, number: int) -> None:
        """Undo a decision or a withdrawal, in the caller's transaction; it waits again."""
        here = proposals.c.project_id == self._project, proposals.c.id == number
        tx.execute(update(proposals).where(*here).values(state="waiting"))

    def carried(self) -> list[tuple[int, int, int]]:
        """Return (number, image, object that it was carried from) of waiting carried proposals."""
        wanted = select(proposals.c.id, proposals.c.image_id, proposals.c.source)
        here = self._in("waiting"), proposals.c.source.like(f"{_CARRIED_FROM}%")
        with self._database.read() as tx:
            rows = tx.execute(wanted.where(*here).order_by(proposals.c.id)).all()
        origins = [(int(r.id), int(r.image_id), carried_origin(r.source)) for r in rows]
        return [(number, image, origin) for number, image, origin in origins if origin is not None]

    def withdraw_in(self, tx: Connection, number: int) -> None:
        """Withdraw a proposal, in the caller's transaction; `bring_back_in` makes it wait again.

        Raises:
            MissingError: it does not wait any more.
        """
        here = self._in("waiting"), proposals.c.id == number
        if tx.execute(update(proposals).where(*here).values(state="withdrawn")).rowcount != 1:
            raise _dealt_with(number)

    def some_in(self, tx: Connection, numbers: Sequence[int]) -> list[WaitingProposal]:
        """Return the proposals of these numbers that still wait, in the caller's transaction."""
        found = []
        for number in dict.fromkeys(numbers):
            row = tx.execute(
                select(proposals).where(self._in("waiting"), proposals.c.id == number)
            ).first()
            if row is not None:
                found.append(_waiting(row))
        return found

    def origin_in(self, tx: Connection, number: int) -> int | None:
        """Return the number of the object that a proposal was carried from; None for others."""
        here = proposals.c.project_id == self._project, proposals.c.id == number
        source = tx.execute(select(proposals.c.source).where(*here)).scalar()
        return carried_origin(source or "")

    def remove(self, ids: Iterable[int]) -> int:
        """Delete proposals that wait or were withdrawn; returns how many were deleted.

        Unlike rejected ones, they can be proposed again.
        """
        gone = 0
        with self._database.write() as tx:
            for number in ids:
                here = self._in("waiting") | self._in("withdrawn"), proposals.c.id == number
                gone += tx.execute(delete(proposals).where(*here)).rowcount
        return gone

    # -- private ----------------------------------------------------------------------------

    def _present_source(
        self, tx: Connection, source: str, labels: Mapping[str, int | None] | None
    ) -> str:
        name = source.removeprefix(_SIMILAR)
        if name in (source, _NO_LABEL):
            return source
        return similar_source(present_names(tx, self._project, [name], labels).get(name, name))

    def _in(self, state: State) -> ColumnElement[bool]:
        """Return the condition for the project's proposals in a state, found on any pixels."""
        return (proposals.c.project_id == self._project) & (proposals.c.state == state)

    def _here(self, state: State) -> ColumnElement[bool]:
        """Return the condition for proposals in a state that were found on the present pixels."""
        is_other = images.c.content_hash != proposals.c.content_hash  # not where one is unknown
        return self._in(state) & ~exists().where(images.c.id == proposals.c.image_id, is_other)

    def _rejected(self, tx: Connection, image_id: int) -> list[NewProposal]:
        here = self._here("rejected"), proposals.c.image_id == image_id
        return [_waiting(row).proposal for row in tx.execute(select(proposals).where(*here))]

    def _without_rejected(
        self, tx: Connection, image_id: int, found: Sequence[NewProposal]
    ) -> list[NewProposal]:
        refused = self._rejected(tx, image_id) if found else []
        return [
            one
            for one in found
            if all(one.label != other.label or one.rle.iou(other.rle) < _SAME for other in refused)
        ]


def carried_from(object_id: int) -> str:
    """Return the source of proposals that were carried from an object of another slice."""
    return f"{_CARRIED_FROM}{object_id}"


def carried_origin(source: str) -> int | None:
    """Return the object that a source names as the one carried from; None for other sources."""
    found = _CARRIED.fullmatch(source)
    return None if found is None else int(found[1])


def similar_source(label: str | None) -> str:
    """Return the source of proposals like the objects of a label; None: like those without one."""
    return _SIMILAR + (_NO_LABEL if label is None else label)


def rename_proposals(tx: Connection, project_id: int, names: Mapping[str, str | None]) -> list[int]:
    """Rename the labels of proposals after labels were renamed or removed.

    Args:
        tx: the caller's transaction.
        project_id: number of the project.
        names: new names by old names; None for labels that were removed.

    Returns:
        The numbers of the proposals that have these labels.
    """
    if not names:
        return []
    named = proposals.c.project_id == project_id, proposals.c.label.in_(names)
    rows = tx.execute(select(proposals.c.id, proposals.c.label).where(*named)).all()
    for old, new in names.items():  # all were looked up before: two names may change places
        name_proposals(tx, project_id, [row.id for row in rows if row.label == old], new)
    return [int(row.id) for row in rows]


def name_proposals(tx: Connection, project_id: int, ids: Sequence[int], name: str | None) -> None:
    """Give proposals another label, or none; a source that is named after a label follows it."""
    label = UNLABELLED if name is None else name
    source = proposals.c.source
    is_alike = (source == _SIMILAR + proposals.c.label) | (source == similar_source(None))
    for start in range(0, len(ids), 500):
        here = proposals.c.project_id == project_id, proposals.c.id.in_(ids[start : start + 500])
        tx.execute(update(proposals).where(*here, is_alike).values(source=similar_source(name)))
        tx.execute(update(proposals).where(*here).values(label=label))


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
        "content_hash": one.content_hash,
    }


def _dealt_with(number: int) -> MissingError:
    return MissingError(
        f"proposal {number} was dealt with meanwhile, or its file replaced: go on to the next one"
    )


def _waiting(row: Row[Any]) -> WaitingProposal:
    size = row.height, row.width
    rle = Rle.from_coco({"size": list(size), "counts": row.counts}, size)
    one = NewProposal(row.label, rle, row.score, (row.x, row.y), row.content_hash)
    return WaitingProposal(row.id, row.image_id, row.source, one)
