"""`Carrying`: propagates objects of a slice to other slices of its stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack
from samadapt.data.tracks import Track, Tracks
from samadapt.errors import SessionError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.server.background import BackgroundRun, RunProgress
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.server.slices import SlicePlace
from samadapt.server.waiting import is_known
from samadapt.store.label_names import UNLABELLED
from samadapt.store.proposals import NewProposal, WaitingProposal, carried_from
from samadapt.store.records import StoredObject
from samadapt.store.tracks import NO_FACTS, Tracked
from samadapt.tracking.carrying import Carried, CarryOptions, Mask
from samadapt.tracking.motion import SliceView
from samadapt.tracking.prompting import PromptPropagator
from samadapt.tracking.propagation import Propagation, fill

Answering = Callable[[ImageEmbedding], Sequence[Seams]]
"""Returns the adapters in use, for predictions on an image."""


@dataclass(frozen=True, slots=True)
class CarriedTo:
    """Result of carrying an object to another slice.

    Attributes:
        image_id: number of the slice that was reached.
        track: number of the object's track.
        proposal: the proposal made there; None if there is nothing to propose.
        object_id: an accepted object that is there already, of the same track or in the same
            place; None if there is none.
        why: why the result is doubtful and should be checked; empty if it is not.
        problems: one line for each slice that was skipped because it cannot be read.
    """

    image_id: int
    track: int
    proposal: WaitingProposal | None = None
    object_id: int | None = None
    why: str = ""
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class FillProgress(RunProgress):
    """Progress of filling the slices between two.

    Attributes:
        object: number of the object that is propagated.
        stack: name of the stack.
        steps: number of steps of the run.
        done: number of steps done so far.
        found: (image, proposal) numbers of each slice that was filled.
        stops: (image, reason) of slices whose result is doubtful and should be checked.
    """

    object: int = 0
    stack: str = ""
    steps: int = 0
    done: int = 0
    found: list[tuple[int, int]] = field(default_factory=list)
    stops: list[tuple[int, str]] = field(default_factory=list)


class Carrying(BackgroundRun[FillProgress]):
    """Carries objects along stacks, and fills the slices between two of a track.

    Filling is done in the background, one run at a time; requests of people have priority.

    Args:
        gallery: the images.
        encoder: encodes them.
        answering: returns the adapters in use.
        options: when a result counts as doubtful.
    """

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder,
        answering: Answering,
        options: CarryOptions | None = None,
    ) -> None:
        self._gallery, self._encoder, self._answering = gallery, encoder, answering
        self._options = options or CarryOptions()
        super().__init__("filling", FillProgress())

    def place(self, image_id: int) -> SlicePlace:
        """Return the place of an image in its stack.

        Raises:
            SessionError: the image is no slice of a stack.
        """
        found = self._gallery.slices.of(image_id)
        if found is None:
            raise SessionError("this image is no slice of a stack: there is nowhere to go")
        return found

    def tracked(self, place: SlicePlace) -> Tracked:
        """Return the objects of a stack, without masks, and the tracks that they belong to."""
        project = self._gallery.project
        numbers = project.tracks.numbers()
        objects: dict[int, list[StoredObject]] = {}
        indices = {number: index for index, number in enumerate(place.ids)}
        for one in project.objects.of_images(place.ids):
            objects.setdefault(indices[one.image_id], []).append(one)
        there = {o.id: numbers.get(o.id, o.id) for some in objects.values() for o in some}
        return Tracked(objects, there, project.tracks.facts())

    def waiting_after(self, place: SlicePlace, track: int, at: int) -> list[int]:
        """Return the numbers of a track's waiting proposals in slices after index `at`."""
        return [
            number for number, its, index in self._waiting(place) if its == track and index > at
        ]

    def beyond_ends(self, image_ids: Iterable[int]) -> dict[int, int]:
        """Return the track, by number, of every waiting proposal in a slice after its track's end.

        Args:
            image_ids: slices of the stacks to look at.
        """
        places = [self._gallery.slices.of(number) for number in image_ids]
        found: dict[int, int] = {}
        for place in {place.ids: place for place in places if place is not None}.values():
            waiting, tracked = self._waiting(place), self.tracked(place)
            last = {
                tracked.numbers[one.id]: index
                for index, some in sorted(tracked.objects.items())
                for one in some
            }
            for number, track, index in waiting:
                has_end = tracked.facts.get(track, NO_FACTS).ends
                if has_end and index > last.get(track, index):
                    found[number] = track
        return found

    def carry(self, thing: StoredObject, step: int) -> CarriedTo:
        """Carry an object to the next slice that can be read; the result is a proposal there.

        Args:
            thing: the object.
            step: 1 for the slices after the object's, -1 for those before.

        Raises:
            SessionError: there is no such slice, or the object's track ends here.
            ImageError: the object's own slice cannot be read.
        """
        place = self.place(thing.image_id)
        tracked = self.tracked(place)
        track = tracked.numbers[thing.id]
        mine = tracked.of(track)
        if step > 0 and tracked.facts.get(track, NO_FACTS).ends and place.index >= max(mine):
            raise SessionError(f"track {track} ends in this slice: undo that first")
        problems: list[str] = []
        with self._using(place) as stack:
            if thing.rle.size != stack.size:
                raise SessionError(
                    f"object {thing.id} was drawn on slices of another size: draw it anew"
                )
            found = self._reached(place, stack, thing, step, problems)
        if found is None:
            side = "last" if step > 0 else "first"
            why = f" that can be read ({problems[0]})" if problems else ""
            raise SessionError(f"this is the {side} slice of {place.stack.name}{why}")
        index, carried = found
        there, rest = place.ids[index], tuple(problems)
        if index in mine:
            return CarriedTo(there, track, object_id=mine[index][0].id, problems=rest)
        mask, why = _shown(carried)
        if not mask.any():
            return CarriedTo(there, track, why=why, problems=rest)
        rle = Rle.from_mask(mask)
        others = self._gallery.project.objects.of_image(there)
        same = [one for one in others if is_known(rle, [one.rle])]
        if same:
            text = "an object is here already: is it the same?"
            return CarriedTo(there, track, object_id=same[0].id, why=text, problems=rest)
        (number,) = self._put(thing, {there: (rle, carried.confidence)}).values()
        return CarriedTo(there, track, self._gallery.project.proposals.get(number), None, why, rest)

    def start(self, thing: StoredObject) -> None:
        """Fill the slices between an object and the next one of its track, in the background.

        Raises:
            SessionError: the track has no other slice, or no slices lie between.
            ConflictError: another run is going on.
        """
        place = self.place(thing.image_id)
        tracked = self.tracked(place)
        mine = tracked.of(tracked.numbers[thing.id])
        first, last = _gap(list(mine), place.index)
        if last is None:
            raise SessionError(
                "fill needs the same object in another slice, with slices between: carry or draw "
                "it there, and join the two"
            )
        get = self._gallery.project.objects.get
        keys = {k: Rle.union([get(one.id).rle for one in mine[k]]) for k in (first, last)}
        progress = FillProgress(
            object=thing.id, stack=place.stack.name, steps=2 * (last - first - 1)
        )
        busy = "slices are being filled already: stop that first, or wait"
        self.begin(progress, lambda: self._fill(progress, place, thing, keys), busy)

    # -- private ----------------------------------------------------------------------------

    def _waiting(self, place: SlicePlace) -> list[tuple[int, int, int]]:
        """Return (number, track, slice index) of the waiting carried proposals of a stack."""
        project = self._gallery.project
        numbers = project.tracks.numbers()
        indices = {image: index for index, image in enumerate(place.ids)}
        return [
            (number, numbers.get(origin, origin), indices[image])
            for number, image, origin in project.proposals.carried()
            if image in indices
        ]

    def _reached(
        self, place: SlicePlace, stack: Stack, thing: StoredObject, step: int, problems: list[str]
    ) -> tuple[int, Carried] | None:
        """Return index and result of the next slice that can be read; None if there is none."""
        look = partial(self._view, place)
        propagator = self._propagator(look(place.index).embedding, look)
        for one in propagator.carry(
            stack, place.index, {thing.id: thing.mask()}, place.beyond(step)
        ):
            if not one.problem:
                return one.index, one.objects[thing.id]
            problems.append(one.problem)
        return None

    def _fill(
        self,
        progress: FillProgress,
        place: SlicePlace,
        thing: StoredObject,
        keys: dict[int, Rle],
    ) -> None:
        first, last = sorted(keys)

        def told(done: int, total: int) -> None:
            progress.done, progress.steps = done, total
            self.check()

        look = partial(self._view, place, behind=True)
        tracks = Tracks(keys[first].size, len(place.ids), (Track(1, keys),))
        propagator = self._propagator(look(first).embedding, look)
        with self._using(place) as stack:
            found = fill(propagator, stack, tracks, first, last, progress=told)
        self._take(progress, place, thing, found, keys)

    def _take(
        self,
        progress: FillProgress,
        place: SlicePlace,
        thing: StoredObject,
        found: Propagation,
        keys: dict[int, Rle],
    ) -> None:
        doubted = {stop.index: stop.why for stop in found.stops}
        masks = {
            place.ids[index]: (rle, 0.5 if index in doubted else 1.0)
            for index, rle in found.tracks[1].masks.items()
            if index not in keys and rle.area
        }
        put = self._put(thing, masks)
        late = self.beyond_ends(place.ids[:1])  # the track was ended meanwhile
        self._gallery.project.proposals.remove(late.keys() & put.values())
        progress.found = sorted((image, n) for image, n in put.items() if n not in late)
        progress.stops = [(place.ids[index], why) for index, why in sorted(doubted.items())]
        if found.problems:
            progress.problem = f"{len(found.problems)} slices were left out: {found.problems[0]}"

    def _using(self, place: SlicePlace) -> AbstractContextManager[Stack]:
        return self._encoder.decoder.stacks.using(place.stack.path, place.stack.axis)

    def _put(self, thing: StoredObject, masks: dict[int, tuple[Rle, float]]) -> dict[int, int]:
        """Add masks to images as proposals; return the proposal's number for each image."""
        proposals = self._gallery.project.proposals
        labels = {label.id: label.name for label in self._gallery.project.labels.all()[0]}
        name = labels.get(thing.label_id or 0, UNLABELLED)
        source = carried_from(thing.id)
        new = {
            image: [NewProposal(name, rle, round(float(score), 4), _middle(rle))]
            for image, (rle, score) in masks.items()
        }
        proposals.put(source, new, again=True)
        return {
            image: next(one.id for one in proposals.waiting(image) if one.source == source)
            for image in masks
        }

    def _propagator(
        self, embedding: ImageEmbedding, look: Callable[[int], SliceView]
    ) -> PromptPropagator:
        adapters = self._answering(embedding)
        return PromptPropagator(self._encoder.model, adapters, self._options, look)

    def _view(self, place: SlicePlace, index: int, *, behind: bool = False) -> SliceView:
        number = place.ids[index]
        image = self._gallery.looked_at(number)
        path = self._gallery.path(image)
        encode = self._encoder.behind if behind else self._encoder.get
        embedding, _ = encode(number, path, image.facts)
        with self._encoder.decoder.reading(path) as pixels:
            return SliceView.of(pixels, embedding)


def _shown(found: Carried) -> tuple[Mask, str]:
    """Return the mask to propose, and the doubt; for a doubtful prediction, the carried mask."""
    is_moved = bool(found.doubt) and bool(found.moved.any())
    return (found.moved if is_moved else found.mask), found.doubt


def _gap(slices: Sequence[int], at: int) -> tuple[int, int | None]:
    """Return the first and last slice around the gap that begins at `at`, or else ends there.

    The last one is None if there is no gap.
    """
    later = [index for index in slices if index > at]
    earlier = [index for index in slices if index < at]
    if later and min(later) > at + 1:
        return at, min(later)
    if earlier and max(earlier) < at - 1:
        return max(earlier), at
    return at, None


def _middle(rle: Rle) -> tuple[float, float]:
    x, y, width, height = rle.box
    return x + width / 2, y + height / 2
