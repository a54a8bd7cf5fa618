"""Rebuilding a project's tables from its event log."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select, update

from samadapt.store.details import put_detail
from samadapt.store.errors import StoreError
from samadapt.store.events import (
    CommentAdded,
    CommentResolved,
    FramesGrouped,
    ImageAssigned,
    ImageMarked,
    ImageReviewed,
    ImagesAdded,
    ImageTagged,
    Label,
    LabelsSet,
    Mark,
    ObjectAdded,
    ObjectChanged,
    ObjectDeleted,
    ObjectDescribed,
    ObjectMeasured,
    ObjectRestored,
    TrackFacts,
    TracksChanged,
    Value,
)
from samadapt.store.journal import Entry
from samadapt.store.label_rows import put_label_attributes, put_labels, with_missing
from samadapt.store.projects import Project
from samadapt.store.records import Comment, Review, StoredObject
from samadapt.store.review_rows import put_review
from samadapt.store.reviews import comment_row
from samadapt.store.tables import comments, details, images, objects, projects, reviews
from samadapt.store.tracks import NO_FACTS, put_tracks


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
        self.attributes: dict[int, dict[str, Value]] = {}
        self.tags: dict[int, list[str]] = {}
        self.frames = False
        self.tracked: dict[int, int] = {}
        self.tracks: dict[int, TrackFacts] = {}
        self.reviews: dict[int, Review] = {}
        self.comments: dict[int, Comment] = {}

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
                values: dict[str, object] = {"label_id": event.label, "counts": event.counts}
                if event.prompts is not None:
                    values["prompts"] = event.prompts
                self._set(event, entry, **values)
            case ObjectDeleted():
                self._set(event, entry, deleted=True)
            case ObjectRestored():
                self._set(event, entry, deleted=False)
            case ObjectMeasured():
                now = self.objects[event.object]
                self.objects[event.object] = replace(now, frozen_prompts=event.frozen_prompts)
            case ObjectDescribed():
                self.attributes[self.objects[event.object].id] = event.attributes
            case ImageTagged():
                self.tags[event.image] = list(event.tags)
            case FramesGrouped():
                self.frames = event.frames
            case TracksChanged():
                self.tracked |= {self.objects[n].id: track for n, track in event.objects.items()}
                self.tracks |= event.tracks
            case ImageAssigned() | ImageReviewed() | CommentAdded() | CommentResolved():
                self._take_review(event, entry)

    def _take_review(
        self,
        event: ImageAssigned | ImageReviewed | CommentAdded | CommentResolved,
        entry: Entry,
    ) -> None:
        match event:
            case ImageAssigned():
                now = self.reviews.get(event.image, Review())
                self.reviews[event.image] = replace(now, assignee=event.assignee)
            case ImageReviewed():
                now = self.reviews.get(event.image, Review())
                changed = replace(now, state=event.state, revision=event.revision)
                self.reviews[event.image] = changed
            case CommentAdded():
                place = event.text, event.x, event.y
                made = Comment(event.comment, event.image, *place, entry.person, entry.time, False)
                self.comments[event.comment] = made
            case CommentResolved():
                known = self.comments[event.comment]
                self.comments[event.comment] = replace(known, resolved=event.resolved)

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
        project: the project.
        problems: receives a line for each event about something unknown; without it such an event
            is an error.

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
    attributes = {number: said for number, said in reading.attributes.items() if said}
    tags = {number: said for number, said in reading.tags.items() if said}
    if (project.details.all_attributes(), project.details.tags()) != (attributes, tags):
        wrong.append("details")
    tracked = {number: track for number, track in reading.tracked.items() if track != number}
    tracks = {number: facts for number, facts in reading.tracks.items() if facts != NO_FACTS}
    if (project.tracks.numbers(), project.tracks.facts()) != (tracked, tracks):
        wrong.append("tracks")
    if project.stacks.frames != reading.frames:
        wrong.append("stacks")
    said = {number: review for number, review in reading.reviews.items() if review != Review()}
    comments = {one.number: one for one in project.reviews.comments()}
    if (project.reviews.all(), comments) != (said, reading.comments):
        wrong.append("reviews")
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
        tx.execute(delete(details).where(details.c.project_id == mine))
        put_label_attributes(tx, mine, labels)
        for number, attributes in reading.attributes.items():
            put_detail(tx, mine, "object", number, attributes)
        for number, tags in reading.tags.items():
            put_detail(tx, mine, "image", number, tags)
        put_tracks(tx, mine, reading.tracked, reading.tracks)
        put_detail(tx, mine, "frames", 0, reading.frames)
        _put_reviews(tx, mine, reading)
        here = projects.c.id == mine
        tx.execute(update(projects).where(here).values(labels_revision=revision))


def _put_reviews(tx: Connection, project_id: int, reading: Reading) -> None:
    for table in (reviews, comments):
        tx.execute(delete(table).where(table.c.project_id == project_id))
    for number, review in reading.reviews.items():
        put_review(tx, project_id, number, review)
    for comment in reading.comments.values():
        tx.execute(insert(comments).values(project_id=project_id, **comment_row(comment)))


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
