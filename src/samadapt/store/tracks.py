"""`TrackTable`: the tracks of objects along the slices of a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from samadapt.store.database import Database
from samadapt.store.details import all_details, put_detail
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import TrackFacts, TracksChanged
from samadapt.store.journal import Journal
from samadapt.store.objects import ObjectTable
from samadapt.store.proposals import ProposalTable
from samadapt.store.records import StoredObject

NO_FACTS = TrackFacts()
"""Facts of a track without a parent and without an end."""


@dataclass(frozen=True, slots=True)
class TrackStep:
    """A change of tracks that can be undone and redone.

    Attributes:
        objects: (before, after) track of each object that changes it.
        tracks: (before, after) facts of each track that changes them.
        deleted: (object, revision before) of each object that the change deletes.
        withdrawn: numbers of the waiting proposals that the change withdraws.
    """

    objects: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    tracks: Mapping[int, tuple[TrackFacts, TrackFacts]] = field(default_factory=dict)
    deleted: Sequence[tuple[int, int]] = ()
    withdrawn: Sequence[int] = ()

    def reversed(self) -> TrackStep:
        """The inverse change of objects and facts, without deletions and withdrawals."""
        return TrackStep(
            {number: (after, before) for number, (before, after) in self.objects.items()},
            {track: (after, before) for track, (before, after) in self.tracks.items()},
        )


class TrackTable:
    """The tracks of one project.

    An object is a track by itself, of its own number, until it is carried to another slice or
    joined with another one.
    """

    def __init__(
        self,
        database: Database,
        project_id: int,
        journal: Journal,
        objects: ObjectTable,
        proposals: ProposalTable,
    ) -> None:
        self._database, self._project, self._journal = database, project_id, journal
        self._objects, self._proposals = objects, proposals

    def numbers(self) -> dict[int, int]:
        """The track of every object that is not a track by itself."""
        with self._database.read() as tx:
            return all_details(tx, self._project, "tracked")

    def facts(self) -> dict[int, TrackFacts]:
        """The facts of all tracks that have any."""
        with self._database.read() as tx:
            return self._facts(tx)

    def follow_in(self, tx: Connection, object_id: int, origin: int, person: str) -> None:
        """Add an object to the track of `origin`, in the caller's transaction."""
        track = all_details(tx, self._project, "tracked").get(origin, origin)
        self._put(tx, {object_id: track}, {}, person)

    def take(self, step: TrackStep, person: str) -> None:
        """Make a change, all of it or none.

        Raises:
            ConflictError: somebody else changed one of its objects or tracks meanwhile.
            MissingError: an object is not in the project, or a proposal does not wait any more.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            self._change(tx, step, person)
            for number, revision in step.deleted:
                self._objects.delete_in(tx, number, revision, person)
            for number in step.withdrawn:
                self._proposals.withdraw_in(tx, number)

    def take_back(self, step: TrackStep, person: str) -> TrackStep:
        """Take a change back; returns how to make it again.

        Raises:
            ConflictError: as `take`.
            MissingError: as `take`.
        """
        with self._database.write() as tx:
            self._journal.lock(tx)
            self._change(tx, step.reversed(), person)
            for number, revision in step.deleted:
                self._objects.restore_in(tx, number, revision + 1, person)
            for number in step.withdrawn:
                self._proposals.bring_back_in(tx, number)
        return replace(step, deleted=[(number, revision + 2) for number, revision in step.deleted])

    # -- private ----------------------------------------------------------------------------

    def _change(self, tx: Connection, step: TrackStep, person: str) -> None:
        numbers, facts = all_details(tx, self._project, "tracked"), self._facts(tx)
        there = {one.id for one in self._objects.some_in(tx, [*step.objects])}
        if missing := step.objects.keys() - there:
            raise MissingError(f"there is no object {min(missing)} in this project")
        is_other = any(
            numbers.get(number, number) != before for number, (before, _) in step.objects.items()
        ) or any(facts.get(track, NO_FACTS) != before for track, (before, _) in step.tracks.items())
        if is_other:
            raise ConflictError(
                "somebody else changed these tracks meanwhile: look at them and do it again"
            )
        changed = {number: after for number, (_, after) in step.objects.items()}
        self._put(tx, changed, {track: after for track, (_, after) in step.tracks.items()}, person)

    def _put(
        self,
        tx: Connection,
        objects: Mapping[int, int],
        tracks: Mapping[int, TrackFacts],
        person: str,
    ) -> None:
        if not (objects or tracks):
            return
        event = TracksChanged(objects=dict(objects), tracks=dict(tracks))
        self._journal.add(tx, event, person=person)
        put_tracks(tx, self._project, objects, tracks)

    def _facts(self, tx: Connection) -> dict[int, TrackFacts]:
        found = all_details(tx, self._project, "track")
        return {track: TrackFacts.model_validate(said) for track, said in found.items()}


def put_tracks(
    tx: Connection,
    project_id: int,
    objects: Mapping[int, int],
    tracks: Mapping[int, TrackFacts],
) -> None:
    """Store the tracks of objects and the facts of tracks."""
    for number, track in objects.items():
        put_detail(tx, project_id, "tracked", number, None if track == number else track)
    for track, said in tracks.items():
        put_detail(tx, project_id, "track", track, said.model_dump(exclude_defaults=True))


# -- changes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tracked:
    """The objects of a stack with their tracks.

    Attributes:
        objects: by slice.
        numbers: the track of every object.
        facts: of the tracks that have any.
    """

    objects: Mapping[int, Sequence[StoredObject]]
    numbers: Mapping[int, int]
    facts: Mapping[int, TrackFacts]

    def of(self, track: int) -> dict[int, list[StoredObject]]:
        """The objects of a track, by slice."""
        found = {
            index: [one for one in some if self.numbers[one.id] == track]
            for index, some in sorted(self.objects.items())
        }
        return {index: some for index, some in found.items() if some}

    def split(self, track: int, at: int) -> TrackStep:
        """Split a track: from slice `at` on its objects are a new track, whose parent is the first.

        Raises:
            ConflictError: it has nothing before `at`, or nothing from there on.
        """
        mine = self.of(track)
        before = [one.id for index, some in mine.items() if index < at for one in some]
        after = [one.id for index, some in mine.items() if index >= at for one in some]
        if not before or not after:
            raise ConflictError(
                f"track {track} begins here: split it in a later slice"
                if after
                else f"track {track} has no object here or later: split it where it has one"
            )
        used = {*self.numbers.values(), *self.facts}
        said = self.facts.get(track, NO_FACTS)
        new = next((number for number in after if number not in used), None)
        if new is not None:
            tracks = {
                new: (NO_FACTS, TrackFacts(parent=track, ends=said.ends)),
                **({track: (said, TrackFacts(parent=said.parent))} if said.ends else {}),
            }
            tracks |= self._children(track, new)
            return TrackStep(dict.fromkeys(after, (track, new)), tracks)
        # The number belongs to the part that begins here: what is before gets another one.
        new = next((number for number in before if number not in used), None)
        if new is None:
            raise ConflictError(f"track {track} cannot be split again here: merge first")
        tracks = {
            new: (NO_FACTS, TrackFacts(parent=said.parent)),
            track: (said, TrackFacts(parent=new, ends=said.ends)),
        }
        return TrackStep(dict.fromkeys(before, (track, new)), tracks)

    def merge(self, track: int, other: int) -> TrackStep:
        """Merge two tracks into the first.

        Raises:
            ConflictError: both are the same track.
        """
        if track == other:
            raise ConflictError(f"both are track {track} already")
        said, gone = self.facts.get(track, NO_FACTS), self.facts.get(other, NO_FACTS)
        parent = gone.parent if said.parent in (None, other) else said.parent
        last = max(self.of(track), default=-1), max(self.of(other), default=-1)
        kept = TrackFacts(
            parent=None if parent == track else parent,
            ends=gone.ends if last[1] > last[0] else said.ends,
        )
        tracks = self._children(other, track) | {
            number: (before, after)
            for number, before, after in ((track, said, kept), (other, gone, NO_FACTS))
            if before != after
        }
        objects = {one.id: (other, track) for some in self.of(other).values() for one in some}
        return TrackStep(objects, tracks)

    def end(self, track: int, at: int, waiting: Sequence[int] = ()) -> TrackStep:
        """End a track in slice `at`: its later objects are deleted, its later proposals withdrawn.

        Args:
            track: number of the track.
            at: index of the slice.
            waiting: numbers of the track's waiting proposals in later slices.

        Raises:
            ConflictError: no object would be left, or the track ends there already.
        """
        mine, said = self.of(track), self.facts.get(track, NO_FACTS)
        if not any(index <= at for index in mine):
            raise ConflictError(f"track {track} begins later: delete its objects instead")
        later = [one for index, some in mine.items() if index > at for one in some]
        if said.ends and not (later or waiting):
            raise ConflictError(f"track {track} ends here already")
        ended = TrackFacts(parent=said.parent, ends=True)
        tracks = {} if said == ended else {track: (said, ended)}
        return TrackStep({}, tracks, [(one.id, one.revision) for one in later], waiting)

    def _children(self, track: int, new: int) -> dict[int, tuple[TrackFacts, TrackFacts]]:
        """Changes of facts that give the children of a track another parent, or none to itself."""
        return {
            child: (said, said.model_copy(update={"parent": None if child == new else new}))
            for child, said in self.facts.items()
            if said.parent == track
        }
