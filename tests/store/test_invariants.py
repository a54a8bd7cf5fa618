"""Objects, labels and keys that belong together: kept so by the database itself."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Boolean, MetaData, create_engine, insert, make_url, text

from samadapt.data.rle import Rle
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import Label, LabelsSet
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.rebuild import read_log, rebuild

Mask = NDArray[np.bool_]
SCHEMA_1 = Path(__file__).parent / "schema_1.json"
"""Written by the version that kept labels in a column: a label was removed and an object of it
restored, and another object was added with a label that was removed."""


def first(project: Project) -> int:
    return project.images.entries()[0].id


def remove(project: Project, name: str) -> None:
    labels, revision = project.labels.all()
    project.labels.set([one for one in labels if one.name != name], revision, "bob")


def names(project: Project) -> dict[int, str]:
    return {label.id: label.name for label in project.labels.all()[0]}


def test_an_object_comes_back_with_its_label(project: Project, square: Mask) -> None:
    numbers = project.labels.named(["cell", "debris"], "ann")
    new = NewMask(first(project), Rle.from_mask(square), numbers["cell"])
    thing = project.objects.add(new, "ann")
    project.objects.delete(thing.id, 1, "ann")
    remove(project, "cell")
    # Another label has its name now: both stay, each with a name of its own.
    project.labels.named(["cell"], "bob")
    back = project.objects.restore(thing.id, 2, "ann")
    assert back.label_id == numbers["cell"]
    assert names(project) == {2: "debris", 3: "cell", numbers["cell"]: "cell (2)"}
    labels, revision = project.labels.all()
    reading = read_log(project)
    assert (reading.labels, reading.labels_revision) == (labels, revision)


def test_a_label_that_was_removed_is_refused_in_the_transaction_itself(
    project: Project, square: Mask
) -> None:
    numbers = project.labels.named(["cell"], "ann")
    thing = project.objects.add(NewMask(first(project), Rle.from_mask(square)), "ann")
    remove(project, "cell")
    events = project.journal.last_number()
    with pytest.raises(MissingError, match="no label 1"):
        project.objects.add(NewMask(first(project), Rle.from_mask(square), numbers["cell"]), "ann")
    with pytest.raises(MissingError, match="no label 1"):
        project.objects.change(thing.id, 1, "ann", numbers["cell"], None)
    assert project.journal.last_number() == events


def test_of_removing_and_using_a_label_at_once_one_is_refused(
    project: Project, square: Mask
) -> None:
    rle = Rle.from_mask(square)
    for _ in range(3):
        number = project.labels.named(["cell"], "ann")["cell"]
        together = threading.Barrier(2)
        refused: list[Exception] = []

        def run(action: Any, together: Any = together, refused: Any = refused) -> None:
            together.wait()
            try:
                action()
            except (ConflictError, MissingError) as error:
                refused.append(error)

        new = NewMask(first(project), rle, number)
        actions = (lambda: remove(project, "cell"), lambda new=new: project.objects.add(new, "ann"))
        threads = [threading.Thread(target=run, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        for thing in project.objects.all():
            assert thing.label_id in names(project)
            project.objects.delete(thing.id, 1, "ann")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE objects SET label_id = 99",
        "UPDATE object_labels SET id = 99",
        "DELETE FROM object_labels",
        "DELETE FROM images",
    ],
)
def test_the_database_itself_refuses_what_does_not_fit(
    project: Project, square: Mask, statement: str
) -> None:
    label = project.labels.named(["cell"], "ann")["cell"]
    project.objects.add(NewMask(first(project), Rle.from_mask(square), label), "ann")
    with pytest.raises(ConflictError, match="belongs to"), project.database.write() as tx:
        tx.execute(text(statement))
    assert names(project) == {label: "cell"}


def test_labels_may_swap_names_and_places(project: Project) -> None:
    project.labels.named(["cell", "debris"], "ann")
    (cell, debris), revision = project.labels.all()
    swapped = [Label(id=2, name="cell", colour="#1"), Label(id=1, name="debris", colour="#2")]
    project.labels.set(swapped, revision, "ann")
    assert list(project.labels.all()[0]) == swapped
    assert (cell.id, debris.id) == (1, 2)


def test_a_key_answers_for_one_image_only(project: Project, square: Mask) -> None:
    one, two, _ = (entry.id for entry in project.images.entries())
    saved = project.objects.add(NewMask(one, Rle.from_mask(square), key="once"), "ann")
    with pytest.raises(ConflictError, match="another image"):
        project.objects.add(NewMask(two, Rle.from_mask(~square), key="once"), "ann")
    with pytest.raises(ConflictError, match="another image"):
        project.objects.find_key("once", two)
    assert project.objects.find_key("once", one) == saved
    assert project.objects.of_image(two) == []


def test_a_log_that_lost_a_label_is_made_whole(project: Project, square: Mask) -> None:
    label = project.labels.named(["cell"], "ann")["cell"]
    project.objects.add(NewMask(first(project), Rle.from_mask(square), label), "ann")
    with project.database.write() as tx:
        event = LabelsSet(labels=(), revision=2)
        project.journal.add(tx, event, person="somebody")
    rebuild(project)
    assert names(project) == {label: "cell"}
    assert read_log(project).labels == project.labels.all()[0]


# -- projects of earlier versions ---------------------------------------------------------


def make_schema_1(where: str) -> None:
    """A database as the first schema was, filled with what that version wrote."""
    known = json.loads(SCHEMA_1.read_text())
    url = make_url(where if "://" in where else f"sqlite:///{where}")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    with engine.begin() as tx:
        for statement in known["ddl"]:
            if url.get_backend_name() == "postgresql":
                statement = statement.replace(
                    "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "SERIAL PRIMARY KEY"
                )
            tx.execute(text(statement))
        tables = MetaData()
        tables.reflect(tx)
        for name, rows in known["rows"].items():
            table = tables.tables[name]
            flags = {column.name for column in table.c if isinstance(column.type, Boolean)}
            for row in rows:
                values = {k: bool(v) if k in flags else v for k, v in row.items()}
                tx.execute(insert(table).values(values))
            if url.get_backend_name() == "postgresql" and name in ("projects", "images", "objects"):
                tx.execute(text(f"SELECT setval('{name}_id_seq', {len(rows)})"))
    engine.dispose()


def test_a_project_of_the_first_schema_opens_with_everything(where: str) -> None:
    make_schema_1(where)
    for _ in range(2):  # the second time it is of the present schema
        with Project.open(where, create=False) as project:
            things = {o.key: o for o in project.objects.all()}
            assert set(things) == {"one", "two", "three", "four"}
            assert things["one"].rle.area == 12
            assert (things["one"].prompts, things["one"].frozen_prompts) == (2, 4)
            # Label 2 was removed while an object had it, 3 likewise and its name given again.
            assert names(project) == {1: "cell", 4: "dust", 2: "debris", 3: "dust (2)"}
            assert (things["two"].label_id, things["three"].label_id) == (2, 3)
            a, b = project.images.entries()
            assert (a.name, b.name, b.mark) == ("a.png", "b.png", "done")
            reading = read_log(project)
            assert reading.objects == {o.id: o for o in things.values()}
            assert (reading.labels, reading.labels_revision) == project.labels.all()
            assert project.journal.last_number() == 13
            assert project.proposals.numbers() == {}
    with Project.open(where) as project:
        added = project.objects.add(NewMask(a.id, things["one"].rle, 2, key="five"), "ann")
        assert added.id == 5
        with pytest.raises(ConflictError, match="2 objects have the label 'debris'"):
            remove(project, "debris")
