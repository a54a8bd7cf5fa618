"""`ClickedObject`: the weights of the object that is being clicked, step by step."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.decoder_trainer import DecoderTrainer
from samadapt.adapters.online.optimiser import Moments
from samadapt.adapters.online.settings import ClickSettings
from samadapt.adapters.online.units import Units

SNAPSHOTS = 8
"""Number of steps whose weights are kept for undo; earlier ones are learned again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """The state after a step."""

    now: Tensor | None
    moments: Moments
    units: Units | None
    is_frozen: bool


class ClickedObject:
    """Weights during one object, as changes (P,) from the base decoder.

    Args:
        start: the weights when the object began; None for the base decoder's.
        is_frozen: the frozen decoder answers the first prompt nevertheless.
    """

    def __init__(self, start: Tensor | None, is_frozen: bool = False) -> None:
        self.start = start
        self.now = start
        self.moments = Moments()
        self.is_frozen = is_frozen
        """True if the next prompt is decoded with the frozen weights, whatever clicks taught."""
        self._begins_frozen = is_frozen
        self.has_candidates = False
        """True if the current object was predicted with several candidate masks."""
        self._units: Units | None = None
        self._kept: OrderedDict[int, _Step] = OrderedDict()

    def learn(
        self, trainer: DecoderTrainer, interaction: Interaction, click: ClickSettings
    ) -> None:
        """Optimise on the clicks so far; nothing changes when it fails."""
        if click.units:
            start = trainer.zeros() if self.start is None else self.start
            units = Units(start) if self._units is None else self._units
            self._units = units.learned(trainer, interaction, click)
            self.now = self._units.merged(click.merge)
        else:
            now = trainer.zeros() if self.now is None else self.now
            now, moments = trainer.click_steps(now, self.moments, interaction, interaction.clicks)
            if moments.steps != self.moments.steps:
                self.now, self.moments = now, moments

    def keep(self, step: int) -> None:
        """Remember the weights after this step."""
        self._kept[step] = _Step(self.now, self.moments, self._units, self.is_frozen)
        while len(self._kept) > SNAPSHOTS:
            self._kept.popitem(last=False)

    def return_to(self, step: int) -> bool:
        """Return to the weights after a step, 0 for the start; False if they are not kept."""
        if step == 0:
            self.begin_again()
            return True
        if step not in self._kept:
            return False
        kept = self._kept[step]
        self.now, self.moments = kept.now, kept.moments
        self._units, self.is_frozen = kept.units, kept.is_frozen
        return True

    def begin_again(self) -> None:
        """Return to the start."""
        self.now, self.moments, self._units = self.start, Moments(), None
        self.is_frozen = self._begins_frozen

    @property
    def change(self) -> Tensor | None:
        """Change of the weights by the clicks, (P,); None for no change."""
        if self.now is self.start:
            return None
        if self.now is None or self.start is None:
            return self.now if self.start is None else -self.start
        return self.now - self.start

    def rebase(self, start: Tensor | None, is_frozen: bool = False) -> None:
        """Continue from other weights, to which the change by the clicks is added."""
        self._begins_frozen = is_frozen
        if not self._kept:
            self.is_frozen = is_frozen
        if start is self.start:
            return
        before, self.start = self.start, start
        if self._units is not None and start is not None:
            self._units = self._units.rebased(start)
        self.now = _moved(self.now, before, start)
        for step, kept in self._kept.items():
            self._kept[step] = replace(kept, now=_moved(kept.now, before, start))


def _moved(now: Tensor | None, before: Tensor | None, start: Tensor | None) -> Tensor | None:
    """Now - before + start, where None is 0."""
    if now is before:
        return start
    if now is None:
        return start if before is None else (-before if start is None else start - before)
    moved = now if before is None else now - before
    return moved if start is None else moved + start
