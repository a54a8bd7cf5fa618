"""`MemoryPropagator`: carries objects by a video model's memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from samadapt.data.stacks import Stack
from samadapt.errors import ImageError
from samadapt.models.memory import VideoMemory
from samadapt.tracking.carrying import Carried, CarryOptions, CarryStep, Mask, doubts


class MemoryPropagator:
    """Carries objects with the memory of a video model such as SAM 2's.

    A prediction is doubted if the mask changes too much from one slice to the next. A doubted
    object is not carried any further.
    """

    def __init__(self, memory: VideoMemory, options: CarryOptions | None = None) -> None:
        self.memory = memory
        self.options = options or CarryOptions(agreement=0.4)

    def carry(
        self, stack: Stack, start: int, masks: Mapping[int, Mask], to: Sequence[int]
    ) -> Iterator[CarryStep]:
        """Carry objects slice by slice; see `Propagator`."""
        frames = _Frames(stack, to)
        now = dict(masks)
        for answers in self.memory.follow(stack[start], masks, frames):
            yield from frames.taken_problems()
            found = {}
            for identity, before in now.items():
                mask = np.asarray(answers[identity], np.bool_)
                confidence, doubt = doubts(before, before, mask, self.options)
                found[identity] = Carried(mask, before, confidence, doubt)
            yield CarryStep(frames.index, found)
            now = {k: one.mask for k, one in found.items() if not one.doubt}
        yield from frames.taken_problems()


class _Frames:
    """The readable slices one by one; unreadable slices are recorded as problems."""

    def __init__(self, stack: Stack, to: Sequence[int]) -> None:
        self._stack, self._to = stack, to
        self._problems: list[CarryStep] = []
        self.index = -1

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for index in self._to:
            try:
                pixels = self._stack[index]
            except ImageError as error:
                self._problems.append(CarryStep(index, {}, str(error)))
                continue
            self.index = index
            yield pixels

    def taken_problems(self) -> list[CarryStep]:
        taken, self._problems = self._problems, []
        return taken
