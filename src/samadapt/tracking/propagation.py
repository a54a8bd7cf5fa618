"""`propagate` and `fill`: tracks along a stack, with stops that a person should check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack
from samadapt.data.tracks import Tracks
from samadapt.errors import DataError
from samadapt.metrics import iou
from samadapt.models.base import SegmentationModel
from samadapt.models.memory import VideoMemory
from samadapt.models.seams import Seams
from samadapt.tracking.carrying import CarryOptions, CarryStep, Mask, Propagator
from samadapt.tracking.memory import MemoryPropagator
from samadapt.tracking.motion import signed_distance
from samadapt.tracking.prompting import PromptPropagator

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """A slice in which propagation of an object stopped.

    Attributes:
        track: id of the object.
        index: of the slice.
        why: the reason, in one line.
        mask: the doubted prediction; None where there is none.
        moved: the carried mask.
    """

    track: int
    index: int
    why: str
    mask: Rle | None = None
    moved: Rle | None = None

    def __str__(self) -> str:
        return f"object {self.track}, slice {self.index}: {self.why}"


@dataclass(frozen=True, slots=True)
class Propagation:
    """Result of carrying objects.

    Attributes:
        tracks: all objects, including the carried masks.
        stops: to be checked by a person, in the order of the slices.
        problems: slices that could not be read, one line each.
    """

    tracks: Tracks
    stops: tuple[Stop, ...] = ()
    problems: tuple[str, ...] = ()


def propagator_for(
    model: SegmentationModel | VideoMemory | Propagator,
    adapters: Sequence[Seams] = (),
    options: CarryOptions | None = None,
) -> Propagator:
    """Return the propagator for a model, or for a video model's memory.

    Raises:
        DataError: adapters with a memory, which takes none.
    """
    if isinstance(model, SegmentationModel):
        return PromptPropagator(model, adapters, options)
    if adapters:
        raise DataError("adapters act on prompts: give a model instead of a video model's memory")
    if isinstance(model, VideoMemory):
        return MemoryPropagator(model, options)
    return model


def propagate(
    model: SegmentationModel | VideoMemory | Propagator,
    stack: Stack,
    tracks: Tracks,
    start: int,
    to: int | None = None,
    *,
    only: Sequence[int] | None = None,
    adapters: Sequence[Seams] = (),
    learn: bool = False,
    options: CarryOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> Propagation:
    """Carry the objects of a slice to the slices after it, or before it.

    An object's own masks in other slices are never changed; propagation continues from them.

    Args:
        model: a model, a video model's memory (`samadapt.load_memory`), or any `Propagator`.
        stack: the stack.
        tracks: objects with a mask in `start`, and any others.
        start: the slice of the given masks.
        to: the last slice; before `start` to go backwards. None for the stack's last.
        only: ids of the objects to carry; None for all.
        adapters: applied in order.
        learn: let adapters that learn in sessions first learn the masks in `start`, which a
            person accepted.
        options: thresholds of doubt.
        progress: called with the number of finished slices and of all.

    Raises:
        DataError: tracks of another size than the stack, or no object in `start`.
        ImageError: `start` cannot be read.
    """
    _check(stack, tracks)
    end = len(stack) - 1 if to is None else to
    for index in (start, end):
        if not 0 <= index < len(stack):
            raise DataError(f"{stack.name} has no slice {index}: it has 0 to {len(stack) - 1}")
    masks = _masks(tracks, start, only)
    if not masks:
        raise DataError(f"no object has a mask in slice {start}: accept one there first")
    chosen = propagator_for(model, adapters, options)
    if learn and isinstance(chosen, PromptPropagator):
        chosen.learn(stack, start, list(masks.values()))
    path = list(range(start + 1, end + 1) if end >= start else range(start - 1, end - 1, -1))
    result = _Collected(tracks)
    done, total = 0, len(path)
    while path and masks:
        for place, step in enumerate(chosen.carry(stack, start, masks, path), 1):
            result.take(step)
            progress(done + place, total)
            if step.problem:
                continue
            own = {k: rle.mask() for k, rle in tracks.at(step.index).items() if k in masks}
            left = {k: one.mask for k, one in step.objects.items() if not one.doubt} | own
            if own or not left:  # continue from an object's own mask, or stop
                start, masks = step.index, left
                done, path = done + place, path[place:]
                break
        else:
            break
    return result.propagation()


def fill(
    model: SegmentationModel | VideoMemory | Propagator,
    stack: Stack,
    tracks: Tracks,
    first: int,
    last: int,
    *,
    only: Sequence[int] | None = None,
    adapters: Sequence[Seams] = (),
    options: CarryOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> Propagation:
    """Fill the slices between two key slices in which objects have masks.

    Objects are carried from both sides. The two predictions in a slice are blended by their signed
    distances to the outline, weighted by the nearness of their key slices. A slice that only one
    side reaches gets its prediction; where neither side arrives, the key masks are blended and the
    slice is reported.

    Args:
        model: as for `propagate`.
        stack: the stack.
        tracks: objects with masks in both slices, and any others.
        first: a key slice.
        last: a later key slice.
        only: ids of the objects to fill; None for all.
        adapters: applied in order.
        options: thresholds of doubt.
        progress: called with the number of finished steps and of all.

    Raises:
        DataError: as `propagate`; also no object with masks in both slices.
        ImageError: a key slice cannot be read.
    """
    _check(stack, tracks)
    if not 0 <= first < last < len(stack):
        raise DataError(f"slices {first} and {last}: give two of 0 to {len(stack) - 1}, in order")
    ahead, back = _masks(tracks, first, only), _masks(tracks, last, only)
    both = [identity for identity in ahead if identity in back]
    if not both:
        raise DataError(f"no object has masks in both slices {first} and {last}")
    chosen = propagator_for(model, adapters, options)
    between = list(range(first + 1, last))
    ways = ({k: ahead[k] for k in both}, {k: back[k] for k in both})
    from_first, from_last = _Collected(tracks), _Collected(tracks)
    done, total = 0, 2 * len(between)
    for start, masks, path, kept in (
        (first, ways[0], between, from_first),
        (last, ways[1], between[::-1], from_last),
    ):
        for step in chosen.carry(stack, start, masks, path):
            kept.take(step)
            done += 1
            progress(done, total)
    filled, stops = tracks, []
    for identity in both:
        masks_of: dict[int, Rle] = {}
        for index in between:
            if index in tracks[identity].masks:
                continue
            weight = (last - index) / (last - first)
            one = from_first.found.get((identity, index))
            other = from_last.found.get((identity, index))
            mask, doubt = _blended(one, other, (ahead[identity], back[identity]), weight)
            if doubt:
                stops.append(Stop(identity, index, doubt, Rle.from_mask(mask)))
            if mask.any():
                masks_of[index] = Rle.from_mask(mask)
        filled = filled.put(identity, masks_of)
    problems = tuple(dict.fromkeys((*from_first.problems, *from_last.problems)))
    return Propagation(filled, tuple(sorted(stops, key=lambda stop: stop.index)), problems)


# -- private ------------------------------------------------------------------------------

_APART = 0.5
"""Least IoU of the predictions from both sides; below it a slice is reported."""


class _Collected:
    """Collects steps as tracks."""

    def __init__(self, tracks: Tracks) -> None:
        self._tracks = tracks
        self.found: dict[tuple[int, int], Mask] = {}
        self.stops: list[Stop] = []
        self.problems: list[str] = []

    def take(self, step: CarryStep) -> None:
        if step.problem:
            self.problems.append(step.problem)
        known = self._tracks.at(step.index)
        for identity, one in step.objects.items():
            if identity in known:
                continue
            if one.doubt:
                masks = (Rle.from_mask(m) if m.any() else None for m in (one.mask, one.moved))
                self.stops.append(Stop(identity, step.index, one.doubt, *masks))
            else:
                self.found[identity, step.index] = one.mask

    def propagation(self) -> Propagation:
        by_track: dict[int, dict[int, Rle]] = {}
        for (identity, index), mask in self.found.items():
            by_track.setdefault(identity, {})[index] = Rle.from_mask(mask)
        tracks = self._tracks
        for identity, masks in by_track.items():
            tracks = tracks.put(identity, masks)
        return Propagation(tracks, tuple(self.stops), tuple(self.problems))


def _blended(
    one: Mask | None, other: Mask | None, keys: tuple[Mask, Mask], weight: float
) -> tuple[Mask, str]:
    """Blend the masks of both sides, `weight` for the first; returns the mask and any doubt."""
    if one is not None and other is not None:
        agreement = iou(one, other)
        near = one if weight >= 1 / 2 else other
        if agreement < _APART:
            return near, f"the IoU of the predictions from both sides is only {agreement:.2f}"
        blend = weight * signed_distance(one) + (1 - weight) * signed_distance(other)
        mask = np.asarray(blend > 0)
        return (mask if mask.any() else near), ""
    alone = one if one is not None else other
    if alone is not None:
        return alone, ""
    blend = weight * signed_distance(keys[0]) + (1 - weight) * signed_distance(keys[1])
    return np.asarray(blend > 0), "neither side reached this slice: the key masks were blended"


def _masks(tracks: Tracks, index: int, only: Sequence[int] | None) -> dict[int, Mask]:
    for identity in only or ():
        tracks[identity]
    return {k: r.mask() for k, r in tracks.at(index).items() if only is None or k in only}


def _check(stack: Stack, tracks: Tracks) -> None:
    if tracks.size != stack.size or tracks.length != len(stack):
        raise DataError(
            f"the tracks are for {tracks.length} slices of {tracks.size[1]} x {tracks.size[0]} "
            f"pixels, {stack.name} has {len(stack)} of {stack.size[1]} x {stack.size[0]}"
        )
