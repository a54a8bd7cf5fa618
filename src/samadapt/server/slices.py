"""`Slices`: which images of a project are slices of which stacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samadapt.data.images import natural_key
from samadapt.data.stacks.address import frame_path, slice_name
from samadapt.data.stacks.finding import FoundStack
from samadapt.store.records import ImageEntry

AROUND = 3
"""Number of slices on each side of the open one that are encoded in advance."""


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Place of an image in a stack.

    Attributes:
        stack: the stack.
        ids: numbers of the images of all its slices, in order.
        index: index of this slice.
    """

    stack: FoundStack
    ids: tuple[int, ...] = field(repr=False)
    index: int

    def path(self, file: Path) -> Path:
        """Return the address of the slice, given the file that contains it."""
        if self.stack.is_frames:
            return frame_path(file)
        return file.with_name(slice_name(file.name, self.stack.axis, self.index))

    def around(self) -> list[int]:
        """Return the image numbers of this and the neighbouring slices, the nearest first."""
        steps = (step for k in range(1, AROUND + 1) for step in (k, -k))
        places = [self.index, *(self.index + step for step in steps)]
        return [self.ids[at] for at in places if 0 <= at < len(self.ids)]

    def beyond(self, step: int) -> range:
        """Return the indices of the slices after this one (step 1), or before it (-1), in order."""
        return range(self.index + step, len(self.ids) if step > 0 else -1, step)


class Slices:
    """The slices of a project's stacks, by image.

    Args:
        stacks: the stacks found in the folder.
        entries: all images of the project.
    """

    def __init__(
        self, stacks: Iterable[FoundStack] = (), entries: Iterable[ImageEntry] = ()
    ) -> None:
        numbers = {entry.name: entry.id for entry in entries}
        self._places: dict[int, SlicePlace] = {}
        self.stacks: list[tuple[FoundStack, tuple[int, ...]]] = []
        for stack in stacks:
            if all(name in numbers for name in stack.slices):
                ids = tuple(numbers[name] for name in stack.slices)
                self.stacks.append((stack, ids))
                for index, number in enumerate(ids):
                    self._places[number] = SlicePlace(stack, ids, index)

    def of(self, image_id: int) -> SlicePlace | None:
        """Return the place of an image in its stack; None for an image that is no slice."""
        return self._places.get(image_id)

    def problems(self) -> dict[int, str]:
        """Return why slices cannot be used, by image number."""
        return {
            ids[index]: why for stack, ids in self.stacks for index, why in stack.problems.items()
        }

    def key(self, image_id: int, name: str) -> tuple[Any, ...]:
        """Return a sort key: natural order of names, with the slices of a stack together."""
        place = self._places.get(image_id)
        item = name if place is None else place.stack.slices[0]
        return natural_key(item), 0 if place is None else place.index

    def rows(self) -> list[dict[str, Any]]:
        """Return the stacks as JSON: name, axis, image numbers of the slices, and remarks."""
        return [
            {"name": stack.name, "axis": stack.axis, "slices": ids, "remarks": stack.remarks}
            for stack, ids in self.stacks
        ]
