"""Reviews inside a transaction, and the effects of marks and changed objects on them."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from samadapt.store.events import ImageReviewed, Mark, ReviewState
from samadapt.store.journal import Journal
from samadapt.store.records import Review
from samadapt.store.tables import reviews


def present_review(tx: Connection, project_id: int, image_id: int) -> Review:
    """The review of an image."""
    here = reviews.c.project_id == project_id, reviews.c.image_id == image_id
    row = tx.execute(select(reviews).where(*here)).first()
    return Review() if row is None else Review(row.state, row.assignee, row.revision)


def put_review(tx: Connection, project_id: int, image_id: int, review: Review) -> None:
    """Store the review of an image."""
    here = reviews.c.project_id == project_id, reviews.c.image_id == image_id
    tx.execute(delete(reviews).where(*here))
    if review != Review():
        row = {"state": review.state, "assignee": review.assignee, "revision": review.revision}
        tx.execute(insert(reviews).values(project_id=project_id, image_id=image_id, **row))


def set_state(
    tx: Connection,
    project_id: int,
    journal: Journal,
    image_id: int,
    state: ReviewState,
    person: str,
) -> Review:
    """Set the state of an image's review, as an event."""
    now = present_review(tx, project_id, image_id)
    if now.state == state:
        return now
    after = Review(state, now.assignee, now.revision + 1)
    event = ImageReviewed(image=image_id, state=state, revision=after.revision)
    journal.add(tx, event, person=person, image_id=image_id)
    put_review(tx, project_id, image_id, after)
    return after


def follow_mark(
    tx: Connection, project_id: int, journal: Journal, image_id: int, mark: Mark, person: str
) -> None:
    """Update the review of a marked image: done again, it waits again; unfinished, it does not."""
    state = present_review(tx, project_id, image_id).state
    if mark == "done" and state == "returned":
        set_state(tx, project_id, journal, image_id, "review", person)
    elif mark != "done" and state in ("review", "approved"):
        set_state(tx, project_id, journal, image_id, "", person)


def follow_change(
    tx: Connection, project_id: int, journal: Journal, image_id: int, person: str
) -> None:
    """Update the review of an image with changed objects: an approval is withdrawn."""
    if present_review(tx, project_id, image_id).state == "approved":
        set_state(tx, project_id, journal, image_id, "review", person)
