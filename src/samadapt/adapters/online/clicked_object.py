"""`ClickedObject`: the weights of the object that is being clicked, step by step."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.decoder_trainer import DecoderTrainer
from samadapt.adapters.online.optimiser import Moments
from samadapt.adapters.online.settings import ClickSettings
from samadapt.adapters.online.units import Units

SNAPSHOTS = 3
"""Steps whose change and optimiser's state (3 P numbers) are kept for undo; earlier ones are
learned again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """The state after a step."""

    change: Tensor | None
    moments: Moments
    units: Units | None
    is_frozen: bool


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """Weights for predictions, as changes (P,) from the base decoder; None for no change.

    Attributes:
        number: of the object whose clicks taught `now`.
        now: for the next prompt of that object.
        start: for the first prompt of any other object.
    """

    number: int = 0
    now: Tensor | None = None
    start: Tensor | None = None

    def of(self, number: int) -> Tensor | None:
        """The weights for the object with this number."""
        return self.now if number == self.number else self.start


class ClickedObject:
    """Weights during one object, as changes (P,) from the base decoder; None for no change.

    They are the sum of what earlier objects taught and of what this object's clicks taught. Where
    earlier objects are not trusted (see `depths`), the clicks' change is added to the frozen
    decoder alone.

    Args:
        start: what earlier objects taught.
        is_frozen: earlier objects are not trusted at the first prompt.
    """

    def __init__(self, start: Tensor | None, is_frozen: bool = False) -> None:
        self.start = start
        self.change: Tensor | None = None
        """Change of the weights by this object's clicks."""
        self.moments = Moments()
        self.is_frozen = is_frozen
        """True if earlier objects are not trusted at the next prompt."""
        self._begins_frozen = is_frozen
        self._at_start = True
        self._sum: tuple[Tensor, Tensor, Tensor] | None = None
        self.has_candidates = False
        """True if the current object was predicted with several candidate masks."""
        self._units: Units | None = None
        self._kept: OrderedDict[int, _Step] = OrderedDict()

    @property
    def now(self) -> Tensor | None:
        """The weights for the next prompt."""
        base = None if self.is_frozen else self.start
        if base is None or self.change is None:
            return self.change if base is None else base
        if self._sum is None or self._sum[0] is not base or self._sum[1] is not self.change:
            self._sum = base, self.change, base + self.change
        return self._sum[2]  # the same tensor as long as nothing changes

    def published(self, number: int) -> Published:
        """The weights as they are now, for the object with this number."""
        return Published(number, self.now, None if self._begins_frozen else self.start)

    def go_on(self, is_frozen: bool) -> None:
        """Go on to the next prompt.

        Args:
            is_frozen: earlier objects are not trusted there.
        """
        self.is_frozen, self._at_start = is_frozen, False

    def learn(
        self, trainer: DecoderTrainer, interaction: Interaction, click: ClickSettings
    ) -> None:
        """Optimise on the clicks so far; nothing changes when it fails."""
        base = trainer.zeros() if self.is_frozen or self.start is None else self.start
        if click.units:
            units = Units() if self._units is None else self._units
            self._units = units.learned(base, trainer, interaction, click)
            self.change = self._units.merged(click.merge)
            return
        now = base if self.change is None else base + self.change
        now, moments = trainer.click_steps(now, self.moments, interaction, interaction.clicks)
        if moments.steps != self.moments.steps:
            self.change, self.moments = now - base, moments

    def forget(self) -> None:
        """Forget what the clicks taught."""
        self.change, self.moments, self._units = None, Moments(), None

    def keep(self, step: int) -> None:
        """Remember the weights after this step."""
        self._kept[step] = _Step(self.change, self.moments, self._units, self.is_frozen)
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
        self.change, self.moments = kept.change, kept.moments
        self._units = kept.units
        self.go_on(kept.is_frozen)
        return True

    def begin_again(self) -> None:
        """Return to the start."""
        self.forget()
        self.is_frozen, self._at_start = self._begins_frozen, True

    def rebase(self, start: Tensor | None, is_frozen: bool = False) -> None:
        """Continue from what earlier objects taught meanwhile; the clicks' change stays."""
        self.start, self._begins_frozen = start, is_frozen
        if self._at_start:
            self.is_frozen = is_frozen
