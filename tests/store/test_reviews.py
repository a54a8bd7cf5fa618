"""Reviews: whose task an image is, how far it is, comments on places, and what follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.store.dataset import to_dataset
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.proposals import NewProposal
from samadapt.store.rebuild import differences, read_log, rebuild
from samadapt.store.records import ImageFacts, Review

MASK = Rle.from_mask(np.ones((40, 56), np.bool_))


def test_an_image_goes_through_review(project: Project) -> None:
    image, *_ = project.images.all()
    reviews = project.reviews
    assert reviews.get(image) == Review()
    assert reviews.set_state(image, "review", 0, "ann") == Review("review", "", 1)
    assert project.images.get(image).mark == "done"
    with pytest.raises(ConflictError, match="meanwhile"):
        reviews.set_state(image, "approved", 0, "cid")
    sent_back = reviews.set_state(image, "returned", 1, "bob", ("an edge is missing", (3.5, 4)))
    assert (sent_back.state, project.images.get(image).mark) == ("returned", "")
    (comment,) = reviews.comments(image)
    assert (comment.text, comment.x, comment.y, comment.person) == (
        "an edge is missing", 3.5, 4, "bob",
    )  # fmt: skip
    assert reviews.open_comments() == {image: 1}
    # Done again, it waits for review again; reopened, for none.
    revision = project.images.get(image).revision
    project.images.mark(image, "done", revision, "ann")
    assert reviews.get(image).state == "review"
    assert reviews.resolve(1, True, "ann") == image
    assert reviews.open_comments() == {}
    project.images.mark(image, "", revision + 1, "ann")
    assert reviews.get(image).state == ""
    assert reviews.people() == ["bob"]


def test_what_was_approved_and_changed_is_looked_at_again(project: Project) -> None:
    image, other, *_ = project.images.all()
    thing = project.objects.add(NewMask(image, MASK), "ann")
    for change in (
        lambda: project.objects.add(NewMask(image, MASK), "ann"),
        lambda: project.objects.delete(thing.id, 1, "ann"),
        lambda: project.objects.restore(thing.id, 2, "ann"),
        lambda: project.details.tag(image, ["night"], "ann"),
    ):
        project.reviews.set_state(image, "approved", project.reviews.get(image).revision, "bob")
        approved = [i.id for i in to_dataset(project, approved_only=True).images]
        assert approved == [image]
        project.objects.add(NewMask(other, MASK), "ann")
        assert project.reviews.get(image).state == "approved"
        change()
        assert project.reviews.get(image).state == "review"
        assert to_dataset(project, approved_only=True).images == ()


def test_the_log_gives_reviews_back(project: Project) -> None:
    first, second, *_ = project.images.all()
    reviews = project.reviews
    reviews.assign([first, second], " Ann ", "bob")
    reviews.assign([second], "", "bob")
    reviews.set_state(first, "approved", 0, "bob")
    assert reviews.comment(second, "two\nlines", (1, 2), "bob") == 1
    assert reviews.comment(first, "more", (3, 4), "ann") == 2
    reviews.resolve(1, True, "ann")
    reviews.resolve(1, True, "ann")  # again: nothing new
    before = reviews.all(), reviews.comments()
    assert before[0] == {first: Review("approved", "Ann", 1)}
    assert differences(project, read_log(project)) == ""
    rebuild(project)
    assert (reviews.all(), reviews.comments()) == before
    assert project.journal.changed_since(0) == {first, second}
    assert project.journal.changed_since(project.journal.last_number()) == set()


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001, "half \ud800", "bell \x07"])
def test_a_comment_that_cannot_be_is_refused(project: Project, text: str) -> None:
    image, *_ = project.images.all()
    with pytest.raises(DataError, match="comment"):
        project.reviews.set_state(image, "returned", 0, "bob", (text, (0, 0)))
    assert (project.reviews.get(image), project.images.get(image).mark) == (Review(), "")
    with pytest.raises(MissingError):
        project.reviews.resolve(7, True, "ann")
    with pytest.raises(MissingError):
        project.reviews.assign([image, 999], "ann", "bob")
    assert project.reviews.all() == {}


@pytest.mark.parametrize("place", [(-0.1, 1), (1, 1e6), (float("nan"), 1), (float("inf"), 1)])
def test_a_comment_outside_the_image_is_refused(
    project: Project, place: tuple[float, float]
) -> None:
    image, *_ = project.images.all()
    project.images.note(image, ImageFacts(40, 56, None, 1, 1))
    with pytest.raises(DataError, match="inside the image"):
        project.reviews.comment(image, "here", place, "ann")
    assert project.reviews.comment(image, "at the end", (56, 40), "ann") == 1


def test_a_project_of_the_schema_before_opens(where: str, folder: Path) -> None:
    from sqlalchemy import text

    with Project.open(where) as project:
        project.images.scan(folder)
        with project.database.write() as tx:
            for table in ("comments", "reviews", "learning", "codes"):
                tx.execute(text(f"DROP TABLE {table}"))
            tx.execute(text("DROP INDEX proposals_of_state"))
            tx.execute(text("ALTER TABLE proposals DROP COLUMN state"))
            tx.execute(text("CREATE INDEX proposals_of_image ON proposals (project_id, image_id)"))
            tx.execute(text("DELETE FROM samadapt_schema WHERE version >= 5"))
    with Project.open(where) as project:
        image, *_ = project.images.all()
        assert project.reviews.all() == {}
        assert project.reviews.set_state(image, "review", 0, "ann").revision == 1


def test_proposals_of_the_schema_before_wait_or_are_rejected(where: str, folder: Path) -> None:
    from sqlalchemy import text

    rle = Rle.from_mask(np.eye(40, 56) > 0)
    found = [NewProposal("cell", rle, 0.5, (1, 1)), NewProposal("dust", rle, 0.7, (1, 1))]
    with Project.open(where) as project:
        project.images.scan(folder)
        image, *_ = project.images.all()
        project.proposals.put("a", {image: found})
        with project.database.write() as tx:
            tx.execute(text("DROP INDEX proposals_of_state"))
            tx.execute(text("CREATE INDEX proposals_of_image ON proposals (project_id, image_id)"))
            for column in ("state", "content_hash"):
                tx.execute(text(f"ALTER TABLE proposals DROP COLUMN {column}"))
            columns = (
                "project_id INTEGER, image_id INTEGER, label TEXT, height INTEGER, width INTEGER"
            )
            tx.execute(
                text(f"CREATE TABLE rejected_proposals (id INTEGER, {columns}, counts TEXT)")
            )
            names = "project_id, image_id, label, height, width, counts"
            tx.execute(
                text(
                    f"INSERT INTO rejected_proposals (id, {names}) SELECT 7, {names} "  # noqa: S608
                    "FROM proposals WHERE label = 'dust'"
                )
            )
            tx.execute(text("DELETE FROM proposals WHERE label = 'dust'"))
            tx.execute(text("DELETE FROM samadapt_schema WHERE version >= 7"))
    with Project.open(where) as project:
        assert [one.proposal.label for one in project.proposals.waiting(image)] == ["cell"]
        assert [one.label for one in project.proposals.rejected(image)] == ["dust"]
        assert project.proposals.put("b", {image: found}) == 1  # dust stays out
        new = NewProposal("cell", rle, 0.5, (1, 1), "of these pixels")
        assert project.proposals.put("c", {image: [new]}) == 1
        assert new in [one.proposal for one in project.proposals.waiting(image)]
