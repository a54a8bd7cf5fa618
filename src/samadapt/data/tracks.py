"""`Tracks`: objects that keep their id along a stack, with a mask in each slice they are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import DataError


@dataclass(frozen=True, slots=True)
class Track:
    """One object along a stack.

    Attributes:
        id: its number, from 1.
        masks: by slice; slices may be missing.
        label: its label, if any.
        parent: id of the object from which it was split; None for none.
        slices: its slices, in order.
    """

    id: int
    masks: Mapping[int, Rle] = field(repr=False)
    label: str | None = None
    parent: int | None = None
    slices: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.id < 1:
            raise DataError(f"track {self.id}: ids begin with 1")
        if self.parent == self.id:
            raise DataError(f"track {self.id} is its own parent: give another, or none")
        ordered = dict(sorted(self.masks.items()))
        if any(index < 0 for index in ordered):
            raise DataError(f"track {self.id} has a mask in slice {min(ordered)}: count from 0")
        object.__setattr__(self, "masks", MappingProxyType(ordered))
        object.__setattr__(self, "slices", tuple(ordered))


@dataclass(frozen=True, slots=True)
class Tracks:
    """All objects of a stack. Immutable; every change gives new tracks.

    Attributes:
        size: (height, width) of the slices.
        length: number of slices.
        tracks: in the order of their ids.

    Raises:
        DataError: an id that occurs twice, a mask of another size or outside the stack, a parent
            that is not there.
    """

    size: tuple[int, int]
    length: int
    tracks: tuple[Track, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.tracks, key=lambda track: track.id))
        known = {track.id for track in ordered}
        if len(known) != len(ordered):
            raise DataError("two tracks have the same id: give each its own")
        for track in ordered:
            if track.slices and track.slices[-1] >= self.length:
                raise DataError(
                    f"track {track.id} has a mask in slice {track.slices[-1]}, the stack has "
                    f"{self.length} (counted from 0)"
                )
            if track.parent is not None and track.parent not in known:
                raise DataError(
                    f"track {track.id} has the parent {track.parent}, which is not there"
                )
            for index, rle in track.masks.items():
                if rle.size != self.size:
                    raise DataError(
                        f"track {track.id} has a mask of {rle.size[1]} x {rle.size[0]} pixels in "
                        f"slice {index}, the stack {self.size[1]} x {self.size[0]}"
                    )
        object.__setattr__(self, "tracks", ordered)

    def __iter__(self) -> Iterator[Track]:
        return iter(self.tracks)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, track_id: int) -> Track:
        """The track of an id.

        Raises:
            DataError: there is none.
        """
        for track in self.tracks:
            if track.id == track_id:
                return track
        raise DataError(f"there is no track {track_id}")

    def at(self, index: int) -> dict[int, Rle]:
        """The masks of a slice, by track id."""
        return {t.id: t.masks[index] for t in self.tracks if index in t.masks}

    # -- changes --------------------------------------------------------------------------

    def add(
        self,
        masks: Mapping[int, Rle | NDArray[np.bool_]],
        label: str | None = None,
        parent: int | None = None,
    ) -> Tracks:
        """Return the tracks with one more object; its id follows the highest one."""
        new = Track(self._next_id(), _rles(masks), label, parent)
        return replace(self, tracks=(*self.tracks, new))

    def put(self, track_id: int, masks: Mapping[int, Rle | NDArray[np.bool_]]) -> Tracks:
        """Return the tracks with these masks of an object, replacing masks in the same slices."""
        track = self[track_id]
        return self._with(replace_masks(track, {**track.masks, **_rles(masks)}))

    def split(self, track_id: int, at: int) -> Tracks:
        """Make the object from slice `at` on a new one, whose parent is the old one.

        Raises:
            DataError: the object has no mask from there on, or none before.
        """
        track = self[track_id]
        before = {i: m for i, m in track.masks.items() if i < at}
        after = {i: m for i, m in track.masks.items() if i >= at}
        if not before or not after:
            raise DataError(
                f"track {track_id} cannot be split at slice {at}: it needs masks before it and "
                "from there on"
            )
        new = Track(self._next_id(), after, track.label, track_id)
        children = (replace(t, parent=new.id) if t.parent == track_id else t for t in self.tracks)
        changed = replace(self, tracks=(*children, new))
        return changed._with(replace_masks(changed[track_id], before))

    def merge(self, first: int, second: int) -> Tracks:
        """Merge two objects into one with the first id; masks in the same slice are united.

        Raises:
            DataError: an unknown track, or the same track twice.
        """
        if first == second:
            raise DataError(f"track {first} cannot be merged with itself")
        kept, gone = self[first], self[second]
        masks = dict(kept.masks)
        for index, rle in gone.masks.items():
            masks[index] = Rle.union([masks[index], rle]) if index in masks else rle
        parent = kept.parent if kept.parent != second else gone.parent
        left = []
        for track in self.tracks:
            if track.id == second:
                continue
            owner = first if track.parent == second else track.parent
            left.append(replace(track, parent=None if owner == track.id else owner))
        merged = replace_masks(replace(kept, parent=None if parent == first else parent), masks)
        return replace(self, tracks=tuple(left))._with(merged)

    def end(self, track_id: int, at: int) -> Tracks:
        """End an object with slice `at`.

        Raises:
            DataError: no mask would be left.
        """
        track = self[track_id]
        kept = {index: rle for index, rle in track.masks.items() if index <= at}
        if not kept:
            raise DataError(f"track {track_id} begins after slice {at}: remove it instead")
        return self._with(replace_masks(track, kept))

    def remove(self, track_id: int) -> Tracks:
        """Return the tracks without an object; its children lose their parent."""
        self[track_id]
        left = (t for t in self.tracks if t.id != track_id)
        orphans = (replace(t, parent=None) if t.parent == track_id else t for t in left)
        return replace(self, tracks=tuple(orphans))

    def _next_id(self) -> int:
        return max((track.id for track in self.tracks), default=0) + 1

    def _with(self, changed: Track) -> Tracks:
        return replace(
            self, tracks=tuple(changed if t.id == changed.id else t for t in self.tracks)
        )


def replace_masks(track: Track, masks: Mapping[int, Rle]) -> Track:
    """The same object with other masks."""
    return Track(track.id, masks, track.label, track.parent)


def runs_of(slices: Iterable[int]) -> list[tuple[int, int]]:
    """First and last slice of every part without a gap."""
    parts: list[tuple[int, int]] = []
    for index in sorted(slices):
        if parts and index == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], index)
        else:
            parts.append((index, index))
    return parts


def _rles(masks: Mapping[int, Rle | NDArray[np.bool_]]) -> dict[int, Rle]:
    return {i: m if isinstance(m, Rle) else Rle.from_mask(m) for i, m in masks.items()}
