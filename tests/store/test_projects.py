from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Connection, text

from fakes import FakeModel, blobs
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.session.events import Event
from samadapt.session.session import Session
from samadapt.store import claims
from samadapt.store.database import Database
from samadapt.store.errors import ConflictError, FullError, MissingError, StoreError
from samadapt.store.events import Label
from samadapt.store.migrations import MIGRATIONS
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.rebuild import read_log, rebuild
from samadapt.store.records import ImageFacts
from samadapt.store.session_objects import SessionObjects

Mask = NDArray[np.bool_]


def ids(project: Project) -> list[int]:
    return [entry.id for entry in project.images.entries()]


# -- images -------------------------------------------------------------------------------


def test_images_are_listed_in_natural_order_with_any_name(project: Project) -> None:
    names = [entry.name for entry in project.images.entries()]
    assert names == ["img2.png", "img10.png", "sub/it's “ünï”.png"]


def test_scanning_again_finds_only_what_is_new_and_keeps_numbers(
    project: Project, folder: Path, square: Mask
) -> None:
    before = ids(project)
    assert project.images.scan(folder) == 0
    project.objects.add(NewMask(before[0], Rle.from_mask(square)), "ann")
    (folder / "img2.png").unlink()
    (folder / "img10.png").unlink()
    Image.fromarray(blobs()).save(folder / "img3.png")
    assert project.images.scan(folder) == 1
    found = {entry.name: entry for entry in project.images.entries()}
    # What was annotated stays listed though its file is gone.
    assert set(found) == {"img2.png", "img3.png", "sub/it's “ünï”.png"}
    assert (found["img2.png"].id, found["img2.png"].present) == (before[0], False)
    Image.fromarray(blobs()).save(folder / "img10.png")
    assert project.images.scan(folder) == 0
    assert before[1] in ids(project)


