"""`LabelTable`: the classes of a project, with their colours."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from samadapt.store.database import Database
from samadapt.store.errors import ConflictError
from samadapt.store.events import Label, LabelsSet
from samadapt.store.journal import Journal
from samadapt.store.label_names import checked, clean_name
from samadapt.store.label_rows import earlier_labels, present_labels, put_labels, with_missing
from samadapt.store.tables import objects, projects

COLOURS = (
    "#e6413c", "#3c8ee6", "#3fae49", "#f2a516", "#9b59d0", "#19b5b0",
    "#e667b3", "#8f7a3d", "#7bc043", "#5b6ee1", "#ff7f50", "#6b8e9e",
)  # fmt: skip
"""Colours for new labels, in order; distinct on dark and bright images."""


class LabelTable:
    """The labels of one project."""

    def __init__(self, database: Database, project_id: int, journal: Journal) -> None:
        self._database, self._project, self._journal = database, project_id, journal

    def all(self) -> tuple[tuple[Label, ...], int]:
        """Return all labels in the person's order, and the list's revision."""
        with self._database.read() as tx:
            return self._all(tx)

    def set(self, labels: Sequence[Label], revision: int, person: str) -> int:
        """Replace the list; returns its new revision.

        Labels keep their numbers; a new one has number 0 and gets the next free one.

        Raises:
            DataError: a name that cannot be, or too many labels; see `label_names`.
            ConflictError: `revision` is not the present one, two labels of one name, or a label
                left out that objects still have.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            known, now = self._all(tx)
            labels = checked(labels, known)
            if revision != now:
                raise ConflictError(
                    "somebody else changed the labels meanwhile: look and do it again"
                )
            names = [label.name for label in labels]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ConflictError(f"two labels are called {twice!r}: give each its own name")
            given = [label.id for label in labels if label.id]
            if len(set(given)) != len(given) or set(given) - {label.id for label in known}:
                raise ConflictError("the list of labels names a label that does not exist")
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
            removed = {label.id: label.name for label in known}
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
            self._put(tx, numbered, now + 1, person)
        return now + 1

    def bring_back(self, tx: Connection, label_id: int | None, person: str) -> None:
        """Put a label onto the list again if it was removed: an object that has it comes back."""
        known, revision = self._all(tx)
        if label_id is None or label_id in {label.id for label in known}:
            return
        found = with_missing(known, [label_id], earlier_labels(tx, self._project))
        self._put(tx, found, revision + 1, person)

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

    def _all(self, tx: Connection) -> tuple[tuple[Label, ...], int]:
        wanted = select(projects.c.labels_revision).where(projects.c.id == self._project)
        revision = int(tx.execute(wanted).scalar_one())
        return present_labels(tx, self._project), revision

    def _put(self, tx: Connection, labels: Sequence[Label], revision: int, person: str) -> None:
        event = LabelsSet(labels=tuple(labels), revision=revision)
        self._journal.add(tx, event, person=person)
        put_labels(tx, self._project, event.labels)
        here = projects.c.id == self._project
        tx.execute(update(projects).where(here).values(labels_revision=revision))
