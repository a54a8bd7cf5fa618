"""`LabelTable`: the classes of a project, with their colours."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter
from sqlalchemy import func, select, update

from samadapt.store.database import Database
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import Label, LabelsSet
from samadapt.store.journal import Journal
from samadapt.store.label_names import checked, clean_name
from samadapt.store.tables import objects, projects

COLOURS = (
    "#e6413c", "#3c8ee6", "#3fae49", "#f2a516", "#9b59d0", "#19b5b0",
    "#e667b3", "#8f7a3d", "#7bc043", "#5b6ee1", "#ff7f50", "#6b8e9e",
)  # fmt: skip
"""Colours for new labels, in order; distinct on dark and bright images."""

_LABELS = TypeAdapter(tuple[Label, ...])


class LabelTable:
    """The labels of one project."""

    def __init__(self, database: Database, project_id: int, journal: Journal) -> None:
        self._database, self._project, self._journal = database, project_id, journal

    def all(self) -> tuple[tuple[Label, ...], int]:
        """All labels in the person's order, and the list's revision."""
        wanted = select(projects.c.labels, projects.c.labels_revision)
        with self._database.read() as tx:
            row = tx.execute(wanted.where(projects.c.id == self._project)).one()
        return _LABELS.validate_json(row.labels), int(row.labels_revision)

    def check(self, label_id: int | None) -> None:
        """Raise `MissingError` when there is no such label."""
        if label_id is not None and label_id not in {label.id for label in self.all()[0]}:
            raise MissingError(f"there is no label {label_id} in this project: choose another")

    def set(self, labels: Sequence[Label], revision: int, person: str) -> int:
        """Replace the list; returns its new revision.

        Labels keep their numbers; a new one has number 0 and gets the next free one.

        Raises:
            DataError: a name that cannot be, or too many labels; see `label_names`.
            ConflictError: `revision` is not the present one, two labels of one name, or a label
                left out that objects still have.
        """
        known, now = self.all()
        labels = checked(labels, known)
        if revision != now:
            raise ConflictError("somebody else changed the labels meanwhile: look and do it again")
        names = [label.name for label in labels]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConflictError(f"two labels are called {twice!r}: give each its own name")
        given = [label.id for label in labels if label.id]
        if len(set(given)) != len(given) or set(given) - {label.id for label in known}:
            raise ConflictError("the list of labels names a label that does not exist")
        with self._database.write() as tx:
            # Numbers of labels that were removed are not given again, for the log names them.
            highest = select(func.max(objects.c.label_id)).where(
                objects.c.project_id == self._project
            )
            used = [label.id for label in known] + [int(tx.execute(highest).scalar() or 0)]
            following = max(used, default=0)
            numbered = []
            for label in labels:
                following += 0 if label.id else 1
                numbered.append(label if label.id else label.model_copy(update={"id": following}))
            removed = {label.id: label.name for label in known} | {}
            for label in numbered:
                removed.pop(label.id, None)
            for label_id, name in removed.items():
                wanted = select(func.count()).where(
                    objects.c.project_id == self._project,
                    objects.c.label_id == label_id,
                    ~objects.c.deleted,
                )
                if count := int(tx.execute(wanted).scalar_one()):
                    raise ConflictError(
                        f"{count} objects have the label {name!r}: give them another one first"
                    )
            event = LabelsSet(labels=tuple(numbered), revision=now + 1)
            self._journal.add(tx, event, person=person)
            here = projects.c.id == self._project, projects.c.labels_revision == now
            text = _LABELS.dump_json(tuple(numbered)).decode()
            statement = update(projects).where(*here).values(labels=text, labels_revision=now + 1)
            if tx.execute(statement).rowcount != 1:
                raise ConflictError("somebody else changed the labels at this moment: try again")
        return now + 1

    def named(self, names: Sequence[str], person: str) -> dict[str, int]:
        """Numbers of labels by name; those that are missing are added, in colours of their own.

        Raises:
            DataError: a name that cannot be, or too many labels; see `label_names`.
        """
        while True:
            known, revision = self.all()
            numbers = {label.name: label.id for label in known}
            clean = {name: name if name in numbers else clean_name(name) for name in names}
            fresh = [name for name in dict.fromkeys(clean.values()) if name not in numbers]
            if not fresh:
                return numbers | {name: numbers[label] for name, label in clean.items()}
            added = [
                Label(id=0, name=name, colour=COLOURS[(len(known) + index) % len(COLOURS)])
                for index, name in enumerate(fresh)
            ]
            try:
                self.set([*known, *added], revision, person)
            except ConflictError:
                if self.all()[1] == revision:
                    raise
