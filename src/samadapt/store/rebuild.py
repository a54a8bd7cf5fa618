"""Rebuilding a project's tables from its event log."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import delete, insert, select, update

from samadapt.store.errors import StoreError
from samadapt.store.events import (
    ImageMarked,
    ImagesAdded,
    Label,
    LabelsSet,
    Mark,
    ObjectAdded,
    ObjectChanged,
    ObjectDeleted,
    ObjectMeasured,
    ObjectRestored,
)
from samadapt.store.journal import Entry
from samadapt.store.label_rows import put_labels, with_missing
from samadapt.store.projects import Project
from samadapt.store.records import StoredObject
from samadapt.store.tables import images, objects, projects


class Reading:
    """The state of a project after some of its events."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.marks: dict[int, tuple[Mark, int]] = {}
        self.annotated: dict[int, str] = {}
        self.labels: tuple[Label, ...] = ()
        self.earlier_labels: dict[int, Label] = {}
        self.labels_revision = 0
        self.objects: dict[int, StoredObject] = {}

    def take(self, entry: Entry) -> None:
        """Take one more event into account."""
        event = entry.event
        match event:
            case ImagesAdded():
                self.names |= dict(event.images)
            case ImageMarked():
                self.marks[event.image] = event.mark, event.revision
            case LabelsSet():
                self.labels, self.labels_revision = event.labels, event.revision
                self.earlier_labels |= {label.id: label for label in event.labels}
            case ObjectAdded():
                self.objects[event.object] = _added(event, entry)
                if event.content_hash is not None:
                    self.annotated.setdefault(event.image, event.content_hash)
            case ObjectChanged():
                self._set(event, entry, label_id=event.label, counts=event.counts)
            case ObjectDeleted():
                self._set(event, entry, deleted=True)
            case ObjectRestored():
                self._set(event, entry, deleted=False)
            case ObjectMeasured():
                now = self.objects[event.object]
                self.objects[event.object] = replace(now, frozen_prompts=event.frozen_prompts)

    def _set(
        self,
        event: ObjectChanged | ObjectDeleted | ObjectRestored,
        entry: Entry,
        **values: object,
    ) -> None:
        now = self.objects[event.object]
        self.objects[event.object] = replace(
            now,
            revision=event.revision,
            person=entry.person,
            **values,  # type: ignore[arg-type]
        )


def read_log(project: Project, problems: list[str] | None = None) -> Reading:
    """The state of a project, from its log alone.

    Args:
        project: which.
        problems: takes a line about each event that is about something unknown; without it such
            an event is an error.

    Raises:
        StoreError: a damaged event, or one about something unknown.
    """
    reading = Reading()
    for entry in project.journal.entries():
        try:
            reading.take(entry)
        except KeyError as error:
            text = f"event {entry.number} ({entry.event.kind}) is about an unknown object {error}"
            if problems is None:
                raise StoreError(f"{project.name}: {text}: run samadapt doctor") from None
            problems.append(text)
    return reading


def differences(project: Project, reading: Reading) -> str:
    """Return the differences between the tables and the event log; empty if there are none."""
    wrong = []
    if {o.id: o for o in project.objects.all(deleted=True)} != reading.objects:
        wrong.append("objects")
    if project.labels.all() != (reading.labels, reading.labels_revision):
        wrong.append("labels")
    images = project.images.all()
    marks = {i: (image.mark, image.revision) for i, image in images.items() if image.revision}
    if {i: image.name for i, image in images.items()} != reading.names or marks != reading.marks:
        wrong.append("images")
    return f"the tables of {', '.join(wrong)} differ from the log" if wrong else ""


def rebuild(project: Project, reading: Reading | None = None) -> None:
    """Rebuild the tables from the event log; facts about image files are kept."""
    reading = reading or read_log(project)
    mine = project.id
    with project.database.write() as tx:
        project.journal.lock(tx)
        tx.execute(delete(objects).where(objects.c.project_id == mine))
        known = set(tx.execute(select(images.c.id).where(images.c.project_id == mine)).scalars())
        fresh = [
            {"id": number, "project_id": mine, "name": name}
            for number, name in reading.names.items()
            if number not in known
        ]
        if fresh:
            tx.execute(insert(images), fresh)
        for number in reading.names:
            mark, revision = reading.marks.get(number, ("", 0))
            values = {
                "mark": mark,
                "revision": revision,
                "annotated_hash": reading.annotated.get(number),
            }
            tx.execute(update(images).where(images.c.id == number).values(**values))
        for thing in reading.objects.values():
            columns = {name: getattr(thing, name) for name in thing.__slots__}
            tx.execute(insert(objects).values(project_id=mine, **columns))
        labels, revision = reading.labels, reading.labels_revision
        used = {o.label_id for o in reading.objects.values() if not o.deleted}
        if missing := used - {label.id for label in labels} - {None}:
            numbers = [number for number in missing if number is not None]
            labels = with_missing(labels, numbers, reading.earlier_labels)
            revision += 1
            project.journal.add(tx, LabelsSet(labels=labels, revision=revision), person="")
        put_labels(tx, mine, labels)
        here = projects.c.id == mine
        tx.execute(update(projects).where(here).values(labels_revision=revision))


def _added(event: ObjectAdded, entry: Entry) -> StoredObject:
    return StoredObject(
        id=event.object,
        image_id=event.image,
        key=event.key,
        revision=1,
        deleted=False,
        label_id=event.label,
        height=event.height,
        width=event.width,
        counts=event.counts,
        source=event.source,
        person=entry.person,
        time=entry.time,
        prompts=event.prompts,
        frozen_prompts=None,
        adapted=event.adapted,
    )
