"""Depths: an object's early and late prompts are judged apart.

What was learned may find an object at the first click and yet be no help with the eighth. So at
an accepted object's own prompts both decoders are asked, and each depth is answered by the one
that has been better there.
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
"""Which prompt of an object begins each depth after the first one."""

_LEAST = 2
"""Objects that a depth needs before it is trusted: one alone may be chance."""


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
        """Return True if the adapted decoder gained at a depth of 1 or more; it answers there.

        Both decoders are always compared, whichever of them answers.
        """
        gains = self.gains[depth - 1]
        return len(gains) >= _LEAST and mean_gain(gains, guard.evidence)[0] > 0


def late_prompts(prompts: Sequence[Prompt], rng: Generator) -> Iterator[tuple[int, Prompt]]:
    """One prompt of each depth from 1 on, of those that an object was given.

    The last one is left out: its answer was accepted, which favours the decoder that gave it.
    """
    numbers = range(2, len(prompts))
    for depth in range(1, len(BOUNDS) + 1):
        here = [number for number in numbers if depth_of(number) == depth]
        if here:
            yield depth, prompts[here[int(rng.integers(len(here)))] - 1]
