"""Labels inside a transaction: reading and replacing the list, restoring earlier labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from samadapt.store.errors import MissingError
from samadapt.store.events import Label, LabelsSet, read_event
from samadapt.store.tables import details, events, labels


def present_labels(tx: Connection, project_id: int) -> tuple[Label, ...]:
    """The list of a project's labels, in the person's order."""
    said = select(details.c.number, details.c.body).where(*_attributes_of(project_id))
    attributes = {row.number: json.loads(row.body) for row in tx.execute(said)}
    wanted = select(labels).where(labels.c.project_id == project_id).order_by(labels.c.place)
    return tuple(
        Label(id=r.id, name=r.name, colour=r.colour, attributes=attributes.get(r.id, ()))
        for r in tx.execute(wanted)
    )


def put_labels(tx: Connection, project_id: int, present: Sequence[Label]) -> None:
    """Replace the list; the database refuses to lose a label that an object has."""
    tx.execute(delete(labels).where(labels.c.project_id == project_id))
    rows = [
        {"project_id": project_id, "place": place, **label.model_dump(exclude={"attributes"})}
        for place, label in enumerate(present)
    ]
    if rows:
        tx.execute(insert(labels), rows)


def put_label_attributes(tx: Connection, project_id: int, present: Sequence[Label]) -> None:
    """Replace the definitions of attributes of each label."""
    tx.execute(delete(details).where(*_attributes_of(project_id)))
    for label in present:
        if label.attributes:
            body = json.dumps([attribute.model_dump() for attribute in label.attributes])
            row = {"project_id": project_id, "kind": "label", "number": label.id, "body": body}
            tx.execute(insert(details).values(**row))


def _attributes_of(project_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return details.c.project_id == project_id, details.c.kind == "label"


def check_label(tx: Connection, project_id: int, label_id: int | None) -> None:
    """Raise `MissingError` when there is no such label; a removal waits for the transaction.

    The caller holds the project's lock, see `Journal.lock`.
    """
    if label_id is None:
        return
    here = labels.c.project_id == project_id, labels.c.id == label_id
    if tx.execute(select(labels.c.id).where(*here)).first() is None:
        raise MissingError(f"there is no label {label_id} in this project: choose another")


def earlier_labels(tx: Connection, project_id: int) -> dict[int, Label]:
    """Every label that a project ever had, in its last form, by number."""
    return {label.id: label for label in _all_labels(tx, project_id)}


def _all_labels(tx: Connection, project_id: int) -> Iterator[Label]:
    """Every label of every list that a project ever had, in order."""
    wanted = (
        select(events.c.body)
        .where(events.c.project_id == project_id, events.c.kind == LabelsSet.kind)
        .order_by(events.c.number)
    )
    for body in tx.execute(wanted).scalars().all():
        event = read_event(LabelsSet.kind, body)
        if isinstance(event, LabelsSet):
            yield from event.labels


def present_names(
    tx: Connection,
    project_id: int,
    names: Iterable[str],
    numbers: Mapping[str, int | None] | None = None,
) -> dict[str, str]:
    """The present names of labels that were renamed or removed, by earlier names.

    Args:
        tx: the transaction.
        project_id: of the project.
        names: the earlier names.
        numbers: the labels that had some of these names (None: no label had it); the others are
            looked up in the log, if no label has their name now.
    """
    numbers = numbers or {}
    labels = present_labels(tx, project_id)
    present = {label.id: label.name for label in labels}
    missing = set(names) - set(present.values()) - set(numbers)
    found = {
        label.name: present[label.id]
        for label in (_all_labels(tx, project_id) if missing else ())
        if label.name in missing and label.id in present
    }
    known = {name: number for name, number in numbers.items() if number is not None}
    removed = {number for number in known.values() if number not in present}
    if removed:  # they are restored, under these names, when a proposal is accepted
        restored = with_missing(labels, removed, earlier_labels(tx, project_id))
        present |= {label.id: label.name for label in restored}
    return found | {name: present[number] for name, number in known.items()}


def with_missing(
    present: Sequence[Label], missing: Iterable[int], earlier: Mapping[int, Label]
) -> tuple[Label, ...]:
    """The list with earlier labels restored; a label whose name is in use is renamed."""
    found = list(present)
    for number in sorted(missing):
        label = earlier.get(number) or Label(id=number, name=f"label {number}", colour="#6b8e9e")
        taken = {one.name for one in found}
        names = (label.name, *(f"{label.name} ({count})" for count in range(2, len(taken) + 3)))
        name = next(name for name in names if name not in taken)
        found.append(label.model_copy(update={"name": name}))
    return tuple(found)
