"""Units (DC-TTA): groups of clicks whose masks do not overlap learn separate weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.base import Interaction
from samadapt.adapters.online.decoder_trainer import DecoderTrainer
from samadapt.adapters.online.optimiser import Moments
from samadapt.adapters.online.settings import ClickSettings
from samadapt.prompts import Click, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    clicks: tuple[Click, ...]
    area: NDArray[np.bool_]
    change: Tensor
    moments: Moments


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Groups of clicks, each with its own change of the weights. Immutable.

    A new click joins the first unit whose area overlaps the mask of the click alone, predicted
    with the weights at the object's start; otherwise it begins a unit. The mask of a background
    click is the region that it would remove.

    Attributes:
        members: the units.
        seen: number of clicks assigned to units.
    """

    members: tuple[_Unit, ...] = ()
    seen: int = 0

    def learned(
        self,
        start: Tensor,
        trainer: DecoderTrainer,
        interaction: Interaction,
        click: ClickSettings,
    ) -> Units:
        """Return the units after the newest click's unit has learned.

        Args:
            start: weights at the object's start, (P,).
            trainer: of the decoder.
            interaction: the object with all its clicks.
            click: settings.
        """
        clicks = interaction.clicks
        members = list(self.members)
        index = 0
        for new in clicks[self.seen :] or clicks[-1:]:
            area = trainer.mask_of(start, interaction, Prompt([(new.x, new.y)]))
            index = _joined(members, new, area, start)
        unit = members[index]
        now, moments = trainer.click_steps(
            start + unit.change, unit.moments, interaction, unit.clicks
        )
        members[index] = replace(unit, change=now - start, moments=moments)
        return replace(self, members=tuple(members), seen=len(clicks))

    def merged(self, factor: float) -> Tensor:
        """Factor * sum of the units' changes; a single unit keeps its change whole. (P,)."""
        changes = [unit.change for unit in self.members]
        return changes[0] if len(changes) == 1 else factor * torch.stack(changes).sum(0)


def _joined(members: list[_Unit], click: Click, area: NDArray[np.bool_], start: Tensor) -> int:
    for index, unit in enumerate(members):
        if (unit.area & area).any():
            members[index] = replace(unit, clicks=(*unit.clicks, click), area=unit.area | area)
            return index
    members.append(_Unit((click,), area, start * 0, Moments()))
    return len(members) - 1
