"""Routes about stacks: carrying objects from slice to slice, filling, and tracks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from samadapt.server.who import Here, ImageId, Me
from samadapt.server.wire import (
    CarryRequest,
    FilledRequest,
    TrackRequest,
    TracksRequest,
    TrackStepRequest,
)
from samadapt.server.wire_answers import rle_crop
from samadapt.server.workspace import Workspace
from samadapt.store.errors import ConflictError
from samadapt.store.events import TrackFacts
from samadapt.store.filled import accept_filled
from samadapt.store.label_names import UNLABELLED
from samadapt.store.records import StoredObject
from samadapt.store.tracks import Tracked, TrackStep

router = APIRouter(prefix="/api")

Json = dict[str, Any]


@router.get("/images/{image_id}/tracks")
def tracks(image_id: ImageId, here: Here) -> Json:
    """Return the track of every object of a slice, its parent, and the slices that it is in."""
    place = here.gallery.slices.of(image_id)
    if place is None:
        return {"tracks": {}}
    tracked = here.carrying.tracked(place)
    found = {}
    for one in tracked.objects.get(place.index, []):
        track = tracked.numbers[one.id]
        said = tracked.facts.get(track)
        found[one.id] = {
            "track": track,
            "parent": said.parent if said else None,
            "ends": bool(said and said.ends),
            "slices": [*tracked.of(track)],
        }
    return {"tracks": found}


@router.post("/images/{image_id}/carry")
def carry(image_id: ImageId, wanted: CarryRequest, here: Here) -> Json:
    """Carry an object to the next slice, or the one before, as a proposal there."""
    found = here.carrying.carry(_object(here, image_id, wanted.object), wanted.step)
    proposal, names = found.proposal, {label.name for label in here.project.labels.all()[0]}
    shown = None
    if proposal is not None:
        one = proposal.proposal
        is_unlabelled = one.label == UNLABELLED and one.label not in names
        shown = {
            "id": proposal.id,
            "label": None if is_unlabelled else one.label,
            "score": round(one.score, 3),
            "mask": rle_crop(one.rle),
        }
    return {
        "image": found.image_id,
        "track": found.track,
        "proposal": shown,
        "object": found.object_id,
        "why": found.why,
        "problems": list(found.problems),
    }


@router.post("/images/{image_id}/fill")
def fill(image_id: ImageId, wanted: TrackRequest, here: Here) -> Json:
    """Fill the slices between an object and the next one of its track, in the background."""
    here.carrying.start(_object(here, image_id, wanted.object))
    return filling(here)


@router.get("/fill")
def filling(here: Here) -> Json:
    """Return the progress of filling, and the proposals found so far."""
    return here.carrying.progress.to_json()


@router.post("/fill/stop")
def stop_filling(here: Here) -> Json:
    """Stop filling; none of its results become proposals."""
    here.carrying.stop()
    return filling(here)


@router.post("/fill/accept")
def accept_fill(wanted: FilledRequest, here: Here, me: Me) -> Json:
    """Accept proposals of filling.

    Those that are no longer waiting, or in slices after the end of their track, are left out.
    """
    carried = here.project.proposals.carried()
    late = here.carrying.beyond_ends(image for _, image, _ in carried)
    some = [number for number in wanted.proposals if number not in late]
    added = accept_filled(here.project, some, me.person)
    return {"objects": added, "revision": 1}


@router.post("/fill/discard")
def discard_fill(wanted: FilledRequest, here: Here) -> Json:
    """Remove proposals of filling; unlike rejected ones, they may be proposed again."""
    return {"removed": here.project.proposals.remove(wanted.proposals)}


@router.post("/images/{image_id}/tracks/split")
def split(image_id: ImageId, wanted: TrackRequest, here: Here, me: Me) -> Json:
    """Split a track: from this slice on it is a new track, a child of the earlier one."""
    thing = _object(here, image_id, wanted.object)
    return _change(here, me, image_id, lambda t, at: t.split(t.numbers[thing.id], at))


@router.post("/images/{image_id}/tracks/merge")
def merge(image_id: ImageId, wanted: TracksRequest, here: Here, me: Me) -> Json:
    """Merge the tracks of two objects of a stack into one."""

    def merged(tracked: Tracked, at: int) -> TrackStep:
        for number in (wanted.object, wanted.other):
            if number not in tracked.numbers:
                raise ConflictError(f"object {number} is not in this stack: select another one")
        numbers = sorted((tracked.numbers[wanted.object], tracked.numbers[wanted.other]))
        return tracked.merge(*numbers)

    return _change(here, me, image_id, merged)


@router.post("/images/{image_id}/tracks/end")
def end(image_id: ImageId, wanted: TrackRequest, here: Here, me: Me) -> Json:
    """End the track of an object at this slice.

    Its objects in later slices are deleted, and its waiting proposals there are withdrawn.
    """
    thing, place = _object(here, image_id, wanted.object), here.carrying.place(image_id)

    def ended(tracked: Tracked, at: int) -> TrackStep:
        track = tracked.numbers[thing.id]
        return tracked.end(track, at, here.carrying.waiting_after(place, track, at))

    return _change(here, me, image_id, ended)


@router.post("/tracks/undo")
def undo(wanted: TrackStepRequest, here: Here, me: Me) -> Json:
    """Undo a change of tracks."""
    return _step_json(here.project.tracks.take_back(wanted.step(), me.person))


@router.post("/tracks/redo")
def redo(wanted: TrackStepRequest, here: Here, me: Me) -> Json:
    """Redo a change of tracks that was undone."""
    step = wanted.step()
    here.project.tracks.take(step, me.person)
    return _step_json(step)


def _object(here: Workspace, image_id: int, number: int) -> StoredObject:
    """Return an object of an image.

    Raises:
        ConflictError: it is no longer on the image.
    """
    thing = here.project.objects.get(number)
    if thing.deleted or thing.image_id != image_id:
        raise ConflictError(f"object {number} is not on this image any more: select another one")
    return thing


def _change(
    here: Workspace, me: Me, image_id: int, made: Callable[[Tracked, int], TrackStep]
) -> Json:
    place = here.carrying.place(image_id)
    step = made(here.carrying.tracked(place), place.index)
    here.project.tracks.take(step, me.person)
    return _step_json(step)


def _step_json(step: TrackStep) -> Json:
    def facts(pair: tuple[TrackFacts, TrackFacts]) -> list[Json]:
        return [one.model_dump() for one in pair]

    return {
        "objects": {number: list(pair) for number, pair in step.objects.items()},
        "tracks": {track: facts(pair) for track, pair in step.tracks.items()},
        "deleted": [list(pair) for pair in step.deleted],
        "withdrawn": list(step.withdrawn),
    }
