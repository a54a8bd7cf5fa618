"""`ReviewTable`: assignment and review of images, and comments pinned to places."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, union, update

from samadapt.errors import DataError
from samadapt.store.database import Database
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import CommentAdded, CommentResolved, ImageAssigned, Mark, ReviewState
from samadapt.store.images import ImageTable
from samadapt.store.journal import Journal
from samadapt.store.records import Comment, Review
from samadapt.store.review_rows import present_review, put_review, set_state
from samadapt.store.tables import comments, images, objects, reviews
from samadapt.store.texts import LONGEST_PERSON, clean_line, clean_lines

LONGEST_COMMENT = 2000
"""Characters of a comment."""

_MARKS: dict[ReviewState, Mark] = {"review": "done", "approved": "done", "returned": ""}
"""The mark of an image for each state: an image in review or approved is done."""

Place = tuple[float, float]


class ReviewTable:
    """The reviews of one project."""

    def __init__(
        self, database: Database, project_id: int, journal: Journal, images: ImageTable
    ) -> None:
        self._database, self._project, self._journal = database, project_id, journal
        self._images = images

    def all(self) -> dict[int, Review]:
        """The reviews of all images with one, by the image's number."""
        wanted = select(reviews).where(reviews.c.project_id == self._project)
        with self._database.read() as tx:
            rows = tx.execute(wanted).all()
        return {row.image_id: Review(row.state, row.assignee, row.revision) for row in rows}

    def get(self, image_id: int) -> Review:
        """The review of an image."""
        with self._database.read() as tx:
            return present_review(tx, self._project, image_id)

    def comments(self, image_id: int | None = None) -> list[Comment]:
        """The comments of an image, or of all, in the order in which they were made."""
        wanted = select(comments).where(comments.c.project_id == self._project)
        if image_id is not None:
            wanted = wanted.where(comments.c.image_id == image_id)
        columns = [column.name for column in comments.c if column.name != "project_id"]
        with self._database.read() as tx:
            rows = tx.execute(wanted.order_by(comments.c.number)).all()
        return [Comment(**{name: getattr(row, name) for name in columns}) for row in rows]

    def open_comments(self) -> dict[int, int]:
        """Number of open comments of each image; images without any are left out."""
        wanted = (
            select(comments.c.image_id, func.count())
            .where(comments.c.project_id == self._project, ~comments.c.resolved)
            .group_by(comments.c.image_id)
        )
        with self._database.read() as tx:
            return {int(image): int(count) for image, count in tx.execute(wanted)}

    def people(self) -> list[str]:
        """Names of all people with an event, an assigned image or a comment."""
        named = union(
            select(objects.c.person).where(objects.c.project_id == self._project),
            select(comments.c.person).where(comments.c.project_id == self._project),
            select(reviews.c.assignee).where(reviews.c.project_id == self._project),
        )
        with self._database.read() as tx:
            return sorted(filter(None, tx.execute(named).scalars()), key=str.casefold)

    # -- changes ----------------------------------------------------------------------------

    def assign(self, image_ids: Sequence[int], assignee: str, person: str) -> None:
        """Assign images to a person; to nobody with an empty name.

        Raises:
            DataError: a name that cannot be; see `clean_line`.
            MissingError: no such image.
        """
        assignee = clean_line(assignee, "the name", LONGEST_PERSON) if assignee.strip() else ""
        with self._database.write() as tx:
            self._journal.lock(tx)
            for image_id in dict.fromkeys(image_ids):
                self._check_image(tx, image_id)
                now = present_review(tx, self._project, image_id)
                if now.assignee != assignee:
                    event = ImageAssigned(image=image_id, assignee=assignee)
                    self._journal.add(tx, event, person=person, image_id=image_id)
                    after = Review(now.state, assignee, now.revision)
                    put_review(tx, self._project, image_id, after)

    def set_state(
        self,
        image_id: int,
        state: ReviewState,
        revision: int,
        person: str,
        comment: tuple[str, Place] | None = None,
    ) -> Review:
        """Set the state of an image's review, and mark the image accordingly.

        Args:
            image_id: number of the image.
            state: "review" and "approved" mark the image as done, "returned" as unfinished.
            revision: of the review that the person saw.
            person: the person who acts.
            comment: a text and its place, added in the same transaction.

        Raises:
            ConflictError: somebody else changed the review meanwhile.
            DataError: an invalid comment.
            MissingError: no such image.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            self._check_image(tx, image_id)
            now = present_review(tx, self._project, image_id)
            if now.revision != revision and now.state != state:
                raise ConflictError(
                    "somebody else reviewed this image meanwhile: look at it and do it again"
                )
            if comment is not None:
                self._add(tx, image_id, *comment, person)
            if state in _MARKS:
                self._images.mark_in(tx, image_id, _MARKS[state], person)
            return set_state(tx, self._project, self._journal, image_id, state, person)

    def comment(self, image_id: int, text: str, place: Place, person: str) -> int:
        """Pin a comment to a place (x, y) of an image; returns its number.

        Raises:
            DataError: an empty or too long text, or no place inside the image.
            MissingError: no such image.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            self._check_image(tx, image_id)
            return self._add(tx, image_id, text, place, person)

    def resolve(self, number: int, resolved: bool, person: str) -> int:
        """Resolve a comment or open it again; returns the number of its image.

        Raises:
            MissingError: there is no such comment.
        """
        here = comments.c.project_id == self._project, comments.c.number == number
        with self._database.write() as tx:
            self._journal.lock(tx)
            row = tx.execute(select(comments).where(*here)).first()
            if row is None:
                raise MissingError(f"there is no comment {number} in this project")
            if row.resolved != resolved:
                event = CommentResolved(comment=number, resolved=resolved)
                self._journal.add(tx, event, person=person, image_id=row.image_id)
                tx.execute(update(comments).where(*here).values(resolved=resolved))
            return int(row.image_id)

    # -- private ----------------------------------------------------------------------------

    def _add(self, tx: Connection, image_id: int, text: str, place: Place, person: str) -> int:
        text = clean_lines(text, "the comment", LONGEST_COMMENT)
        x, y = place
        size = select(images.c.width, images.c.height).where(images.c.id == image_id)
        ends = [sys.float_info.max if end is None else end for end in tx.execute(size).one()]
        if not all(0 <= at <= end for at, end in zip(place, ends, strict=True)):
            raise DataError(f"a comment at {place}: give a place inside the image")
        highest = select(func.max(comments.c.number)).where(comments.c.project_id == self._project)
        number = int(tx.execute(highest).scalar() or 0) + 1
        event = CommentAdded(comment=number, image=image_id, text=text, x=x, y=y)
        now = self._journal.add(tx, event, person=person, image_id=image_id)
        made = Comment(number, image_id, text, x, y, person, now, False)
        tx.execute(insert(comments).values(project_id=self._project, **comment_row(made)))
        return number

    def _check_image(self, tx: Connection, image_id: int) -> None:
        here = images.c.project_id == self._project, images.c.id == image_id
        if tx.execute(select(images.c.id).where(*here)).first() is None:
            raise MissingError(f"there is no image {image_id} in this project")


def comment_row(comment: Comment) -> dict[str, object]:
    """A comment as columns of its table."""
    return {name: getattr(comment, name) for name in comment.__slots__}
