"""`LabelTable`: the classes of a project, with their colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, func, select, update

from samadapt.store.database import Database
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import Label, LabelsSet
from samadapt.store.journal import Journal
from samadapt.store.label_names import check_attributes, checked, clean_name
from samadapt.store.label_rows import (
    earlier_labels,
    present_labels,
    put_label_attributes,
    put_labels,
    with_missing,
)
from samadapt.store.proposals import rename_proposals
from samadapt.store.tables import objects, projects

COLOURS = (
    "#e6413c", "#3c8ee6", "#fff000", "#5a1e4b", "#2d00b4", "#ff96b4", "#b4ff96", "#780f1e",
    "#876996", "#3cffff", "#c35a69", "#c3a50f", "#874bff", "#4b1e78", "#a5b4f0", "#b4b478",
    "#3c6900", "#1e5ac3", "#873c5a", "#5ae15a", "#d2e1b4", "#5a4b87", "#1e1eff", "#f069c3",
    "#00a54b", "#b47800", "#ff2df0", "#8700a5", "#f0d23c", "#699687", "#b44bb4", "#96d2d2",
    "#c30f0f", "#a52d3c", "#a5ffe1", "#69b487", "#691e3c", "#691ee1", "#d2ff78", "#e1875a",
)  # fmt: skip
"""Colours for new labels, in order, which also differ for colour-blind people."""


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
            DataError: an invalid name, or too many labels; see `label_names`.
            ConflictError: `revision` is not the present one, two labels have the same name, or
                a removed label still has objects.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            known, now = self._all(tx)
            labels = checked(labels, known)
            for label in labels:
                check_attributes(label.attributes)
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
            numbered = self._numbered(tx, labels, known)
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

    def take_out(self, tx: Connection, label_id: int, revision: int, person: str) -> None:
        """Remove a label without objects, in the caller's transaction.

        Raises:
            ConflictError: `revision` is not the present one.
            MissingError: there is no such label.
        """
        known, now = self._all(tx)
        if revision != now:
            raise ConflictError("somebody else changed the labels meanwhile: look and do it again")
        left = [label for label in known if label.id != label_id]
        if len(left) == len(known):
            raise MissingError(f"there is no label {label_id} in this project: choose another")
        self._put(tx, left, now + 1, person)

    def bring_back(self, tx: Connection, label_id: int | None, person: str) -> None:
        """Restore a removed label, since an object with it is restored."""
        known, revision = self._all(tx)
        if label_id is None or label_id in {label.id for label in known}:
            return
        found = with_missing(known, [label_id], earlier_labels(tx, self._project))
        self._put(tx, found, revision + 1, person)

    def named(self, names: Sequence[str], person: str) -> dict[str, int]:
        """Numbers of labels by name; missing labels are added, each with a new colour.

        Raises:
            DataError: an invalid name, or too many labels; see `label_names`.
        """
        numbers = {label.name: label.id for label in self.all()[0]}
        if numbers.keys() >= set(names):
            return numbers
        with self._database.write() as tx:
            return self.named_in(tx, names, person)

    def named_in(self, tx: Connection, names: Sequence[str], person: str) -> dict[str, int]:
        """As `named`, in the caller's transaction."""
        self._journal.lock(tx)
        known, revision = self._all(tx)
        numbers = {label.name: label.id for label in known}
        clean = {name: name if name in numbers else clean_name(name) for name in names}
        fresh = [name for name in dict.fromkeys(clean.values()) if name not in numbers]
        if fresh:
            colours = fresh_colours(known)
            added = [Label(id=0, name=name, colour=next(colours)) for name in fresh]
            labels = self._numbered(tx, checked([*known, *added], known), known)
            self._put(tx, labels, revision + 1, person)
            numbers = {label.name: label.id for label in labels}
        return numbers | {name: numbers[label] for name, label in clean.items()}

    def _all(self, tx: Connection) -> tuple[tuple[Label, ...], int]:
        wanted = select(projects.c.labels_revision).where(projects.c.id == self._project)
        revision = int(tx.execute(wanted).scalar_one())
        return present_labels(tx, self._project), revision

    def _numbered(
        self, tx: Connection, labels: Iterable[Label], known: Iterable[Label]
    ) -> list[Label]:
        """The labels, new ones with numbers that no label has or had."""
        # Numbers of labels that were removed are not given again, for the log names them.
        highest = select(func.max(objects.c.label_id)).where(objects.c.project_id == self._project)
        used = [label.id for label in known] + [int(tx.execute(highest).scalar() or 0)]
        following = max(used, default=0)
        numbered = []
        for label in labels:
            following += 0 if label.id else 1
            numbered.append(label if label.id else label.model_copy(update={"id": following}))
        return numbered

    def _put(self, tx: Connection, labels: Sequence[Label], revision: int, person: str) -> None:
        event = LabelsSet(labels=tuple(labels), revision=revision)
        now = {label.id: label.name for label in labels}
        before = {label.id: label.name for label in present_labels(tx, self._project)}
        changed = {name: now[k] for k, name in before.items() if now.get(k, name) != name}
        rename_proposals(tx, self._project, changed)
        self._journal.add(tx, event, person=person)
        put_labels(tx, self._project, event.labels)
        put_label_attributes(tx, self._project, event.labels)
        here = projects.c.id == self._project
        tx.execute(update(projects).where(here).values(labels_revision=revision))


def fresh_colours(known: Iterable[Label]) -> Iterator[str]:
    """Colours for new labels: unused colours first, then all again."""
    used = Counter(label.colour.lower() for label in known)
    while True:
        colour = min(COLOURS, key=lambda one: used[one])
        used[colour] += 1
        yield colour
