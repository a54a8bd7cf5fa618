"""Schema 2: labels from a column of JSON into a table that objects refer to."""

from __future__ import annotations

import time
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, insert, select, update

from samadapt.store.events import Label, LabelsSet
from samadapt.store.label_rows import earlier_labels, put_labels, with_missing
from samadapt.store.tables import LIVE_LABEL, events, objects, projects

_LABELS = TypeAdapter(tuple[Label, ...])
_REFERENCE = (
    "ALTER TABLE objects ADD CONSTRAINT live_objects_have_live_labels "
    "FOREIGN KEY (project_id, live_label) REFERENCES object_labels (project_id, id) "
    "DEFERRABLE INITIALLY DEFERRED"
)


def put_labels_into_a_table(tx: Connection) -> None:
    """Move the labels of all projects, including removed labels that objects still have."""
    columns = "id, events, labels, labels_revision"
    for row in tx.exec_driver_sql(f"SELECT {columns} FROM projects").all():  # noqa: S608
        _move(tx, row)
    tx.exec_driver_sql("ALTER TABLE projects DROP COLUMN labels")
    if tx.dialect.name == "sqlite":
        _objects_again(tx)
    else:
        column = f"live_label INTEGER GENERATED ALWAYS AS ({LIVE_LABEL}) STORED"
        tx.exec_driver_sql(f"ALTER TABLE objects ADD COLUMN {column}")
        tx.exec_driver_sql(_REFERENCE)


def _move(tx: Connection, project: Any) -> None:
    """Move a project's labels; removed labels that objects still have are restored."""
    known = _LABELS.validate_json(project.labels)
    used = select(objects.c.label_id).where(
        objects.c.project_id == project.id, ~objects.c.deleted, objects.c.label_id.is_not(None)
    )
    missing = set(tx.execute(used).scalars()) - {label.id for label in known}
    if missing:
        known = with_missing(known, missing, earlier_labels(tx, project.id))
        event = LabelsSet(labels=known, revision=project.labels_revision + 1)
        here = projects.c.id == project.id
        numbers = {"events": project.events + 1, "labels_revision": event.revision}
        tx.execute(update(projects).where(here).values(**numbers))
        tx.execute(
            insert(events).values(
                project_id=project.id,
                number=project.events + 1,
                time=time.time(),
                person="",
                kind=event.kind,
                body=event.model_dump_json(),
            )
        )
    put_labels(tx, project.id, known)


def _objects_again(tx: Connection) -> None:
    """SQLite cannot add a constraint to a table: make the table again."""
    (highest,) = tx.exec_driver_sql(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'objects'"
    ).one()
    names = ", ".join(f'"{column.name}"' for column in objects.c if column.computed is None)
    tx.exec_driver_sql("DROP INDEX objects_of_image")
    tx.exec_driver_sql("ALTER TABLE objects RENAME TO objects_before")
    objects.create(tx)
    copied = f"INSERT INTO objects ({names}) SELECT {names} FROM objects_before"  # noqa: S608
    tx.exec_driver_sql(copied)
    tx.exec_driver_sql("DROP TABLE objects_before")
    tx.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = 'objects'", (highest,))