def test_two_thousand_images_are_one_event(tmp_path: Path, folder: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for index in range(2000):
        (many / f"{index}.png").touch()
    with Project.open(tmp_path / "many.sqlite") as project:
        assert project.images.scan(many) == 2000
        assert [e.name for e in project.images.entries()][:3] == ["0.png", "1.png", "2.png"]
        assert project.journal.last_number() == 1


def test_an_empty_folder_is_an_error(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in"):
        project.images.scan(tmp_path / "empty")


def test_images_of_the_same_pixels_are_known(project: Project) -> None:
    first, second, third = ids(project)
    for image_id, content in ((first, "x"), (second, "x"), (third, "y")):
        project.images.note(image_id, ImageFacts(40, 56, content, 10, 2**62))
    assert [i.id for i in project.images.same_content(project.images.get(first))] == [second]
    assert project.images.same_content(project.images.get(third)) == []
    assert project.images.get(first).facts == ImageFacts(40, 56, "x", 10, 2**62)


def test_marks_never_overwrite_each_other_silently(project: Project) -> None:
    image = project.images.get(ids(project)[0])
    done = project.images.mark(image.id, "done", image.revision, "ann")
    assert (done.mark, done.revision) == ("done", 1)
    with pytest.raises(ConflictError, match="somebody else"):
        project.images.mark(image.id, "skipped", image.revision, "bob")
    # The same wish twice is no conflict.
    assert project.images.mark(image.id, "done", image.revision, "bob") == done


# -- objects ------------------------------------------------------------------------------


def test_objects_keep_their_mask_exactly(project: Project, square: Mask) -> None:
    image = ids(project)[0]
    added = project.objects.add(NewMask(image, Rle.from_mask(square), prompts=3), "ann")
    (found,) = project.objects.of_image(image)
    assert found == added
    assert np.array_equal(found.mask(), square)
    assert (found.revision, found.prompts, found.person) == (1, 3, "ann")


def test_the_same_request_again_adds_nothing(project: Project, square: Mask) -> None:
    image = ids(project)[0]
    new = NewMask(image, Rle.from_mask(square), key="once")
    first = project.objects.add(new, "ann")
    assert project.objects.add(replace(new, rle=Rle.from_mask(~square)), "ann") == first
    assert len(project.objects.of_image(image)) == 1


def test_edits_name_the_version_that_they_are_based_on(project: Project, square: Mask) -> None:
    label = project.labels.named(["cell"], "ann")["cell"]
    thing = project.objects.add(NewMask(ids(project)[0], Rle.from_mask(square)), "ann")
    changed = project.objects.change(thing.id, 1, "ann", label, Rle.from_mask(~square))
    assert (changed.revision, changed.label_id) == (2, label)
    with pytest.raises(ConflictError, match="changed by ann meanwhile"):
        project.objects.change(thing.id, 1, "bob", None, None)
    with pytest.raises(ConflictError):
        project.objects.delete(thing.id, 1, "bob")
    deleted = project.objects.delete(thing.id, 2, "ann")
    with pytest.raises(ConflictError, match="deleted by ann"):
        project.objects.change(thing.id, 3, "bob", None, None)
    restored = project.objects.restore(thing.id, deleted.revision, "bob")
    assert np.array_equal(restored.mask(), ~square)
    with pytest.raises(MissingError):
        project.objects.get(thing.id + 1)


def test_the_same_edit_again_by_the_same_person_changes_nothing(
    project: Project, square: Mask
) -> None:
    rle = Rle.from_mask(square)
    number = project.objects.add(NewMask(1, rle), "ann").id
    other = Rle.from_mask(~square)
    changed = project.objects.change(number, 1, "ann", None, other)
    events = project.journal.last_change(1)
    assert project.objects.change(number, 1, "ann", None, other) == changed
    for person, mask in (("bob", other), ("ann", rle)):
        with pytest.raises(ConflictError):
            project.objects.change(number, 1, person, None, mask)
    assert project.journal.last_change(1) == events
    deleted = project.objects.delete(number, 2, "ann")
    assert project.objects.delete(number, 2, "ann") == deleted
    with pytest.raises(ConflictError):
        project.objects.delete(number, 2, "bob")
    back = project.objects.restore(number, 3, "ann")
    assert project.objects.restore(number, 3, "ann") == back
    assert back.revision == 4
    with pytest.raises(ConflictError):
        project.objects.restore(number, 3, "bob")


def test_an_edit_of_another_size_is_refused(project: Project, square: Mask) -> None:
    thing = project.objects.add(NewMask(ids(project)[0], Rle.from_mask(square)), "ann")
    with pytest.raises(ConflictError, match="was the image replaced"):
        project.objects.change(thing.id, 1, "ann", None, Rle.from_mask(square.T))


def test_of_many_editors_at_once_exactly_one_wins(project: Project, square: Mask) -> None:
    thing = project.objects.add(NewMask(ids(project)[0], Rle.from_mask(square)), "ann")
    outcomes: list[str] = []

    def edit(person: str) -> None:
        try:
            project.objects.change(thing.id, 1, person, None, Rle.from_mask(~square))
            outcomes.append(person)
        except ConflictError:
            outcomes.append("conflict")

    threads = [threading.Thread(target=edit, args=(f"p{k}",)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("conflict") == 5
    assert project.objects.get(thing.id).revision == 2
    numbers = [entry.number for entry in project.journal.entries()]
    assert numbers == sorted(set(numbers))


# -- labels -------------------------------------------------------------------------------


def test_labels_keep_their_numbers(project: Project, square: Mask) -> None:
    assert project.labels.named(["cell", "debris", "cell"], "ann") == {"cell": 1, "debris": 2}
    (cell, debris), revision = project.labels.all()
    renamed = cell.model_copy(update={"name": "nucleus"})
    fresh = Label(id=0, name="cell", colour="#000000")
    revision = project.labels.set([debris, renamed, fresh], revision, "ann")
    assert [(label.id, label.name) for label in project.labels.all()[0]] == [
        (2, "debris"),
        (1, "nucleus"),
        (3, "cell"),
    ]
    with pytest.raises(ConflictError, match="meanwhile"):
        project.labels.set([debris], revision - 1, "bob")
    with pytest.raises(ConflictError, match="two labels"):
        project.labels.set([debris, debris.model_copy(update={"id": 0})], revision, "bob")
    with pytest.raises(ConflictError, match="does not exist"):
        project.labels.set([debris.model_copy(update={"id": 9})], revision, "bob")


def test_a_label_in_use_cannot_be_removed(project: Project, square: Mask) -> None:
    project.labels.named(["cell", "debris"], "ann")
    (cell, debris), revision = project.labels.all()
    thing = project.objects.add(NewMask(ids(project)[0], Rle.from_mask(square), cell.id), "ann")
    with pytest.raises(ConflictError, match="1 objects have the label 'cell'"):
        project.labels.set([debris], revision, "ann")
    project.objects.delete(thing.id, 1, "ann")
    project.labels.set([debris], revision, "ann")
    # The number of a label that was removed is not given to another one.
    assert project.labels.named(["new"], "ann") == {"debris": 2, "new": 3}


# -- claims -------------------------------------------------------------------------------


def test_claims_show_others_and_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, _ = ids(project)
    assert project.claims.take("a", first, "ann") == []
    assert [c.person for c in project.claims.take("b", first, "bob")] == ["ann"]
    project.claims.take("a", second, "ann")
    assert project.claims.take("b", first, "bob") == []
    project.claims.release("a")
    assert [c.client for c in project.claims.all()] == ["b"]


@pytest.mark.parametrize("jump", [100.0, -100.0])
def test_a_claim_ends_when_the_clock_jumps(
    project: Project, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    project.claims.take("a", ids(project)[0], "ann")
    now = claims.time.time()
    monkeypatch.setattr(claims.time, "time", lambda: now + jump)
    assert project.claims.all() == []


# -- the log ------------------------------------------------------------------------------


def test_the_tables_are_what_the_log_adds_up_to(project: Project, square: Mask) -> None:
    first, second, third = ids(project)
    labels = project.labels.named(["cell", "debris"], "ann")
    kept = project.objects.add(
        NewMask(first, Rle.from_mask(square), labels["cell"], content_hash="h", prompts=2), "ann"
    )
    gone = project.objects.add(NewMask(second, Rle.from_mask(~square)), "bob")
    project.objects.change(kept.id, 1, "bob", labels["debris"], Rle.from_mask(~square))
    project.objects.delete(gone.id, 1, "bob")
    project.objects.set_frozen_prompts(kept.id, 5, "")
    project.images.mark(third, "skipped", 0, "ann")
    before = (
        project.objects.of_image(first, deleted=True),
        project.objects.of_image(second, deleted=True),
        [project.images.get(i) for i in (first, second, third)],
        project.labels.all(),
    )
    assert read_log(project).objects[kept.id] == project.objects.get(kept.id)
    with project.database.write() as tx:
        tx.execute(text("UPDATE objects SET counts = '0', revision = 77"))
        tx.execute(text("UPDATE projects SET labels_revision = 9"))
        tx.execute(text("UPDATE object_labels SET name = 'other' WHERE name = 'debris'"))
        tx.execute(text("UPDATE images SET mark = 'done'"))
    rebuild(project)
    after = (
        project.objects.of_image(first, deleted=True),
        project.objects.of_image(second, deleted=True),
        [project.images.get(i) for i in (first, second, third)],
        project.labels.all(),
    )
    assert after == before
    # Numbers are not given again.
    assert project.objects.add(NewMask(first, Rle.from_mask(square)), "ann").id > gone.id


def test_a_session_writes_into_the_projects_log(project: Project, fake_model: FakeModel) -> None:
    image = ids(project)[0]
    log = project.journal.log("client", image, "ann")
    session = Session(fake_model, log=log)
    session.open(blobs())
    session.click(14, 12)
    assert [r.event.kind for r in log] == ["opened", "clicked"]
    found = project.journal.last_log("client", image)
    assert found is not None
    assert [r.event for r in found] == [r.event for r in log]
    assert project.journal.last_log("other", image) is None
    tables = project.objects, project.proposals, project.tracks
    objects = SessionObjects(*tables, image, None, lambda: False)
    log.complete = lambda tx, event: objects.complete(tx, session.state, event)
    mask = session.accept()
    (thing,) = project.objects.of_image(image)
    assert np.array_equal(thing.mask(), mask)
    kinds = [entry.event.kind for entry in project.journal.entries(image_id=image)]
    assert kinds == ["opened", "clicked", "accepted", "object added"]


def test_an_object_that_cannot_be_saved_was_not_accepted(
    project: Project, fake_model: FakeModel
) -> None:
    image = ids(project)[0]
    log = project.journal.log("client", image, "ann")
    session = Session(fake_model, log=log)
    session.open(blobs())
    session.click(14, 12)

    def fails(tx: object, event: Event) -> Event:
        raise FullError("no space")

    log.complete = fails
    with pytest.raises(FullError):
        session.accept()
    log.complete = None
    assert session.clicks
    assert [r.event.kind for r in log] == ["opened", "clicked"]
    session.accept()  # and once there is space, it goes on
    assert len(log) == 3


# -- opening ------------------------------------------------------------------------------


def test_a_second_process_sees_what_the_first_wrote(tmp_path: Path, folder: Path) -> None:
    with Project.open(tmp_path / "p.sqlite") as one, Project.open(tmp_path / "p.sqlite") as two:
        one.images.scan(folder)
        assert len(two.images.entries()) == 3


def test_files_are_written_ahead_and_synchronously(tmp_path: Path) -> None:
    with Project.open(tmp_path / "p.sqlite") as project, project.database.read() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_only_missing_migrations_run_and_newer_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    Project.open(path).close()
    following = max(MIGRATIONS) + 1

    def step(tx: Connection) -> None:
        tx.exec_driver_sql("ALTER TABLE images ADD note TEXT")

    steps = {**MIGRATIONS, following: step}
    for _ in range(2):  # the second time there is nothing left to do
        Database(path, steps).close()
    with sqlite3.connect(path) as raw:
        assert [row[0] for row in raw.execute("SELECT version FROM samadapt_schema")] == [
            *range(1, following + 1)
        ]
        assert "note" in [row[1] for row in raw.execute("PRAGMA table_info(images)")]
    raw.close()
    with pytest.raises(StoreError, match="newer samadapt"):
        Project.open(path)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    Project.open(path).close()

    def breaks(tx: Connection) -> None:
        tx.exec_driver_sql("ALTER TABLE images ADD note TEXT")
        raise StoreError("broken")

    with pytest.raises(StoreError, match="broken"):
        Database(path, {**MIGRATIONS, max(MIGRATIONS) + 1: breaks})
    with sqlite3.connect(path) as raw:
        assert "note" not in [row[1] for row in raw.execute("PRAGMA table_info(images)")]
    raw.close()
    Project.open(path).close()


def test_what_is_no_project_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(StoreError, match="no project of samadapt"):
        Project.open(path)
    assert path.read_text() == "my notes"
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as raw:
        raw.execute("CREATE TABLE images (x)")
    raw.close()
    with pytest.raises(StoreError, match="not samadapt's"):
        Project.open(foreign)
    with pytest.raises(StoreError, match="is a folder"):
        Project.open(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        Project.open(tmp_path / "missing" / "p.sqlite")
    with pytest.raises(StoreError, match="there is no project"):
        Project.open(tmp_path / "p.sqlite", create=False)
    with pytest.raises(StoreError, match="not supported"):
        Project.open("mysql://host/name")


def test_a_database_may_hold_several_projects(tmp_path: Path, folder: Path, square: Mask) -> None:
    path = tmp_path / "p.sqlite"
    with Project.open(path, "one") as one, Project.open(path, "two") as two:
        one.images.scan(folder)
        one.labels.named(["cell"], "ann")
        assert two.images.entries() == []
        assert two.labels.all() == ((), 0)
        with pytest.raises(MissingError):
            two.images.get(ids(one)[0])
    with pytest.raises(StoreError, match=r"several projects.*one, two"):
        Project.open(path)


def test_a_full_disk_is_told_and_nothing_is_lost(
    tmp_path: Path, folder: Path, square: Mask
) -> None:
    with Project.open(tmp_path / "p.sqlite") as project:
        project.images.scan(folder)
        project.objects.add(NewMask(ids(project)[0], Rle.from_mask(square)), "ann")
        pages = _pragma(project, "page_count")
        noise = np.random.default_rng(0).random((400, 400)) < 0.5
        # SQLite's own bound on the file's size stands for the disk's.
        project.database.engine.dispose()
        from sqlalchemy import event

        @event.listens_for(project.database.engine, "connect")
        def bound(connection: sqlite3.Connection, record: object) -> None:
            connection.execute(f"PRAGMA max_page_count={pages}")

        with pytest.raises(FullError, match="free some space"):
            project.objects.add(NewMask(ids(project)[0], Rle.from_mask(noise)), "ann")
        assert len(project.objects.all()) == 1


def _pragma(project: Project, name: str) -> int:
    with project.database.read() as tx:
        return int(tx.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
