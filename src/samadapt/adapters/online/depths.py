"""Depths: early and late prompts of an object are evaluated separately.

The learned weights may help at the first click and not at the eighth. Both decoders are therefore
compared at the prompts of accepted objects, and each depth uses the decoder that was better
there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from numpy.random import Generator

from samadapt.adapters.online.evidence import mean_gain
from samadapt.adapters.online.settings import GuardSettings
from samadapt.prompts import Prompt

BOUNDS = (2, 4, 8)
"""First prompt number of each depth after the first one."""

_LEAST = 2
"""Least number of objects before a depth is trusted, since a single one may be chance."""


def depth_of(number: int) -> int:
    """0 for an object's first prompt, 1 for the next two, 2 for the next four, 3 for all others."""
    return bisect_right(BOUNDS, number)


@dataclass(frozen=True, slots=True)
class LateEvidence:
    """Adapted minus frozen IoU at later prompts of the objects accepted last.

    Attributes:
        gains: for each depth from 1 on, oldest first.
    """

    gains: tuple[tuple[float, ...], ...] = ((),) * len(BOUNDS)

    def with_gain(self, depth: int, gain: float, guard: GuardSettings) -> LateEvidence:
        """Return the evidence with one more object at a depth of 1 or more."""
        kept = list(self.gains)
        kept[depth - 1] = (*kept[depth - 1], gain)[-guard.evidence :]
        return replace(self, gains=tuple(kept))

    def trusts(self, depth: int, guard: GuardSettings) -> bool:
        """Return True if the adapted decoder gained at a depth of 1 or more and is used there.

        Both decoders are always compared, whichever is in use.
        """
        gains = self.gains[depth - 1]
        return len(gains) >= _LEAST and mean_gain(gains, guard.evidence)[0] > 0


def late_prompts(prompts: Sequence[Prompt], rng: Generator) -> Iterator[tuple[int, Prompt]]:
    """One random prompt of an object for each depth from 1 on.

    The last prompt is left out: its mask was accepted, which favours the decoder that predicted it.
    """
    numbers = range(2, len(prompts))
    for depth in range(1, len(BOUNDS) + 1):
        here = [number for number in numbers if depth_of(number) == depth]
        if here:
            yield depth, prompts[here[int(rng.integers(len(here)))] - 1]
